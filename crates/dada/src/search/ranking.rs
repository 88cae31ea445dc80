//! The exact rank of every query's relevant items, without ever holding a neighbour list.
//!
//! Items are laid out class by class, so that relevant pairs lie in few tiles of the similarity matrix. A first pass over those
//! tiles alone tells every query how similar its relevant items are; a second pass over all tiles counts what comes before them.
//! Both passes compute a tile by the same call, so a pair's similarity is the same in both, to the bit. When a set is searched
//! in itself, a tile serves the queries of both its sides: half the multiplications.
//!
//! Results do not depend on the number of threads: tiles are fixed, and counts of integers have no order.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::search::panels::{self, Panels, SIDE};
use crate::search::tally::{self, Tally};

/// Relevant pairs held at once: 12 bytes each. Beyond them (few, huge classes) a search of a set in itself goes stripe by stripe.
const PAIRS: usize = 40_000_000;

/// Where a query's relevant items stand in the gallery, sorted by falling similarity, then rising index.
#[derive(Clone, Copy, Debug)]
pub struct Ranks<'a> {
    /// The query's index.
    pub query: usize,
    /// R: how many items of the query's class the gallery has, the query itself excluded.
    pub relevant: usize,
    /// Rank (from 1) of the first hit, however deep; `None` without a relevant item.
    pub first: Option<usize>,
    /// How many irrelevant items are exactly as similar as the first hit and come before it by their index alone.
    pub tied: usize,
    /// Ranks (from 1), ascending, of all hits within `max(R + 1, depth)`.
    pub hits: &'a [u32],
}

/// Searches every embedding in all others (itself excluded by index) and scores each query's ranks.
///
/// Memory: a second copy of the embeddings, 12 bytes for each of at most 40 million relevant pairs, and O(rows).
///
/// # Errors
/// `labels` is not one class for each row.
pub fn rank_self<T: Send>(
    embeddings: &Embeddings,
    labels: &[usize],
    depth: usize,
    progress: Progress,
    score: impl Fn(Ranks) -> T + Sync,
) -> Result<Vec<T>> {
    let side = Side::new(embeddings, labels, "labels")?;
    let search = Search { queries: &side, gallery: &side, same: true, depth, progress };
    Ok(if search.pairs(0..side.labels.len()) <= PAIRS { search.both_sides(score) } else { search.stripes(PAIRS, score) })
}

/// Searches every query in the gallery and scores its ranks; a query's relevant items are the gallery items of its class.
///
/// Memory: a second copy of both, 12 bytes for each of at most 40 million relevant pairs, and O(rows).
///
/// # Errors
/// Labels that are not one class for each row, or embeddings of different dimensions.
pub fn rank_gallery<T: Send>(
    (queries, query_labels): (&Embeddings, &[usize]),
    (gallery, gallery_labels): (&Embeddings, &[usize]),
    depth: usize,
    progress: Progress,
    score: impl Fn(Ranks) -> T + Sync,
) -> Result<Vec<T>> {
    if queries.dim() != gallery.dim() {
        return Err(Error::mismatch("dimension of the gallery", gallery.dim(), format!("{}, that of the queries", queries.dim())));
    }
    let queries = Side::new(queries, query_labels, "labels of the queries")?;
    let gallery = Side::new(gallery, gallery_labels, "labels of the gallery")?;
    Ok(Search { queries: &queries, gallery: &gallery, same: false, depth, progress }.stripes(PAIRS, score))
}

/// One set of embeddings, class by class.
struct Side {
    /// Original index of each position.
    order: Vec<u32>,
    /// Class of each position, ascending.
    labels: Vec<usize>,
    panels: Panels,
}

impl Side {
    fn new(embeddings: &Embeddings, labels: &[usize], what: &str) -> Result<Self> {
        if labels.len() != embeddings.rows() {
            return Err(Error::mismatch(what, labels.len(), format!("{}, one for each embedding", embeddings.rows())));
        }
        let mut order: Vec<u32> = (0..labels.len() as u32).collect();
        order.sort_unstable_by_key(|&row| (labels[row as usize], row));
        let panels = Panels::new(embeddings, &order);
        let labels = order.iter().map(|&row| labels[row as usize]).collect();
        Ok(Self { order, labels, panels })
    }

    /// The positions of a class.
    fn class(&self, label: usize) -> Range<usize> {
        let start = self.labels.partition_point(|&other| other < label);
        start..start + self.labels[start..].partition_point(|&other| other == label)
    }
}

struct Search<'a> {
    queries: &'a Side,
    gallery: &'a Side,
    /// Queries and gallery are one set: no query finds itself.
    same: bool,
    depth: usize,
    progress: Progress<'a>,
}

/// A tile: panel of the queries, panel of the gallery.
type Tile = (usize, usize);

impl Search<'_> {
    /// Number of pairs of a query at these positions and a relevant item.
    fn pairs(&self, positions: Range<usize>) -> usize {
        self.queries.labels[positions].chunk_by(|a, b| a == b).map(|class| class.len() * self.relevant(class[0])).sum()
    }

    fn relevant(&self, label: usize) -> usize {
        self.gallery.class(label).len() - usize::from(self.same)
    }

    fn tally(&self, panel: usize) -> Tally {
        let positions = self.queries.panels.positions(panel);
        let labels = &self.queries.labels[positions.clone()];
        let mut last = None;
        let relevant = labels.iter().map(|&label| match last {
            Some((known, count)) if known == label => count,
            _ => last.insert((label, self.relevant(label))).1,
        });
        Tally::new(&self.queries.order[positions], labels, relevant, self.depth)
    }

    /// Panels of the gallery that hold items relevant to queries of this panel.
    fn related(&self, panel: usize) -> Range<usize> {
        let labels = &self.queries.labels[self.queries.panels.positions(panel)];
        let start = self.gallery.class(labels[0]).start;
        let end = self.gallery.class(labels[labels.len() - 1]).end;
        if start == end { 0..0 } else { start / SIDE..(end - 1) / SIDE + 1 }
    }

    /// Notes the similarities of the relevant pairs of a tile; both ways when `columns` are queries too.
    fn relate(&self, tile: &[f32], (a, b): Tile, rows: &mut Tally, mut columns: Option<&mut Tally>) {
        let (above, left) = (self.gallery.panels.positions(b), self.queries.panels.positions(a));
        for (row, position) in left.enumerate() {
            let class = self.gallery.class(rows.class[row]);
            for other in class.start.max(above.start)..class.end.min(above.end) {
                if self.same && other == position {
                    continue;
                }
                // The query itself has no slot.
                let slot = |item: usize, query: usize| item - class.start - usize::from(self.same && item > query);
                let similarity = tile[row * SIDE + other - above.start];
                rows.relate(row, slot(other, position), similarity, self.gallery.order[other]);
                if let Some(columns) = &mut columns {
                    columns.relate(other - above.start, slot(position, other), similarity, self.queries.order[position]);
                }
            }
        }
    }

    /// A set searched in itself, every tile serving both its sides.
    fn both_sides<T: Send>(&self, score: impl Fn(Ranks) -> T + Sync) -> Vec<T> {
        let count = self.queries.panels.count();
        let tallies: Vec<_> = (0..count).into_par_iter().map(|panel| Mutex::new(self.tally(panel))).collect();
        // Neighbours in this order have no panel in common, so that threads do not wait for each other's tallies.
        let tiles: Vec<Tile> = (0..=count / 2)
            .flat_map(|step| (0..if 2 * step == count { step } else { count }).map(move |a| (a, (a + step) % count)))
            .map(|(a, b)| (a.min(b), a.max(b)))
            .collect();
        let related: Vec<Tile> = tiles.iter().copied().filter(|&(a, b)| self.related(a).contains(&b)).collect();
        let done = AtomicUsize::new(0);
        let total = related.len() + tiles.len();
        self.each_tile(&related, &done, total, |tile, (a, b)| {
            let mut rows = lock(&tallies[a]);
            let mut columns = (a != b).then(|| lock(&tallies[b]));
            if a == b {
                mirror(tile);
            }
            self.relate(tile, (a, b), &mut rows, columns.as_deref_mut());
        });
        tallies.par_iter().for_each(|tally| lock(tally).seal());
        self.each_tile(&tiles, &done, total, |tile, (a, b)| {
            let mut rows = lock(&tallies[a]);
            let mut columns = (a != b).then(|| lock(&tallies[b]));
            tally::count(tile, SIDE, &mut rows, columns.as_deref_mut());
        });
        self.score(tallies, score)
    }

    /// Stripes of queries that have at most `limit` relevant pairs (or a single panel), each searched in the whole gallery.
    fn stripes<T: Send>(&self, limit: usize, score: impl Fn(Ranks) -> T + Sync) -> Vec<T> {
        let count = self.queries.panels.count();
        let pairs: Vec<usize> = (0..count).map(|panel| self.pairs(self.queries.panels.positions(panel))).collect();
        let related = |stripe: Range<usize>| stripe.flat_map(|a| self.related(a).map(move |b| (a, b))).collect::<Vec<Tile>>();
        let total = related(0..count).len() + count * self.gallery.panels.count();
        let done = AtomicUsize::new(0);
        let mut scored = Vec::new();
        let mut start = 0;
        while start < count {
            let mut held = 0;
            let fits = pairs[start..].iter().take_while(|&&pairs| {
                held += pairs;
                held <= limit
            });
            let stripe = start..start + fits.count().max(1);
            scored.extend(self.stripe(stripe.clone(), &related(stripe.clone()), &done, total, &score));
            start = stripe.end;
        }
        self.in_query_order(scored)
    }

    fn stripe<T: Send>(
        &self,
        stripe: Range<usize>,
        related: &[Tile],
        done: &AtomicUsize,
        total: usize,
        score: &(impl Fn(Ranks) -> T + Sync),
    ) -> Vec<(u32, T)> {
        let tallies: Vec<_> = stripe.clone().into_par_iter().map(|panel| Mutex::new(self.tally(panel))).collect();
        let tiles: Vec<Tile> = (0..self.gallery.panels.count()).flat_map(|b| stripe.clone().map(move |a| (a, b))).collect();
        self.each_tile(related, done, total, |tile, (a, b)| self.relate(tile, (a, b), &mut lock(&tallies[a - stripe.start]), None));
        tallies.par_iter().for_each(|tally| lock(tally).seal());
        self.each_tile(&tiles, done, total, |tile, (a, b)| {
            let positions = self.gallery.panels.positions(b);
            let mut columns = Tally::of_items(&self.gallery.order[positions.clone()], &self.gallery.labels[positions.clone()]);
            if self.same && a == b {
                // Less than any similarity: nobody comes before anything else.
                (0..positions.len()).for_each(|own| tile[own * SIDE + own] = f32::NEG_INFINITY);
            }
            tally::count(tile, SIDE, &mut lock(&tallies[a - stripe.start]), Some(&mut columns));
        });
        score_tallies(tallies, score)
    }

    fn each_tile(&self, tiles: &[Tile], done: &AtomicUsize, total: usize, visit: impl Fn(&mut [f32], Tile) + Sync) {
        tiles.par_iter().with_max_len(1).for_each_init(panels::tile, |tile, &(a, b)| {
            panels::multiply(&self.queries.panels, a, &self.gallery.panels, b, tile);
            visit(tile, (a, b));
            (self.progress)(done.fetch_add(1, Ordering::Relaxed) + 1, total);
        });
    }

    fn score<T: Send>(&self, tallies: Vec<Mutex<Tally>>, score: impl Fn(Ranks) -> T + Sync) -> Vec<T> {
        self.in_query_order(score_tallies(tallies, &score))
    }

    fn in_query_order<T>(&self, mut scored: Vec<(u32, T)>) -> Vec<T> {
        scored.sort_unstable_by_key(|&(query, _)| query);
        scored.into_iter().map(|(_, score)| score).collect()
    }
}

/// Counting reads only what is right of the diagonal, for both rows and columns: so does everybody else.
fn mirror(tile: &mut [f32]) {
    for row in 0..SIDE {
        for column in 0..row {
            tile[row * SIDE + column] = tile[column * SIDE + row];
        }
    }
}

fn score_tallies<T: Send>(tallies: Vec<Mutex<Tally>>, score: &(impl Fn(Ranks) -> T + Sync)) -> Vec<(u32, T)> {
    let one = |tally: Mutex<Tally>| {
        let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut hits = Vec::new();
        let rows = tally.index.iter().enumerate().map(|(row, &query)| {
            let (relevant, first, tied) = tally.ranks(row, &mut hits);
            let first = (first > 0).then_some(first as usize);
            (query, score(Ranks { query: query as usize, relevant, first, tied: tied as usize, hits: &hits }))
        });
        rows.collect::<Vec<_>>()
    };
    tallies.into_par_iter().flat_map_iter(one).collect()
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    // A poisoned tally means that another thread panicked, and that panic is on its way up already.
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};
    use rand::RngExt;

    /// Few huge classes do not fit at once: the way around has to lead to the same ranks.
    #[test]
    fn stripes_find_what_both_sides_find() {
        let mut random = generator(5, Purpose::Sample, 0, 0, 0);
        let (rows, dim) = (1700, 8);
        let values = (0..rows * dim).map(|_| random.random_range(-2.0..2.0_f32)).collect();
        let labels: Vec<usize> = (0..rows).map(|_| random.random_range(0..6)).collect();
        let embeddings = Embeddings::new(values, rows, dim).unwrap();
        let side = Side::new(&embeddings, &labels, "labels").unwrap();
        let calls = AtomicUsize::new(0);
        let progress = |done: usize, total: usize| {
            assert!((1..=total).contains(&done));
            calls.fetch_add(1, Ordering::Relaxed);
        };
        let search = Search { queries: &side, gallery: &side, same: true, depth: 20, progress: &progress };
        let keep = |ranks: Ranks| (ranks.query, ranks.relevant, ranks.first, ranks.tied, ranks.hits.to_vec());
        let wanted = search.both_sides(keep);
        for limit in [0, 300_000, usize::MAX] {
            assert_eq!(search.stripes(limit, keep), wanted);
        }
        assert!(wanted.iter().enumerate().all(|(query, found)| found.0 == query));
        assert!(calls.into_inner() > 4 * 4);
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let mut random = generator(6, Purpose::Sample, 0, 0, 0);
        let values = (0..2000 * 12).map(|_| random.random::<f32>() - 0.5).collect();
        let labels: Vec<usize> = (0..2000).map(|_| random.random_range(0..150)).collect();
        let embeddings = Embeddings::new(values, 2000, 12).unwrap();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                rank_self(&embeddings, &labels, 0, crate::progress::SILENT, |ranks| (ranks.first, ranks.hits.to_vec())).unwrap()
            })
        };
        assert_eq!(run(1), run(5));
    }
}
