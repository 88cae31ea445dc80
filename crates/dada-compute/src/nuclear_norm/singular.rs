//! U Vᵀ by a singular value decomposition that keeps small singular values.
//!
//! A wide Z is first brought to the triangle of its Z = Rᵀ Q, whose singular vectors come from Jacobi's rotations. U Vᵀ is off by about
//! 1e-16 · largest / smallest singular value, as it is by LAPACK. Singular values below 2.2e-16 · (smaller side) of the largest are rounding
//! errors: they count as zero. A matrix that lacks rank has many subgradients; this one leaves the singular vectors of zero out, the choice
//! of the smallest norm. (LAPACK's U Vᵀ has arbitrary vectors in their place.)

use super::householder::Factors;
use super::jacobi::orthogonalise;
use super::transposed;
use crate::gemm::{Write, multiply};

/// U Vᵀ of `z` `[rows, columns]`.
pub(super) fn orthogonal_factor(z: &[f64], rows: usize, columns: usize) -> Vec<f64> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nuclear_norm::check::{distance, newton, sample};

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
}
