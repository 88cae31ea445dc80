//! The nuclear norm with its gradient.
//!
//! With Z = U S Vᵀ, the gradient of the sum of S is U Vᵀ, and the norm itself is the inner product of the two. There are two ways to U Vᵀ:
//!
//! - `singular`, for float64: by singular vectors (`householder`, `jacobi`), exact for singular values down to 1e-12 of the largest and below.
//! - `gram`, for float32: by the smaller Gram matrix, two to four times as fast. What it leaves out, below 1e-7 to 1e-6 of the largest singular
//!   value, is less than the rounding of the matrix itself, and no direction to learn by.

#[cfg(test)]
mod check;
mod gram;
mod householder;
mod jacobi;
mod singular;

use burn::Tensor;
use burn::tensor::{DType, TensorData};

/// The sum of the singular values of `z` `[rows, columns]`, shape `[1]`; its gradient is U Vᵀ. Singular values that are rounding errors for the
/// tensor's type count as zero and get no gradient.
///
/// Computed in float64 on the host, whatever the tensor's type and device.
pub fn nuclear_norm(z: Tensor<2>) -> Tensor<1> {
    let [rows, columns] = z.dims();
    let (device, dtype) = (z.device(), z.dtype());
    let data = z.clone().detach().into_data().convert::<f64>();
    let values = data.as_slice::<f64>().expect("converted above");
    let factor = if dtype == DType::F64 {
        singular::orthogonal_factor(values, rows, columns)
    } else {
        gram::orthogonal_factor(values, rows, columns)
    };
    let data = TensorData::new(factor, [rows, columns]).convert_dtype(dtype);
    let factor = Tensor::<2>::from_data(data, (&device, dtype));
    (z * factor).sum()
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
    use super::check::{distance, newton, sample};
    use super::*;
    use burn::tensor::Device;
    use proptest::prelude::*;

    fn compute(z: &[f64], [rows, columns]: [usize; 2], dtype: DType) -> (f64, Vec<f64>) {
        let device = Device::flex().autodiff();
        let data = TensorData::new(z.to_vec(), [rows, columns]).convert_dtype(dtype);
        let z = Tensor::<2>::from_data(data, (&device, dtype)).require_grad();
        let norm = nuclear_norm(z.clone());
        let gradient = z.grad(&norm.backward()).unwrap();
        let value = norm.into_data().convert::<f64>().try_to_vec().unwrap()[0];
        (value, gradient.into_data().convert::<f64>().try_to_vec().unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn value_and_gradient_equal_newtons(rows in 1usize..9, columns in 1usize..9, seed in 0u64..100) {
            let z = sample(rows * columns, seed);
            let expected = newton(&z, rows, columns);
            let norm: f64 = z.iter().zip(&expected).map(|(z, factor)| z * factor).sum();
            for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 1e-3)] {
                let (value, gradient) = compute(&z, [rows, columns], dtype);
                prop_assert!((value - norm).abs() <= tolerance * norm, "{dtype:?}: {value} {norm}");
                let error = distance(&gradient, &expected);
                prop_assert!(error <= tolerance * 10.0, "{dtype:?}: {error:e}");
            }
        }
    }

    #[test]
    fn the_gradient_equals_finite_differences() {
        let z = sample(4 * 6, 5);
        let (_, gradient) = compute(&z, [4, 6], DType::F64);
        for at in 0..z.len() {
            let moved = |step: f64| {
                let mut z = z.clone();
                z[at] += step;
                compute(&z, [4, 6], DType::F64).0
            };
            let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((difference - gradient[at]).abs() < 1e-7, "{difference} {}", gradient[at]);
        }
    }

    #[test]
    fn nan_stays_nan() {
        assert!(compute(&[1.0, f64::NAN, 0.5, 0.25], [2, 2], DType::F32).0.is_nan());
    }
}
