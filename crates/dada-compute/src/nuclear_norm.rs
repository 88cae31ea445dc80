//! The nuclear norm with its gradient, by a singular value decomposition that keeps small singular values.
//!
//! With Z = U S Vᵀ, the gradient of the sum of S is U Vᵀ, and the norm itself is the inner product of the two. A wide Z is first brought to
//! the triangle of its Z = Rᵀ Q, whose singular vectors come from Jacobi's rotations. (Z Zᵀ)^(-1/2) Z is the same on paper, but the product
//! squares the condition: it has no digits left for singular values below 1e-8 of the largest.

use burn::Tensor;
use burn::tensor::TensorData;

use super::gemm::{Write, multiply};
use super::householder::Factors;
use super::jacobi::orthogonalise;

/// The sum of the singular values of `z` `[rows, columns]`, shape `[1]`; its gradient is U Vᵀ.
///
/// Computed in float64 on the host, whatever the tensor's type and device. U Vᵀ is off by about 1e-16 · largest / smallest singular value, as
/// it is by LAPACK. Singular values below 2.2e-16 · (smaller side) of the largest are rounding errors: they count as zero. A matrix that
/// lacks rank has many subgradients; this one leaves the singular vectors of zero out, the choice of the smallest norm. (LAPACK's U Vᵀ
/// has arbitrary vectors in their place.)
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
    if z.iter().any(|value| !value.is_finite()) {
        return vec![f64::NAN; z.len()];
    }
    let size = z.iter().fold(0.0f64, |size, value| size.max(value.abs()));
    if size == 0.0 {
        return vec![0.0; z.len()];
    }
    // A power of two, so that nothing is rounded: U Vᵀ does not depend on it, and no square leaves the range. The longest rows first, so that
    // short ones keep their digits.
    let scale = 2f64.powi(-(size.log2() as i32).clamp(-1000, 1000));
    let scaled: Vec<f64> = z.iter().map(|value| value * scale).collect();
    let squares: Vec<f64> = scaled.chunks_exact(columns).map(|row| row.iter().map(|value| value * value).sum()).collect();
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by(|a, b| squares[*b].total_cmp(&squares[*a]));
    let sorted = order.iter().flat_map(|row| &scaled[row * columns..(row + 1) * columns]).copied().collect();
    let factors = Factors::new(sorted, rows, columns);
    // R becomes J R = S Uᵀ, hence Z = Rᵀ Q = U S J Q.
    let mut left = factors.upper.clone();
    let rotations = orthogonalise(&mut left, rows);
    let singular: Vec<f64> = left.chunks_exact(rows).map(|row| row.iter().map(|value| value * value).sum::<f64>().sqrt()).collect();
    let cut_off = singular.iter().fold(0.0f64, |largest, value| largest.max(*value)) * f64::EPSILON * rows as f64;
    for (row, singular) in left.chunks_exact_mut(rows).zip(&singular) {
        let factor = if *singular > cut_off { 1.0 / singular } else { 0.0 };
        row.iter_mut().for_each(|value| *value *= factor);
    }
    let mut product = vec![0.0; rows * rows];
    multiply([rows, rows, rows], &mut product, rows, (&left, 1, rows), (&rotations, rows, 1), Write::Replace);
    let mut factor = vec![0.0; rows * columns];
    for (from, row) in factors.times_q(&product).chunks_exact(columns).zip(order) {
        factor[row * columns..(row + 1) * columns].copy_from_slice(from);
    }
    factor
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
    use burn::tensor::{DType, Device};
    use proptest::prelude::*;

    /// The unevaluated sum of two numbers: 32 digits.
    #[derive(Clone, Copy)]
    struct Double(f64, f64);

    impl Double {
        fn sum(a: f64, b: f64) -> Self {
            let sum = a + b;
            let of_b = sum - a;
            Self(sum, (a - (sum - of_b)) + (b - of_b))
        }

        fn plus(self, other: Self) -> Self {
            let high = Self::sum(self.0, other.0);
            Self::sum(high.0, high.1 + self.1 + other.1)
        }

        fn times(self, other: Self) -> Self {
            let product = self.0 * other.0;
            Self::sum(product, self.0.mul_add(other.0, -product) + self.0 * other.1 + self.1 * other.0)
        }

        fn over(self, other: Self) -> Self {
            let mut quotient = Self(self.0 / other.0, 0.0);
            for _ in 0..2 {
                let rest = self.plus(quotient.times(other).times(Self(-1.0, 0.0)));
                quotient = quotient.plus(Self(rest.0 / other.0, 0.0));
            }
            quotient
        }
    }

    /// U Vᵀ by Newton's iteration X ← (X + (X Xᵀ)⁻¹ X) / 2 with 32 digits, of a matrix of full rank.
    fn newton(z: &[f64], rows: usize, columns: usize) -> Vec<f64> {
        if rows > columns {
            return transposed(&newton(&transposed(z, rows, columns), columns, rows), columns, rows);
        }
        let mut x: Vec<Vec<Double>> = z.chunks(columns).map(|row| row.iter().map(|value| Double(*value, 0.0)).collect()).collect();
        for _ in 0..60 {
            // [X Xᵀ | X] by Gauss and Jordan.
            let mut system: Vec<Vec<Double>> = x
                .iter()
                .map(|a| {
                    let product = |b: &Vec<Double>| a.iter().zip(b).fold(Double(0.0, 0.0), |sum, (a, b)| sum.plus(a.times(*b)));
                    x.iter().map(product).chain(a.iter().copied()).collect()
                })
                .collect();
            for k in 0..rows {
                let pivot = (k..rows).max_by(|a, b| system[*a][k].0.abs().total_cmp(&system[*b][k].0.abs())).unwrap();
                system.swap(k, pivot);
                let lead = system[k].clone();
                for (i, row) in system.iter_mut().enumerate().filter(|(i, _)| *i != k) {
                    let factor = row[k].over(lead[k]).times(Double(-1.0, 0.0));
                    assert!(factor.0.is_finite(), "row {i}: the matrix lacks rank");
                    row.iter_mut().zip(&lead).for_each(|(value, lead)| *value = value.plus(factor.times(*lead)));
                }
            }
            for (k, (x, row)) in x.iter_mut().zip(&system).enumerate() {
                for (x, inverse) in x.iter_mut().zip(&row[rows..]) {
                    *x = x.plus(inverse.over(row[k])).times(Double(0.5, 0.0));
                }
            }
        }
        x.into_iter().flatten().map(|value| value.0).collect()
    }

    fn sample(len: usize, seed: u64) -> Vec<f64> {
        (0..len).map(|i| ((i as f64 + 1.0) * (12.9898 + seed as f64)).sin() * 43758.5453 % 1.0).collect()
    }

    /// `count` orthonormal rows of `len` values, by Gram and Schmidt's method twice.
    fn orthonormal(count: usize, len: usize, seed: u64) -> Vec<Vec<f64>> {
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut rows: Vec<Vec<f64>> = Vec::new();
        for row in sample(count * len, seed).chunks(len) {
            let mut row = row.to_vec();
            for _ in 0..2 {
                for other in &rows {
                    let along = product(&row, other);
                    row.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
                }
                let size = product(&row, &row).sqrt();
                row.iter_mut().for_each(|value| *value /= size);
            }
            rows.push(row);
        }
        rows
    }

    fn distance(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    }

    /// U S Vᵀ and checks that its factor is U Vᵀ, to what a rounding of U S Vᵀ leaves of each pair of singular vectors.
    fn check_spectrum(singular: &[f64], rows: usize, columns: usize) {
        let count = singular.len();
        let (left, right) = (orthonormal(count, rows, 3), orthonormal(count, columns, 8));
        let entry = |at: usize| (0..count).map(|k| left[k][at / columns] * singular[k] * right[k][at % columns]).sum::<f64>();
        let z: Vec<f64> = (0..rows * columns).map(entry).collect();
        let factor = orthogonal_factor(&z, rows, columns);
        for (i, u) in left.iter().enumerate() {
            let along: Vec<f64> = (0..columns).map(|c| (0..rows).map(|r| u[r] * factor[r * columns + c]).sum()).collect();
            for (j, v) in right.iter().enumerate() {
                let found: f64 = along.iter().zip(v).map(|(a, v)| a * v).sum();
                let rounding = 2e-14 * singular[0] / (singular[i] + singular[j]);
                let expected = f64::from(u8::from(i == j));
                assert!((found - expected).abs() < rounding, "{rows} x {columns}, {i} {j}: {found}, off by more than {rounding:e}");
            }
        }
    }

    #[test]
    fn singular_values_from_1_to_1e_12_all_count() {
        for (rows, columns) in [(7, 7), (13, 40), (40, 13), (60, 60), (90, 100)] {
            let count = rows.min(columns);
            let singular: Vec<f64> = (0..count).map(|k| 10f64.powf(-12.0 * k as f64 / (count - 1) as f64)).collect();
            check_spectrum(&singular, rows, columns);
        }
    }

    #[test]
    fn repeated_singular_values_need_no_choice_of_vectors() {
        check_spectrum(&[1.0; 6], 6, 9);
        check_spectrum(&[1.0, 1.0, 0.5, 0.5, 0.5, 1e-4, 1e-9, 1e-9, 1e-9], 9, 9);
        check_spectrum(&[1.0, 1.0, 1e-12, 1e-12], 20, 4);
    }

    #[test]
    fn values_agree_with_newtons_iteration_in_twice_the_digits() {
        for (rows, columns) in [(6, 6), (5, 11), (9, 4)] {
            for smallest in [1.0, 1e-3, 1e-6, 1e-9, 1e-12f64] {
                let count = rows.min(columns);
                let (left, right) = (orthonormal(count, rows, 5), orthonormal(count, columns, 6));
                let singular = |k: usize| smallest.powf(k as f64 / (count - 1) as f64);
                let entry = |at: usize| (0..count).map(|k| left[k][at / columns] * singular(k) * right[k][at % columns]).sum::<f64>();
                let z: Vec<f64> = (0..rows * columns).map(entry).collect();
                let error = distance(&orthogonal_factor(&z, rows, columns), &newton(&z, rows, columns));
                assert!(error < 4e-15 / smallest, "{rows} x {columns}, {smallest:e}: {error:e}");
            }
        }
    }

    #[test]
    fn rows_of_different_sizes_lose_nothing() {
        let mut z = sample(6 * 8, 4);
        for (row, scale) in z.chunks_mut(8).zip([1.0, 1e-3, 1e-12, 1e-6, 1e-2, 1e-9]) {
            row.iter_mut().for_each(|value| *value *= scale);
        }
        let error = distance(&orthogonal_factor(&z, 6, 8), &newton(&z, 6, 8));
        assert!(error < 1e-13, "{error:e}");
    }

    #[test]
    fn nearly_equal_rows_are_told_apart() {
        for apart in [1e-3, 1e-6, 1e-9, 1e-11] {
            let (row, noise) = (sample(7, 1), sample(5 * 7, 2));
            let z: Vec<f64> = noise.iter().enumerate().map(|(at, noise)| row[at % 7] + apart * noise).collect();
            let error = distance(&orthogonal_factor(&z, 5, 7), &newton(&z, 5, 7));
            assert!(error < 2e-14 / apart, "{apart:e}: {error:e}");
        }
    }

    #[test]
    fn singular_vectors_of_zero_are_left_out() {
        let row = [0.5, 0.25, 0.125, 1.0];
        let size = row.iter().map(|value| value * value).sum::<f64>().sqrt();
        let unit: Vec<f64> = row.iter().map(|value| value / size).collect();
        let equal: Vec<f64> = unit.iter().map(|value| value / 5f64.sqrt()).collect();
        assert!(distance(&orthogonal_factor(&row.repeat(5), 5, 4), &equal.repeat(5)) < 1e-14);
        let alone = |row: &[f64]| [&[0.0; 4], row, &[0.0; 4]].concat();
        assert!(distance(&orthogonal_factor(&alone(&row), 3, 4), &alone(&unit)) < 1e-14);
        assert_eq!(orthogonal_factor(&[0.0; 6], 2, 3), [0.0; 6]);

        // Rows that occur twice share what they would have alone.
        let once = sample(40 * 60, 9);
        let shared: Vec<f64> = orthogonal_factor(&once, 40, 60).iter().map(|value| value / 2f64.sqrt()).collect();
        assert!(distance(&orthogonal_factor(&once.repeat(2), 80, 60), &shared.repeat(2)) < 1e-11);
    }

    #[test]
    fn neither_tiny_nor_huge_matrices_leave_the_range() {
        let z = sample(4 * 6, 7);
        let expected = orthogonal_factor(&z, 4, 6);
        for scale in [1e-300, 1e300] {
            let scaled: Vec<f64> = z.iter().map(|value| value * scale).collect();
            assert!(distance(&orthogonal_factor(&scaled, 4, 6), &expected) < 1e-13);
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let z = sample(70 * 150, 3);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| orthogonal_factor(&z, 70, 150))
        };
        assert!(run(1) == run(3));
    }

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
