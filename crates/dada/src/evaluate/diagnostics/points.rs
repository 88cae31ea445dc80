//! Sets of points, of unit length or not.

use crate::embeddings::Embeddings;

/// Points as the rows of a matrix `[rows, dim]`, row-major.
#[derive(Clone, Copy, Debug)]
pub struct PointSet<'a> {
    /// Row after row.
    pub values: &'a [f32],
    /// Length of a row.
    pub dim: usize,
}

impl<'a> PointSet<'a> {
    /// All embeddings.
    pub fn of(embeddings: &'a Embeddings) -> Self {
        Self { values: embeddings.values(), dim: embeddings.dim() }
    }

    /// How many rows there are.
    pub fn rows(self) -> usize {
        self.values.len() / self.dim
    }

    /// One row.
    pub fn row(self, index: usize) -> &'a [f32] {
        &self.values[index * self.dim..][..self.dim]
    }
}

/// The inner product of two rows.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    // Eight running sums keep the loop free of a chain of additions.
    let mut sums = [0.0f32; 8];
    let (heads, tails) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = heads.remainder().iter().zip(tails.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in heads.zip(tails) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    f64::from(sums.iter().sum::<f32>() + rest)
}
