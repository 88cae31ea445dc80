//! How similar items of one class are, and items of different classes.

use rand::seq::index;
use rayon::prelude::*;

use crate::evaluate::task::Task;
use crate::random::{Purpose, generator};
use crate::search::panels::{self, Panels, SIDE};

/// Bins from -1 to 1, a hundredth wide.
pub const BINS: usize = 200;

/// Pairs at most; with more, a seeded sample of queries stands for all.
const PAIRS: usize = 200_000_000;

/// Cosines of (query, item) pairs, counted in [`BINS`] equally wide bins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Similarities {
    /// Pairs of one class.
    pub same: Vec<u64>,
    /// Pairs of different classes.
    pub other: Vec<u64>,
    /// Queries that were compared with every item.
    pub queries: usize,
    /// All queries; more than `queries` when a sample was drawn.
    pub of: usize,
}

/// Counts the cosines of every query with every item of the gallery but itself: exactly up to 200 million pairs, beyond that for a
/// sample of queries that `seed` decides. The counts do not depend on the number of threads.
pub fn similarities(task: &Task, seed: u64) -> Similarities {
    sampled(task, seed, PAIRS)
}

fn sampled(task: &Task, seed: u64, pairs: usize) -> Similarities {
    let (mut queries, gallery) = (task.queries(), task.gallery());
    let of = queries.len();
    let wanted = (pairs / gallery.len().max(1)).max(1);
    if of > wanted {
        let mut drawn = index::sample(&mut generator(seed, Purpose::Sample, 0, 0, 0), of, wanted).into_vec();
        drawn.sort_unstable();
        queries = drawn.into_iter().map(|query| queries[query]).collect();
    }
    let [left, right] =
        [&queries, &gallery].map(|rows| Panels::new(task.embeddings(), &rows.iter().map(|&row| row as u32).collect::<Vec<_>>()));
    let count = |(mut tile, mut sums): (Vec<f32>, Histograms), a: usize| {
        for b in 0..right.count() {
            panels::multiply(&left, a, &right, b, &mut tile);
            for (&query, values) in queries[left.positions(a)].iter().zip(tile.chunks_exact(SIDE)) {
                for (&item, &cosine) in gallery[right.positions(b)].iter().zip(values) {
                    if item != query {
                        let other = usize::from(task.labels()[item] != task.labels()[query]);
                        sums[other][bin(cosine)] += 1;
                    }
                }
            }
        }
        (tile, sums)
    };
    let counted = (0..left.count()).into_par_iter().fold(|| (panels::tile(), empty()), count);
    let [same, other] = counted.map(|(_, sums)| sums).reduce(empty, add);
    Similarities { same, other, queries: queries.len(), of }
}

/// Pairs in each bin: those of one class, those of different classes.
type Histograms = [Vec<u64>; 2];

fn empty() -> Histograms {
    [vec![0; BINS], vec![0; BINS]]
}

fn add(mut sums: Histograms, more: Histograms) -> Histograms {
    for (sum, more) in sums.iter_mut().flatten().zip(more.iter().flatten()) {
        *sum += more;
    }
    sums
}

fn bin(cosine: f32) -> usize {
    // Rounding takes cosines beyond 1 by a few millionths.
    (((cosine + 1.0) * (BINS as f32 / 2.0)).max(0.0) as usize).min(BINS - 1)
}

impl Similarities {
    /// The probability that a pair of one class is more similar than a pair of different classes, up to ties within a bin (the area
    /// under the ROC curve of telling pairs apart); NaN without pairs of both kinds.
    pub fn separation(&self) -> f64 {
        let (same, other) = (self.same.iter().sum::<u64>() as f64, self.other.iter().sum::<u64>() as f64);
        let mut below = 0.0;
        let mut sum = 0.0;
        for (&same, &other) in self.same.iter().zip(&self.other) {
            sum += same as f64 * (below + other as f64 / 2.0);
            below += other as f64;
        }
        sum / (same * other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embeddings::Embeddings;
    use crate::roles::Roles;
    use rand::RngExt;

    fn task(rows: usize, roles: Option<Roles>) -> Task {
        let mut random = generator(3, Purpose::Initialise, 0, 0, 0);
        let values = (0..rows * 4).map(|_| random.random_range(-1.0..1.0f32)).collect();
        Task::new(Embeddings::new(values, rows, 4).unwrap(), (0..rows).map(|row| row % 7).collect(), roles).unwrap()
    }

    #[test]
    fn counts_are_those_of_a_loop_over_pairs() {
        let roles = Roles { query: (0..200).collect(), gallery: (200..700).rev().collect() };
        for task in [task(700, None), task(700, Some(roles))] {
            let mut wanted = [[0u64; 2]; 2];
            for query in task.queries() {
                for item in task.gallery().into_iter().filter(|&item| item != query) {
                    let pair = task.embeddings().row(query).iter().zip(task.embeddings().row(item));
                    let cosine: f32 = pair.map(|(a, b)| a * b).sum();
                    wanted[usize::from(query % 7 != item % 7)][usize::from(cosine >= 0.0)] += 1;
                }
            }
            let found = similarities(&task, 0);
            let halves = |bins: &[u64]| [bins[..BINS / 2].iter().sum::<u64>(), bins[BINS / 2..].iter().sum()];
            assert_eq!([halves(&found.same), halves(&found.other)], wanted);
            assert_eq!((found.queries, found.of), (task.queries().len(), task.queries().len()));
        }
    }

    #[test]
    fn a_sample_is_decided_by_its_seed() {
        let task = task(700, None);
        let found = sampled(&task, 1, 70_000);
        assert_eq!((found.queries, found.of), (100, 700));
        assert_eq!(found.same.iter().chain(&found.other).sum::<u64>(), 100 * 699);
        assert_eq!(found, sampled(&task, 1, 70_000));
        assert_ne!(found, sampled(&task, 2, 70_000));
    }

    #[test]
    fn separation_is_one_half_for_chance() {
        let made = |same: [usize; 2], other: [usize; 2]| {
            let fill = |at: [usize; 2]| {
                let mut bins = vec![0; BINS];
                at.iter().for_each(|&at| bins[at] += 1);
                bins
            };
            Similarities { same: fill(same), other: fill(other), queries: 0, of: 0 }
        };
        assert_eq!(made([9, 9], [3, 4]).separation(), 1.0);
        assert_eq!(made([5, 6], [5, 6]).separation(), 0.5);
        assert_eq!((bin(-1.0), bin(1.000001), bin(0.0)), (0, BINS - 1, BINS / 2));
    }
}
