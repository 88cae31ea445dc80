//! U Vᵀ by the eigenvalues of the smaller Gram matrix: (Z Zᵀ)^(-1/2) Z.
//!
//! The product squares the condition. Singular values below about 1e-7 of the largest (1e-6 for thousands of columns) are rounding errors of
//! it: they count as zero.

use rayon::prelude::*;

use super::transposed;
use crate::gemm::{Write, multiply};
use crate::symmetric_eigen::symmetric_eigen;

/// Rows or columns of one task in the products; fixed, so that results do not depend on the number of threads.
const BLOCK: usize = 32;

/// U Vᵀ of `z` `[rows, columns]`.
pub(super) fn orthogonal_factor(z: &[f64], rows: usize, columns: usize) -> Vec<f64> {
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
    if !kept.is_empty() {
        multiply([rows, kept.len(), rows], &mut root, rows, (&left, 1, rows), (&right, rows, 1), Write::Replace);
    }
    let mut factor = vec![0.0; rows * columns];
    factor.par_chunks_mut(BLOCK * columns).enumerate().for_each(|(block, factor)| {
        let root = &root[block * BLOCK * rows..];
        multiply([factor.len() / columns, rows, columns], factor, columns, (root, rows, 1), (z, columns, 1), Write::Replace);
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
        multiply([height, columns, width], &mut part, width, (&z[block * BLOCK * columns..], columns, 1), (z, 1, columns), Write::Replace);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nuclear_norm::check::{distance, newton, sample};

    #[test]
    fn agrees_with_newtons_iteration() {
        for (rows, columns) in [(1, 1), (6, 6), (5, 40), (40, 7)] {
            let z = sample(rows * columns, 2);
            assert!(distance(&orthogonal_factor(&z, rows, columns), &newton(&z, rows, columns)) < 1e-9, "{rows} x {columns}");
        }
    }

    #[test]
    fn what_is_below_the_rounding_of_single_precision_counts_as_zero() {
        let row = sample(9, 1);
        let noise = sample(4 * 9, 3);
        let rounded: Vec<f64> = (0..36).map(|at| row[at % 9] + 1e-9 * noise[at]).collect();
        let factor = orthogonal_factor(&rounded, 4, 9);
        let equal: Vec<f64> = row.iter().map(|value| value / (2.0 * distance(&row, &[0.0; 9]))).collect();
        assert!(distance(&factor, &equal.repeat(4)) < 1e-6);
        assert_eq!(orthogonal_factor(&[0.0; 6], 2, 3), [0.0; 6]);
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
