//! The nuclear norm with its gradient, by the eigenvalues of the smaller Gram matrix.
//!
//! With Z = U S Vᵀ, the gradient of the sum of S is U Vᵀ = (Z Zᵀ)^(-1/2) Z, and the norm itself is the inner product of the two.

use burn::Tensor;
use burn::tensor::TensorData;
use rayon::prelude::*;

use super::gemm::multiply;
use super::symmetric_eigen::symmetric_eigen;

/// Rows or columns of one task in the products; fixed, so that results do not depend on the number of threads.
const BLOCK: usize = 32;

/// The sum of the singular values of `z` `[rows, columns]`, shape `[1]`; its gradient is U Vᵀ.
///
/// Computed in float64 on the host, whatever the tensor's type and device. Singular values below about 1e-7 of the largest (of
/// 1e-6 for thousands of columns) are rounding errors of the Gram matrix: they count as zero and get no gradient.
pub fn nuclear_norm(z: Tensor<2>) -> Tensor<1> {
    let [rows, columns] = z.dims();
    let (device, dtype) = (z.device(), z.dtype());
    let data = z.clone().detach().into_data().convert::<f64>();
    let values = data.as_slice::<f64>().expect("converted above");
    let data = TensorData::new(orthogonal_factor(values, rows, columns), [rows, columns]).convert_dtype(dtype);
    let factor = Tensor::<2>::from_data(data, (&device, dtype));
    (z * factor).sum()
}

/// U Vᵀ of `z` `[rows, columns]`.
fn orthogonal_factor(z: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    if rows > columns {
        let factor = orthogonal_factor(&transposed(z, rows, columns), columns, rows);
        return transposed(&factor, columns, rows);
    }
    let (values, vectors) = symmetric_eigen(gram(z, rows, columns), rows);
    let largest = values.iter().fold(0.0f64, |largest, value| if value.is_nan() { f64::NAN } else { largest.max(*value) });
    let cut_off = 4.0 * f64::EPSILON * columns as f64 * largest;
    // (Z Zᵀ)^(-1/2) on the range of Z, by its rows.
    let mut root = vec![0.0; rows * rows];
    let kept: Vec<usize> = (0..rows).filter(|i| values[*i] > cut_off || largest.is_nan()).collect();
    let right: Vec<f64> = kept.iter().flat_map(|i| &vectors[i * rows..(i + 1) * rows]).copied().collect();
    let scale = |(i, vector): (&usize, &[f64])| vector.iter().map(|v| v / values[*i].sqrt()).collect::<Vec<_>>();
    let left: Vec<f64> = kept.iter().zip(right.chunks_exact(rows.max(1))).flat_map(scale).collect();
    multiply([rows, kept.len(), rows], &mut root, (&left, 1, rows), (&right, rows, 1));
    let mut factor = vec![0.0; rows * columns];
    factor.par_chunks_mut(BLOCK * columns).enumerate().for_each(|(block, factor)| {
        let root = &root[block * BLOCK * rows..];
        multiply([factor.len() / columns, rows, columns], factor, (root, rows, 1), (z, columns, 1));
    });
    factor
}

/// Z Zᵀ `[rows, rows]`: the lower triangle by blocks of rows, then mirrored.
fn gram(z: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let mut gram = vec![0.0; rows * rows];
    gram.par_chunks_mut(BLOCK * rows).enumerate().for_each(|(block, gram)| {
        let height = gram.len() / rows;
        let width = block * BLOCK + height;
        let mut part = vec![0.0; height * width];
        multiply([height, columns, width], &mut part, (&z[block * BLOCK * columns..], columns, 1), (z, 1, columns));
        for (row, part) in gram.chunks_exact_mut(rows).zip(part.chunks_exact(width)) {
            row[..width].copy_from_slice(part);
        }
    });
    for i in 0..rows {
        for j in i + 1..rows {
            gram[i * rows + j] = gram[j * rows + i];
        }
    }
    gram
}

fn transposed(z: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let mut out = vec![0.0; z.len()];
    for (r, row) in z.chunks_exact(columns.max(1)).enumerate() {
        for (c, value) in row.iter().enumerate() {
            out[c * rows + r] = *value;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use proptest::prelude::*;

    /// Singular values and U Vᵀ by one-sided Jacobi rotations of the columns.
    fn jacobi(z: &[f64], rows: usize, columns: usize) -> (Vec<f64>, Vec<f64>) {
        if rows < columns {
            let (values, factor) = jacobi(&transposed(z, rows, columns), columns, rows);
            return (values, transposed(&factor, columns, rows));
        }
        let mut a: Vec<Vec<f64>> = (0..columns).map(|c| (0..rows).map(|r| z[r * columns + c]).collect()).collect();
        let mut v: Vec<Vec<f64>> = (0..columns).map(|c| (0..columns).map(|r| f64::from(u8::from(r == c))).collect()).collect();
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for _ in 0..40 {
            for p in 0..columns {
                for q in p + 1..columns {
                    let (alpha, beta, gamma) = (product(&a[p], &a[p]), product(&a[q], &a[q]), product(&a[p], &a[q]));
                    if gamma.abs() <= 1e-300 {
                        continue;
                    }
                    let zeta = (beta - alpha) / (2.0 * gamma);
                    let t = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                    let c = 1.0 / t.hypot(1.0);
                    for m in [&mut a, &mut v] {
                        for r in 0..m[p].len() {
                            let (x, y) = (m[p][r], m[q][r]);
                            m[p][r] = c * x - c * t * y;
                            m[q][r] = c * t * x + c * y;
                        }
                    }
                }
            }
        }
        let values: Vec<f64> = a.iter().map(|a| product(a, a).sqrt()).collect();
        let largest = values.iter().copied().fold(0.0, f64::max);
        let mut factor = vec![0.0; rows * columns];
        for k in (0..columns).filter(|k| values[*k] > 1e-6 * largest) {
            for r in 0..rows {
                for c in 0..columns {
                    factor[r * columns + c] += a[k][r] / values[k] * v[k][c];
                }
            }
        }
        (values, factor)
    }

    fn compute(z: &[f64], [rows, columns]: [usize; 2], dtype: burn::tensor::DType) -> (f64, Vec<f64>) {
        let device = Device::flex().autodiff();
        let data = TensorData::new(z.to_vec(), [rows, columns]).convert_dtype(dtype);
        let z = Tensor::<2>::from_data(data, (&device, dtype)).require_grad();
        let norm = nuclear_norm(z.clone());
        let gradient = z.grad(&norm.backward()).unwrap();
        let value = norm.into_data().convert::<f64>().try_to_vec().unwrap()[0];
        (value, gradient.into_data().convert::<f64>().try_to_vec().unwrap())
    }

    fn check(z: &[f64], dims: [usize; 2]) {
        let (values, factor) = jacobi(z, dims[0], dims[1]);
        let expected: f64 = values.iter().sum();
        for (dtype, tolerance) in [(burn::tensor::DType::F64, 1e-8), (burn::tensor::DType::F32, 1e-4)] {
            let (value, gradient) = compute(z, dims, dtype);
            assert!((value - expected).abs() <= tolerance * expected.max(1e-6), "{dims:?}: {value} {expected}");
            for (g, e) in gradient.iter().zip(&factor) {
                assert!((g - e).abs() <= tolerance * 10.0, "{dims:?} {dtype:?}: {g} {e}");
            }
        }
    }

    fn sample(len: usize, seed: u64) -> Vec<f64> {
        (0..len).map(|i| ((i as f64 + 1.0) * (12.9898 + seed as f64)).sin() * 43758.5453 % 1.0).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn equals_a_jacobi_decomposition(rows in 1usize..9, columns in 1usize..9, seed in 0u64..100) {
            let z = sample(rows * columns, seed);
            // Of a matrix that is nearly singular neither decomposition has the digits that are asked for: the Gram matrix squares its condition.
            let mut values = jacobi(&z, rows, columns).0;
            values.sort_by(|a, b| b.total_cmp(a));
            prop_assume!(values[values.len() - 1] > 1e-3 * values[0]);
            check(&z, [rows, columns]);
        }
    }

    #[test]
    fn wide_tall_and_rank_deficient_matrices_agree_too() {
        check(&sample(3 * 90, 1), [3, 90]);
        check(&sample(90 * 3, 2), [90, 3]);
        check(&sample(70 * 40, 3), [70, 40]);
        let row = [0.5, 0.25, 0.125, 1.0];
        check(&row.repeat(5), [5, 4]);
        check(&[vec![0.0; 4], row.to_vec(), vec![0.0; 4]].concat(), [3, 4]);
        let (value, gradient) = compute(&[0.0; 6], [2, 3], burn::tensor::DType::F32);
        assert!(value == 0.0 && gradient.iter().all(|g| *g == 0.0), "the zero matrix has the zero subgradient");
    }

    #[test]
    fn the_gradient_equals_finite_differences() {
        let z = sample(4 * 6, 5);
        let (_, gradient) = compute(&z, [4, 6], burn::tensor::DType::F64);
        for at in 0..z.len() {
            let moved = |step: f64| {
                let mut z = z.clone();
                z[at] += step;
                compute(&z, [4, 6], burn::tensor::DType::F64).0
            };
            let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((difference - gradient[at]).abs() < 1e-7, "{difference} {}", gradient[at]);
        }
    }

    #[test]
    fn nan_stays_nan() {
        assert!(compute(&[1.0, f64::NAN, 0.5, 0.25], [2, 2], burn::tensor::DType::F32).0.is_nan());
    }
}
