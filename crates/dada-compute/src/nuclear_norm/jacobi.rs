//! Singular vectors in float64, by one-sided Jacobi rotations (Hestenes 1958; Demmel and Veselić, *Jacobi's Method is More Accurate than
//! QR*, 1992).
//!
//! Rotations work on the vectors themselves, not on their inner products, so that small singular values keep their digits.

use crate::lanes::{dot, vectorised};

/// Six to eleven sweeps are usual.
const MAX_SWEEPS: usize = 60;

/// Rotates the rows of `x` `[n, n]` until they are orthogonal. The rotations' product J `[n, n]`: `x` becomes J `x`.
pub(super) fn orthogonalise(x: &mut [f64], n: usize) -> Vec<f64> {
    assert_eq!(x.len(), n * n);
    let mut rotations = vec![0.0; n * n];
    for i in 0..n {
        rotations[i * n + i] = 1.0;
    }
    for _ in 0..MAX_SWEEPS {
        let is_done = vectorised(
            #[inline(always)]
            || !sweep(x, &mut rotations, n),
        );
        if is_done {
            break;
        }
    }
    rotations
}

/// Makes each pair of rows orthogonal once, and says whether any was not.
#[inline(always)]
fn sweep(x: &mut [f64], rotations: &mut [f64], n: usize) -> bool {
    let tolerance = f64::EPSILON * f64::EPSILON * n as f64;
    let mut squares: Vec<f64> = x.chunks_exact(n).map(|row| dot(row, row)).collect();
    let mut rotated = false;
    for p in 0..n {
        // The longest first (de Rijk 1989): fewer sweeps are needed.
        let longest = (p..n).fold(p, |longest, i| if squares[i] > squares[longest] { i } else { longest });
        if longest != p {
            squares.swap(p, longest);
            for matrix in [&mut *x, &mut *rotations] {
                let (a, b) = two_rows(matrix, n, p, longest);
                a.swap_with_slice(b);
            }
        }
        for q in p + 1..n {
            let product = dot(&x[p * n..(p + 1) * n], &x[q * n..(q + 1) * n]);
            if product * product <= tolerance * squares[p] * squares[q] {
                continue;
            }
            let half = (squares[q] - squares[p]) / 2.0;
            let tangent = product / (half + (half * half + product * product).sqrt().copysign(half));
            let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
            for matrix in [&mut *x, &mut *rotations] {
                rotate(matrix, n, p, q, cosine, cosine * tangent);
            }
            squares[p] -= tangent * product;
            squares[q] += tangent * product;
            rotated = true;
        }
    }
    rotated
}

/// Turns rows p < q into one another.
#[inline(always)]
fn rotate(matrix: &mut [f64], n: usize, p: usize, q: usize, cosine: f64, sine: f64) {
    let (a, b) = two_rows(matrix, n, p, q);
    for (a, b) in a.iter_mut().zip(b) {
        let old = *a;
        *a = cosine * old - sine * *b;
        *b = sine * old + cosine * *b;
    }
}

/// Rows p < q.
#[inline(always)]
fn two_rows(matrix: &mut [f64], n: usize, p: usize, q: usize) -> (&mut [f64], &mut [f64]) {
    let (before, from_q) = matrix.split_at_mut(q * n);
    (&mut before[p * n..(p + 1) * n], &mut from_q[..n])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_orthogonal_by_an_orthogonal_matrix() {
        for n in [1, 2, 5, 17, 40] {
            let before: Vec<f64> = (0..n * n).map(|at| ((at * at + 3) as f64 * 0.37).sin()).collect();
            let mut after = before.clone();
            let rotations = orthogonalise(&mut after, n);
            let row = |matrix: &[f64], i: usize| matrix[i * n..(i + 1) * n].to_vec();
            for i in 0..n {
                for j in 0..n {
                    let expected = f64::from(u8::from(i == j));
                    assert!((dot(&row(&rotations, i), &row(&rotations, j)) - expected).abs() < 1e-14 * n as f64);
                    assert!(i == j || dot(&row(&after, i), &row(&after, j)).abs() < 1e-13 * n as f64);
                    let rebuilt: f64 = (0..n).map(|k| rotations[i * n + k] * before[k * n + j]).sum();
                    assert!((rebuilt - after[i * n + j]).abs() < 1e-13 * n as f64);
                }
            }
        }
    }
}
