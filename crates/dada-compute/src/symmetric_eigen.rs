//! Eigenvalues and eigenvectors of small symmetric matrices in float64.
//!
//! Householder reflections bring the matrix to tridiagonal form, implicit QL steps make that diagonal (Golub and Van Loan,
//! "Matrix Computations", section 8.3). Vectors are kept as rows, so that every inner loop runs along memory.

/// Steps for one eigenvalue; two or three are usual.
const MAX_STEPS: usize = 60;

/// The eigenvalues of the symmetric `matrix` `[n, n]`, unsorted, and the eigenvectors as rows of a matrix `[n, n]`.
///
/// `matrix = Σ values[i] · vectors[i]ᵀ vectors[i]`. Non-finite input gives NaN values.
///
/// # Panics
/// When `matrix` does not have n² values.
pub fn symmetric_eigen(mut matrix: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    assert_eq!(matrix.len(), n * n);
    if n == 0 || matrix.iter().any(|value| !value.is_finite()) {
        return (vec![f64::NAN; n], vec![f64::NAN; n * n]);
    }
    pulp::Arch::new().dispatch(Decomposition { matrix: &mut matrix, n })
}

/// The work, compiled for the machine's widest vector instructions.
struct Decomposition<'a> {
    matrix: &'a mut [f64],
    n: usize,
}

impl pulp::WithSimd for Decomposition<'_> {
    /// Eigenvalues and eigenvectors.
    type Output = (Vec<f64>, Vec<f64>);

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Self::Output {
        let (mut diagonal, mut off_diagonal, mut vectors) = tridiagonalise(self.matrix, self.n);
        diagonalise(&mut diagonal, &mut off_diagonal, &mut vectors, self.n);
        (diagonal, vectors)
    }
}

#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// √(a² + b²). The library's function guards against overflow in every call.
#[inline(always)]
fn hypotenuse(a: f64, b: f64) -> f64 {
    let square = a * a + b * b;
    if square > f64::MIN_POSITIVE && square < f64::MAX { square.sqrt() } else { a.hypot(b) }
}

/// The diagonal, the off-diagonal (entry i couples i and i + 1) and the rows of Qᵀ with `matrix` = Q T Qᵀ.
#[inline(always)]
fn tridiagonalise(matrix: &mut [f64], n: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let mut off_diagonal = vec![0.0; n];
    let mut vectors = vec![0.0; n * n];
    for i in 0..n {
        vectors[i * n + i] = 1.0;
    }
    let mut reflectors: Vec<(Vec<f64>, f64)> = Vec::with_capacity(n.saturating_sub(2));
    for k in 0..n.saturating_sub(2) {
        // The reflection 1 - beta v vᵀ that clears column k below the first off-diagonal element.
        let mut v: Vec<f64> = (k + 1..n).map(|row| matrix[row * n + k]).collect();
        let scale = v.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        if v[1..].iter().all(|value| *value == 0.0) {
            off_diagonal[k] = v[0];
            reflectors.push((v, 0.0));
            continue;
        }
        v.iter_mut().for_each(|value| *value /= scale);
        let norm = dot(&v, &v).sqrt();
        let alpha = if v[0] > 0.0 { -norm } else { norm };
        v[0] -= alpha;
        let beta = 2.0 / dot(&v, &v);
        off_diagonal[k] = alpha * scale;
        // A ← A - v wᵀ - w vᵀ with w = beta A v - (beta² vᵀ A v / 2) v, on the trailing block.
        let mut w: Vec<f64> = (k + 1..n).map(|row| beta * dot(&matrix[row * n + k + 1..(row + 1) * n], &v)).collect();
        let half = beta * dot(&w, &v) / 2.0;
        w.iter_mut().zip(&v).for_each(|(w, v)| *w -= half * v);
        for (r, row) in (k + 1..n).enumerate() {
            let (v_r, w_r) = (v[r], w[r]);
            for ((value, v), w) in matrix[row * n + k + 1..(row + 1) * n].iter_mut().zip(&v).zip(&w) {
                *value -= v_r * w + w_r * v;
            }
        }
        reflectors.push((v, beta));
    }
    if n >= 2 {
        off_diagonal[n - 2] = matrix[(n - 1) * n + n - 2];
    }
    // Qᵀ = H_last … H_0, multiplied from the left end on, so that each reflection meets a trailing block only.
    for (k, (v, beta)) in reflectors.iter().enumerate().rev() {
        if *beta == 0.0 {
            continue;
        }
        for row in k + 1..n {
            let row = &mut vectors[row * n + k + 1..(row + 1) * n];
            let factor = beta * dot(row, v);
            row.iter_mut().zip(v).for_each(|(value, v)| *value -= factor * v);
        }
    }
    let diagonal = (0..n).map(|i| matrix[i * n + i]).collect();
    (diagonal, off_diagonal, vectors)
}

/// Implicit QL on the tridiagonal matrix; the rotations are applied to the rows of `vectors`.
#[inline(always)]
fn diagonalise(diagonal: &mut [f64], off_diagonal: &mut [f64], vectors: &mut [f64], n: usize) {
    for l in 0..n {
        for _ in 0..MAX_STEPS {
            let small = |i: usize| off_diagonal[i].abs() <= f64::EPSILON * (diagonal[i].abs() + diagonal[i + 1].abs());
            let m = (l..n - 1).find(|i| small(*i)).unwrap_or(n - 1);
            if m == l {
                break;
            }
            // Wilkinson's shift from the leading two by two block.
            let half = (diagonal[l + 1] - diagonal[l]) / (2.0 * off_diagonal[l]);
            let root = hypotenuse(half, 1.0);
            let mut g = diagonal[m] - diagonal[l] + off_diagonal[l] / (half + root.copysign(half));
            let (mut sine, mut cosine, mut shift) = (1.0, 1.0, 0.0);
            let mut split = false;
            for i in (l..m).rev() {
                let f = sine * off_diagonal[i];
                let b = cosine * off_diagonal[i];
                let r = hypotenuse(f, g);
                off_diagonal[i + 1] = r;
                if r == 0.0 {
                    diagonal[i + 1] -= shift;
                    off_diagonal[m] = 0.0;
                    split = true;
                    break;
                }
                sine = f / r;
                cosine = g / r;
                let g_next = diagonal[i + 1] - shift;
                let t = (diagonal[i] - g_next) * sine + 2.0 * cosine * b;
                shift = sine * t;
                diagonal[i + 1] = g_next + shift;
                g = cosine * t - b;
                rotate(vectors, n, i, sine, cosine);
            }
            if split {
                continue;
            }
            diagonal[l] -= shift;
            off_diagonal[l] = g;
            off_diagonal[m] = 0.0;
        }
    }
}

/// Turns rows i and i + 1 into one another.
#[inline(always)]
fn rotate(vectors: &mut [f64], n: usize, i: usize, sine: f64, cosine: f64) {
    let (upper, lower) = vectors[i * n..(i + 2) * n].split_at_mut(n);
    for (a, b) in upper.iter_mut().zip(lower) {
        let old = *b;
        *b = sine * *a + cosine * old;
        *a = cosine * *a - sine * old;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(matrix: &[f64], n: usize) {
        let (values, vectors) = symmetric_eigen(matrix.to_vec(), n);
        let norm = matrix.iter().map(|v| v * v).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        for i in 0..n {
            for j in 0..n {
                let rebuilt: f64 = (0..n).map(|k| values[k] * vectors[k * n + i] * vectors[k * n + j]).sum();
                assert!((rebuilt - matrix[i * n + j]).abs() <= 1e-12 * norm * n as f64, "{n}: {i} {j} {rebuilt} {}", matrix[i * n + j]);
                let product = dot(&vectors[i * n..(i + 1) * n], &vectors[j * n..(j + 1) * n]);
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-12 * n as f64);
            }
        }
    }

    proptest! {
        #[test]
        fn the_decomposition_rebuilds_the_matrix_with_orthonormal_vectors(
            n in 1usize..14, rank in 1usize..14, seed in prop::collection::vec(-1.0f64..1.0, 14 * 14),
        ) {
            let rank = rank.min(n);
            let mut gram = vec![0.0; n * n];
            for i in 0..n {
                for j in 0..n {
                    gram[i * n + j] = (0..rank).map(|k| seed[i * 14 + k] * seed[j * 14 + k]).sum();
                }
            }
            check(&gram, n);
            let symmetric: Vec<f64> = (0..n * n).map(|at| seed[at / n * 14 + at % n] + seed[at % n * 14 + at / n]).collect();
            check(&symmetric, n);
        }
    }

    #[test]
    fn diagonal_zero_and_repeated_eigenvalues_converge() {
        check(&[0.0; 25], 5);
        check(&[3.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, -1.0], 3);
        check(&[1.0; 81], 9);
    }

    #[test]
    fn non_finite_input_gives_non_finite_values() {
        assert!(symmetric_eigen(vec![1.0, f64::NAN, f64::NAN, 1.0], 2).0.iter().all(|value| value.is_nan()));
    }
}
