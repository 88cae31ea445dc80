//! Embeddings laid out for matrix multiplication, and the one function that computes similarities.
//!
//! Every multiplication has the same shape, the last panel being padded with zeros. A similarity therefore comes from the same
//! instructions wherever its rows stand: equal vectors get equal similarities, and a tile computed twice has the same bits.

use gemm::Parallelism;
use rayon::prelude::*;

use crate::embeddings::Embeddings;

/// Rows of a panel: a multiple of the register blocking of `gemm` (64 x 6 with AVX-512, 16 x 6 with AVX2). The two panels are
/// packed anew for every tile, 14 % of the time at 480, which larger tiles amortise until they leave the cache: 576 to 768 is best.
pub(crate) const SIDE: usize = 576;

/// Panels `[count, depth, SIDE]`: the transposed rows of `SIDE` embeddings each.
pub(crate) struct Panels {
    rows: usize,
    depth: usize,
    values: Vec<f32>,
}

impl Panels {
    /// Lays out the rows of `embeddings` in the given order.
    pub(crate) fn new(embeddings: &Embeddings, order: &[u32]) -> Self {
        Self::of(embeddings.values(), embeddings.dim(), order)
    }

    /// Lays out rows of a row-major matrix `[_, dim]` in the given order.
    pub(crate) fn of(matrix: &[f32], dim: usize, order: &[u32]) -> Self {
        // `gemm` has special cases for depths of one and two.
        let depth = dim.max(4);
        let mut values = vec![0.0; order.len().div_ceil(SIDE) * depth * SIDE];
        values.par_chunks_exact_mut(depth * SIDE).zip(order.par_chunks(SIDE)).for_each(|(panel, order)| {
            for (column, &row) in order.iter().enumerate() {
                for (at, &value) in matrix[row as usize * dim..][..dim].iter().enumerate() {
                    panel[at * SIDE + column] = value;
                }
            }
        });
        Self { rows: order.len(), depth, values }
    }

    /// Number of panels.
    pub(crate) fn count(&self) -> usize {
        self.rows.div_ceil(SIDE)
    }

    /// The positions, in the order given to [`Panels::new`], of a panel's rows.
    pub(crate) fn positions(&self, panel: usize) -> std::ops::Range<usize> {
        panel * SIDE..self.rows.min((panel + 1) * SIDE)
    }

    fn panel(&self, panel: usize) -> &[f32] {
        &self.values[panel * self.depth * SIDE..][..self.depth * SIDE]
    }
}

/// An empty tile, `[SIDE, SIDE]`.
pub(crate) fn tile() -> Vec<f32> {
    vec![0.0; SIDE * SIDE]
}

/// Similarities of the rows of panel `a` of `left` with those of panel `b` of `right` into `tile[row of a][row of b]`.
pub(crate) fn multiply(left: &Panels, a: usize, right: &Panels, b: usize, tile: &mut [f32]) {
    assert_eq!(left.depth, right.depth, "embeddings of one dimension");
    assert_eq!(tile.len(), SIDE * SIDE);
    let (left, right, depth) = (left.panel(a), right.panel(b), left.depth);
    let side = SIDE as isize;
    // SAFETY: both panels hold `depth * SIDE` values, the tile `SIDE * SIDE`; the strides below stay inside them and the tile is
    // borrowed exclusively. The tile is written column by column of `gemm`'s view, which are our rows.
    unsafe {
        gemm::gemm(
            SIDE,
            SIDE,
            depth,
            tile.as_mut_ptr(),
            side,
            1,
            false,
            right.as_ptr(),
            side,
            1,
            left.as_ptr(),
            1,
            side,
            0.0_f32,
            1.0_f32,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_holds_the_dot_products_of_its_rows() {
        let values = (0..900 * 3).map(|at| ((at * 37 % 101) as f32) - 50.0).collect();
        let embeddings = Embeddings::new(values, 900, 3).unwrap();
        let order: Vec<u32> = (0..900).rev().collect();
        let panels = Panels::new(&embeddings, &order);
        let mut found = tile();
        multiply(&panels, 0, &panels, 1, &mut found);
        for (row, i) in panels.positions(0).enumerate() {
            for (column, j) in panels.positions(1).enumerate() {
                let pair = embeddings.row(order[i] as usize).iter().zip(embeddings.row(order[j] as usize));
                let wanted: f32 = pair.map(|(x, y)| x * y).sum();
                assert!((found[row * SIDE + column] - wanted).abs() < 1e-6);
            }
        }
    }

    /// Ties are broken by index, so equal vectors have to get equal similarities, to the bit, wherever they stand.
    #[test]
    fn equal_vectors_get_equal_similarities_at_every_position() {
        for dim in [1, 2, 5, 64, 700, 1536] {
            let pattern: Vec<f32> = (0..2 * dim).map(|at| ((at * 7919 % 1009) as f32 - 504.0) / 99.0).collect();
            let values = (0..700).flat_map(|row| pattern[row % 2 * dim..][..dim].to_vec()).collect();
            let embeddings = Embeddings::new(values, 700, dim).unwrap();
            let panels = Panels::new(&embeddings, &(0..700).collect::<Vec<_>>());
            let mut first = None;
            for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let mut found = tile();
                multiply(&panels, a, &panels, b, &mut found);
                for row in 0..panels.positions(a).len() {
                    for column in 0..panels.positions(b).len() {
                        if row % 2 != column % 2 {
                            let value = found[row * SIDE + column].to_bits();
                            assert_eq!(*first.get_or_insert(value), value, "dim {dim}, tile ({a}, {b}), row {row}, column {column}");
                        }
                    }
                }
            }
        }
    }
}
