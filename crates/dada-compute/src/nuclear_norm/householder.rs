//! Triangular and orthogonal factors of a wide matrix in float64, by Householder reflections.
//!
//! Reflections are gathered in blocks, I - V T Vᵀ, so that nearly all work is matrix products (Schreiber and Van Loan, *A Storage-Efficient
//! WY Representation for Products of Householder Transformations*, 1989). The matrix is factored by rows, which lie along memory.

use rayon::prelude::*;

use crate::gemm::{Write, multiply};
use crate::lanes::{dot, vectorised};

/// Reflections of one block, and rows of one task.
const BLOCK: usize = 32;

/// Z = Rᵀ Q of a matrix `[rows, columns]` with no more rows than columns.
pub(super) struct Factors {
    /// R `[rows, rows]`, zero below its diagonal.
    pub upper: Vec<f64>,
    /// The vector of each reflection `[rows, columns]`; row k is zero before column k.
    reflectors: Vec<f64>,
    /// T `[block, block]` of each block.
    triangles: Vec<Vec<f64>>,
    rows: usize,
    columns: usize,
}

impl Factors {
    pub(super) fn new(mut z: Vec<f64>, rows: usize, columns: usize) -> Self {
        assert!(rows <= columns && z.len() == rows * columns);
        let (mut upper, mut triangles) = (vec![0.0; rows * rows], Vec::new());
        for first in (0..rows).step_by(BLOCK) {
            let size = BLOCK.min(rows - first);
            let (block, rest) = z[first * columns..].split_at_mut(size * columns);
            let triangle = vectorised(
                #[inline(always)]
                || {
                    let scales = reduce(block, first, rows, columns, &mut upper);
                    triangle(block, first, columns, &scales)
                },
            );
            reflect(rest, block, &triangle, false, first, columns);
            triangles.push(triangle);
        }
        Self { upper, reflectors: z, triangles, rows, columns }
    }

    /// `left` `[rows, rows]` · Q, `[rows, columns]`.
    pub(super) fn times_q(&self, left: &[f64]) -> Vec<f64> {
        let (rows, columns) = (self.rows, self.columns);
        let mut product = vec![0.0; rows * columns];
        for (to, from) in product.chunks_exact_mut(columns).zip(left.chunks_exact(rows)) {
            to[..rows].copy_from_slice(from);
        }
        for (block, triangle) in self.triangles.iter().enumerate().rev() {
            let first = block * BLOCK;
            let reflectors = &self.reflectors[first * columns..(first + BLOCK).min(rows) * columns];
            reflect(&mut product, reflectors, triangle, true, first, columns);
        }
        product
    }
}

/// Turns the rows of a block, the first of which is row `first`, into reflections, and writes their columns of `upper`. The factor of each
/// reflection 1 - factor v vᵀ.
#[inline(always)]
fn reduce(block: &mut [f64], first: usize, rows: usize, columns: usize, upper: &mut [f64]) -> Vec<f64> {
    let size = block.len() / columns;
    let mut scales = vec![0.0; size];
    for r in 0..size {
        let k = first + r;
        let (row, below) = block[r * columns..].split_at_mut(columns);
        for i in 0..k {
            upper[i * rows + k] = row[i];
            row[i] = 0.0;
        }
        let v = &mut row[k..];
        let largest = v.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        if largest == 0.0 {
            continue;
        }
        v.iter_mut().for_each(|value| *value /= largest);
        let norm = dot(v, v).sqrt();
        let diagonal = if v[0] > 0.0 { -norm } else { norm };
        v[0] -= diagonal;
        upper[k * rows + k] = diagonal * largest;
        scales[r] = 2.0 / dot(v, v);
        for other in below.chunks_exact_mut(columns) {
            let factor = scales[r] * dot(&other[k..], v);
            other[k..].iter_mut().zip(&*v).for_each(|(value, v)| *value -= factor * v);
        }
    }
    scales
}

/// T of the product of a block's reflections.
#[inline(always)]
fn triangle(block: &[f64], first: usize, columns: usize, scales: &[f64]) -> Vec<f64> {
    let size = scales.len();
    let mut triangle = vec![0.0; size * size];
    for (k, scale) in scales.iter().enumerate() {
        let from = first + k;
        let v = &block[k * columns + from..(k + 1) * columns];
        let products: Vec<f64> = (0..k).map(|i| dot(&block[i * columns + from..(i + 1) * columns], v)).collect();
        for i in 0..k {
            triangle[i * size + k] = -scale * dot(&triangle[i * size..i * size + k], &products);
        }
        triangle[k * size + k] = *scale;
    }
    triangle
}

/// Each row y of `matrix` becomes y - y V T Vᵀ, with Tᵀ in T's place for the `inverse`; the block's reflections leave the columns before
/// `first` alone.
fn reflect(matrix: &mut [f64], block: &[f64], triangle: &[f64], inverse: bool, first: usize, columns: usize) {
    let (size, width) = (block.len() / columns, columns - first);
    let triangle = if inverse { (triangle, 1, size) } else { (triangle, size, 1) };
    let v = &block[first..];
    matrix.par_chunks_mut(BLOCK * columns).for_each(|matrix| {
        let height = matrix.len() / columns;
        let matrix = &mut matrix[first..];
        let (mut products, mut factors) = (vec![0.0; height * size], vec![0.0; height * size]);
        multiply([height, width, size], &mut products, size, (matrix, columns, 1), (v, 1, columns), Write::Replace);
        products.iter_mut().for_each(|product| *product = -*product);
        multiply([height, size, size], &mut factors, size, (&products, size, 1), triangle, Write::Replace);
        multiply([height, size, width], matrix, columns, (&factors, size, 1), (v, columns, 1), Write::Add);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factors_give_the_matrix_and_q_has_orthonormal_rows() {
        for (rows, columns) in [(1, 1), (1, 7), (3, 3), (31, 40), (33, 33), (70, 90)] {
            let z: Vec<f64> = (0..rows * columns).map(|at| ((at * at + 7) as f64 * 0.61).sin()).collect();
            let factors = Factors::new(z.clone(), rows, columns);
            let transposed: Vec<f64> = (0..rows * rows).map(|at| factors.upper[at % rows * rows + at / rows]).collect();
            let identity: Vec<f64> = (0..rows * rows).map(|at| if at / rows == at % rows { 1.0 } else { 0.0 }).collect();
            for (found, expected) in factors.times_q(&transposed).iter().zip(&z) {
                assert!((found - expected).abs() < 1e-13 * rows as f64, "{rows} x {columns}: {found} {expected}");
            }
            let q = factors.times_q(&identity);
            for (at, expected) in identity.iter().enumerate() {
                let [a, b] = [at / rows, at % rows].map(|row| &q[row * columns..(row + 1) * columns]);
                assert!((dot(a, b) - expected).abs() < 1e-13 * rows as f64, "{rows} x {columns}");
            }
            for r in 0..rows {
                assert!(factors.upper[r * rows..r * rows + r].iter().all(|below| *below == 0.0));
            }
        }
    }
}
