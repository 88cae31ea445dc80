//! The k most similar gallery items of each query: for search and for sheets of pictures.

use rayon::prelude::*;

use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::search::panels::{self, Panels, SIDE};
use crate::search::tally::order;

/// An item of the gallery and its cosine similarity to the query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Row of the gallery.
    pub index: usize,
    /// Cosine, in [-1, 1] up to rounding.
    pub similarity: f32,
}

/// The `k` nearest rows of `gallery` for each query: higher similarity first, then lower index; fewer if the gallery has fewer.
///
/// `exclude_self` says that queries and gallery are one set: query i does not find row i. Memory: a second copy of both and
/// O(queries * k).
///
/// # Errors
/// Different dimensions, or `exclude_self` with sets of different size.
pub fn nearest(queries: &Embeddings, gallery: &Embeddings, k: usize, exclude_self: bool) -> Result<Vec<Vec<Neighbour>>> {
    if queries.dim() != gallery.dim() {
        return Err(Error::mismatch("dimension of the gallery", gallery.dim(), format!("{}, that of the queries", queries.dim())));
    }
    if exclude_self && queries.rows() != gallery.rows() {
        let expected = format!("{}, the queries themselves", queries.rows());
        return Err(Error::mismatch("rows of the gallery", gallery.rows(), expected));
    }
    let panels = |set: &Embeddings| Panels::new(set, &(0..set.rows() as u32).collect::<Vec<_>>());
    let (queries, gallery) = (panels(queries), panels(gallery));
    let found = (0..queries.count()).into_par_iter().map_init(panels::tile, |tile, a| {
        let mut best: Vec<Best> = queries.positions(a).map(|query| Best::new(k, exclude_self.then_some(query as u32))).collect();
        for b in 0..gallery.count() {
            panels::multiply(&queries, a, &gallery, b, tile);
            let columns = gallery.positions(b);
            for (best, row) in best.iter_mut().zip(tile.chunks_exact(SIDE)) {
                best.offer(&row[..columns.len()], columns.start as u32);
            }
        }
        best.into_iter().map(Best::sorted).collect::<Vec<_>>()
    });
    Ok(found.flatten_iter().collect())
}

/// The best items so far, and up to as many newcomers that may replace them.
struct Best {
    k: usize,
    excluded: Option<u32>,
    items: Vec<(f32, u32)>,
    /// The k-th best similarity when there are k. Later items have higher indices, so they have to beat it.
    floor: f32,
}

impl Best {
    fn new(k: usize, excluded: Option<u32>) -> Self {
        let floor = if k == 0 { f32::INFINITY } else { f32::NEG_INFINITY };
        Self { k, excluded, items: Vec::new(), floor }
    }

    fn offer(&mut self, row: &[f32], start: u32) {
        for (chunk, values) in (0..).step_by(32).zip(row.chunks(32)) {
            if values.iter().fold(false, |any, &value| any | (value > self.floor)) {
                for (index, &similarity) in (start + chunk..).zip(values) {
                    if similarity > self.floor && self.excluded != Some(index) {
                        self.items.push((similarity, index));
                        if self.items.len() >= self.k.saturating_mul(2).max(16) {
                            self.prune();
                        }
                    }
                }
            }
        }
    }

    fn prune(&mut self) {
        if self.items.len() > self.k {
            self.items.select_nth_unstable_by(self.k - 1, |&a, &b| order(a, b));
            self.items.truncate(self.k);
            self.floor = self.items[self.k - 1].0;
        }
    }

    fn sorted(mut self) -> Vec<Neighbour> {
        self.prune();
        self.items.sort_unstable_by(|&a, &b| order(a, b));
        self.items.into_iter().map(|(similarity, index)| Neighbour { index: index as usize, similarity }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Corners of a cube of 16 dimensions, `distinct` of them, repeated: products are exact, and most similarities are ties.
    fn corners(rows: usize, distinct: usize) -> Embeddings {
        let value = |row: usize, at: usize| if ((row % distinct * 40503) >> at) & 1 == 0 { 1.0 } else { -1.0 };
        Embeddings::new((0..rows).flat_map(|row| (0..16).map(move |at| value(row, at))).collect(), rows, 16).unwrap()
    }

    #[test]
    fn nearest_agrees_with_sorting_everything() {
        let (queries, gallery) = (corners(7, 7), corners(1100, 40));
        for k in [0, 1, 9, 100, 2000] {
            for (query, found) in nearest(&queries, &gallery, k, false).unwrap().iter().enumerate() {
                assert_eq!(found.len(), k.min(gallery.rows()));
                let similarity = |item: usize| queries.row(query).iter().zip(gallery.row(item)).map(|(x, y)| x * y).sum::<f32>();
                let mut all: Vec<usize> = (0..gallery.rows()).collect();
                all.sort_by(|&a, &b| similarity(b).total_cmp(&similarity(a)).then(a.cmp(&b)));
                let found: Vec<usize> = found.iter().map(|neighbour| neighbour.index).collect();
                assert_eq!(found, all[..found.len()], "k {k}, query {query}");
            }
        }
    }

    #[test]
    fn a_query_leaves_out_itself_and_keeps_its_copies() {
        let set = corners(600, 300);
        for (query, found) in nearest(&set, &set, 1, true).unwrap().iter().enumerate() {
            assert_eq!(found[0].index, (query + 300) % 600);
        }
        assert!(nearest(&set, &corners(5, 5), 1, true).is_err());
        assert!(nearest(&set, &Embeddings::new(vec![1.0; 15], 5, 3).unwrap(), 1, false).is_err());
    }
}
