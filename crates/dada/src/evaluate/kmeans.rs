//! k-means on embeddings: k-means++ starts, Lloyd's iterations, both on matrix multiplication.

use rand::RngExt;
use rayon::prelude::*;

use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::random::{Purpose, generator};
use crate::search::panels::{self, Panels, SIDE};

/// How to cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KMeans {
    /// Starts, of which the one with the smallest inertia is kept.
    pub restarts: usize,
    /// Lloyd iterations at most; a start ends earlier when no item changes its cluster.
    pub iterations: usize,
    /// Seed of the starting points.
    pub seed: u64,
}

impl Default for KMeans {
    fn default() -> Self {
        Self { restarts: 3, iterations: 20, seed: 0 }
    }
}

/// Clusters of embeddings.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// Cluster of each row, below the number of clusters.
    pub assignment: Vec<usize>,
    /// Centres, row-major `[clusters, dim]`: means of length-one rows, themselves shorter.
    pub centres: Vec<f32>,
    /// Sum of squared distances to the nearest centre.
    pub inertia: f64,
}

/// Clusters the rows into `clusters` groups. `progress` counts passes over all rows at most.
///
/// The result depends on the seed alone, not on the number of threads.
///
/// # Errors
/// No cluster, more clusters than rows, or no restart.
pub fn k_means(embeddings: &Embeddings, clusters: usize, config: &KMeans, progress: Progress) -> Result<Clusters> {
    if clusters == 0 || clusters > embeddings.rows() {
        return Err(Error::mismatch("number of clusters", clusters, format!("1 to {}, the rows", embeddings.rows())));
    }
    if config.restarts == 0 {
        return Err(Error::Config("restarts: found 0, expected at least 1".into()));
    }
    let points = Points { embeddings, panels: Panels::new(embeddings, &(0..embeddings.rows() as u32).collect::<Vec<_>>()) };
    let passes = config.iterations + 2;
    let mut best: Option<Clusters> = None;
    for restart in 0..config.restarts {
        let done = |pass: usize| progress(restart * passes + pass, config.restarts * passes);
        let mut centres = points.start(clusters, config.seed, restart);
        done(1);
        let mut nearest = points.nearest(&centres);
        for iteration in 0..config.iterations {
            let assigned = filled(&nearest, clusters);
            let next = points.means(&assigned, clusters);
            nearest = points.nearest_again(nearest, &centres, &next);
            centres = next;
            let settled = nearest.iter().map(|nearest| nearest.centre).eq(assigned);
            done(iteration + 2);
            if settled {
                break;
            }
        }
        done(passes);
        let inertia = nearest.iter().map(|nearest| f64::from(nearest.distance())).sum();
        if best.as_ref().is_none_or(|best| inertia < best.inertia) {
            let assignment = nearest.iter().map(|nearest| nearest.centre as usize).collect();
            best = Some(Clusters { assignment, centres, inertia });
        }
    }
    Ok(best.expect("there is at least one restart"))
}

struct Points<'a> {
    embeddings: &'a Embeddings,
    panels: Panels,
}

/// The nearest centre of a row, the first of equals.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Nearest {
    centre: u32,
    /// `x · c - |c|² / 2`. Since `|x - c|² = 1 - 2 (x · c - |c|² / 2)` for `|x| = 1`, the nearest centre has the largest.
    bracket: f32,
}

impl Nearest {
    /// Farther than any.
    const NOWHERE: Self = Self { centre: u32::MAX, bracket: f32::NEG_INFINITY };

    /// Squared Euclidean distance to the centre.
    fn distance(self) -> f32 {
        (1.0 - 2.0 * self.bracket).max(0.0)
    }
}

impl Points<'_> {
    /// The nearest centre of each row; `centres` is `[_, dim]`.
    fn nearest(&self, centres: &[f32]) -> Vec<Nearest> {
        let all: Vec<u32> = (0..(centres.len() / self.embeddings.dim()) as u32).collect();
        let mut nearest = vec![Nearest::NOWHERE; self.embeddings.rows()];
        self.compare(&self.panels, &mut nearest, centres, &all);
        nearest
    }

    /// What [`Points::nearest`] finds among `now`, to the bit, when `nearest` is what it found among `before`, both `[_, dim]`.
    ///
    /// Most centres come to rest long before the last ones do. A centre at rest is no nearer to a row than the nearest one was before, so
    /// that all rows are compared with the moved centres only, and with the others just those rows whose centre moved away.
    fn nearest_again(&self, mut nearest: Vec<Nearest>, before: &[f32], now: &[f32]) -> Vec<Nearest> {
        let dim = self.embeddings.dim();
        let moves: Vec<bool> = before.chunks_exact(dim).zip(now.chunks_exact(dim)).map(|(before, now)| before != now).collect();
        let (moved, still): (Vec<u32>, Vec<u32>) = (0..moves.len() as u32).partition(|&centre| moves[centre as usize]);
        let old = nearest.clone();
        let left = |row: usize| moves[old[row].centre as usize];
        (0..old.len()).filter(|&row| left(row)).for_each(|row| nearest[row] = Nearest::NOWHERE);
        self.compare(&self.panels, &mut nearest, now, &moved);
        let worse = |row: &u32| left(*row as usize) && nearest[*row as usize].bracket <= old[*row as usize].bracket;
        let rows: Vec<u32> = (0..old.len() as u32).filter(worse).collect();
        let mut found: Vec<Nearest> = rows.iter().map(|&row| nearest[row as usize]).collect();
        self.compare(&Panels::new(self.embeddings, &rows), &mut found, now, &still);
        rows.iter().zip(found).for_each(|(&row, found)| nearest[row as usize] = found);
        nearest
    }

    /// Lets these of the `centres` `[_, dim]` replace the nearest one of each of `points` where they are nearer.
    fn compare(&self, points: &Panels, nearest: &mut [Nearest], centres: &[f32], these: &[u32]) {
        let dim = self.embeddings.dim();
        let half: Vec<f32> = these.iter().map(|&centre| (square(&centres[centre as usize * dim..][..dim]) / 2.0) as f32).collect();
        let centres = Panels::of(centres, dim, these);
        nearest.par_chunks_mut(SIDE).enumerate().for_each_init(panels::tile, |tile, (a, nearest)| {
            for b in 0..centres.count() {
                panels::multiply(points, a, &centres, b, tile);
                let columns = centres.positions(b);
                let (half, these) = (&half[columns.clone()], &these[columns]);
                for (nearest, row) in nearest.iter_mut().zip(tile.chunks_exact(SIDE)) {
                    for (row, (half, these)) in row.chunks(32).zip(half.chunks(32).zip(these.chunks(32))) {
                        if row.iter().zip(half).fold(false, |any, (product, half)| any | (product - half >= nearest.bracket)) {
                            for (&centre, (product, half)) in these.iter().zip(row.iter().zip(half)) {
                                let bracket = product - half;
                                if bracket > nearest.bracket || (bracket == nearest.bracket && centre < nearest.centre) {
                                    *nearest = Nearest { centre, bracket };
                                }
                            }
                        }
                    }
                }
            }
        });
    }

    /// Starting points by k-means++ (Arthur and Vassilvitskii, 2007): each row is drawn with probability proportional to its
    /// squared distance to the nearest point drawn before.
    ///
    /// A distance to one new point for all rows would be bound by memory. So many candidates are drawn from the distances as they
    /// were, and each is kept with probability (distance now) / (distance then): rejection sampling, the same distribution.
    fn start(&self, clusters: usize, seed: u64, restart: usize) -> Vec<f32> {
        let (rows, dim) = (self.embeddings.rows(), self.embeddings.dim());
        let mut first = generator(seed, Purpose::Cluster, restart, 0, 0);
        let mut chosen = self.embeddings.row(first.random_range(0..rows)).to_vec();
        let mut distance: Vec<f32> = self.nearest(&chosen).into_iter().map(Nearest::distance).collect();
        for batch in 1.. {
            let missing = clusters - chosen.len() / dim;
            if missing == 0 {
                break;
            }
            let mut random = generator(seed, Purpose::Cluster, restart, batch, 0);
            let sums: Vec<f64> = distance
                .iter()
                .scan(0.0, |sum, &distance| {
                    *sum += f64::from(distance);
                    Some(*sum)
                })
                .collect();
            let total = sums[rows - 1];
            let mut kept = Vec::new();
            for _ in 0..SIDE {
                let place = random.random::<f64>() * total;
                // Fewer distinct rows than clusters: all distances are zero, and any row will do.
                let row = if total > 0.0 { sums.partition_point(|&sum| sum <= place).min(rows - 1) } else { random.random_range(0..rows) };
                let candidate = self.embeddings.row(row);
                let now = kept.chunks_exact(dim).map(|kept| apart(kept, candidate)).fold(f64::from(distance[row]), f64::min);
                if total == 0.0 || random.random::<f64>() * f64::from(distance[row]) < now {
                    kept.extend_from_slice(candidate);
                    if kept.len() / dim == missing {
                        break;
                    }
                }
            }
            chosen.extend_from_slice(&kept);
            let nearer = self.nearest(&kept);
            distance.par_iter_mut().zip(nearer).for_each(|(distance, nearer)| *distance = distance.min(nearer.distance()));
        }
        chosen
    }

    /// Mean of each cluster's rows, `[clusters, dim]`; no cluster is empty.
    fn means(&self, cluster: &[u32], clusters: usize) -> Vec<f32> {
        let dim = self.embeddings.dim();
        let mut rows: Vec<u32> = (0..cluster.len() as u32).collect();
        rows.sort_by_key(|&row| cluster[row as usize]);
        let members: Vec<&[u32]> = rows.chunk_by(|&a, &b| cluster[a as usize] == cluster[b as usize]).collect();
        let mut means = vec![0.0; clusters * dim];
        means.par_chunks_exact_mut(dim).zip(members).for_each(|(mean, members)| {
            let mut sum = vec![0.0_f64; dim];
            for &row in members {
                sum.iter_mut().zip(self.embeddings.row(row as usize)).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            mean.iter_mut().zip(sum).for_each(|(mean, sum)| *mean = (sum / members.len() as f64) as f32);
        });
        means
    }
}

/// The cluster of each row, in which each empty cluster is given the row that is farthest from its own centre, from a cluster that can
/// spare it.
fn filled(nearest: &[Nearest], clusters: usize) -> Vec<u32> {
    let mut assigned: Vec<u32> = nearest.iter().map(|nearest| nearest.centre).collect();
    let mut sizes = vec![0; clusters];
    assigned.iter().for_each(|&cluster| sizes[cluster as usize] += 1);
    let empty: Vec<usize> = (0..clusters).filter(|&cluster| sizes[cluster] == 0).collect();
    if empty.is_empty() {
        return assigned;
    }
    let mut farthest: Vec<usize> = (0..nearest.len()).collect();
    farthest.sort_by(|&a, &b| nearest[b].distance().total_cmp(&nearest[a].distance()));
    let mut farthest = farthest.into_iter();
    for cluster in empty {
        let row = farthest.by_ref().find(|&row| sizes[assigned[row] as usize] > 1);
        let row = row.expect("there are at least as many rows as clusters");
        sizes[assigned[row] as usize] -= 1;
        sizes[cluster] = 1;
        assigned[row] = cluster as u32;
    }
    assigned
}

fn square(row: &[f32]) -> f64 {
    row.iter().map(|&value| f64::from(value) * f64::from(value)).sum()
}

/// Squared distance of two rows of length one.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    let product: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    f64::from((2.0 - 2.0 * product).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::clustering::agreement;
    use crate::progress::SILENT;

    fn blobs(rows: usize, dim: usize, classes: usize, noise: f32) -> (Embeddings, Vec<usize>) {
        let labels: Vec<usize> = (0..rows).map(|row| row % classes).collect();
        let values = labels.iter().enumerate().flat_map(|(row, &label)| {
            let mut centre = generator(1, Purpose::Sample, 0, 0, label);
            let mut own = generator(1, Purpose::Sample, 1, 0, row);
            (0..dim).map(move |_| centre.random::<f32>() - 0.5 + noise * (own.random::<f32>() - 0.5))
        });
        (Embeddings::new(values.collect(), rows, dim).unwrap(), labels)
    }

    #[test]
    fn separate_blobs_are_found_and_more_restarts_never_hurt() {
        let (set, labels) = blobs(1500, 16, 40, 0.2);
        let found = k_means(&set, 40, &KMeans { restarts: 5, ..KMeans::default() }, SILENT).unwrap();
        let one = k_means(&set, 40, &KMeans { restarts: 1, ..KMeans::default() }, SILENT).unwrap();
        assert!(agreement(&labels, &found.assignment).unwrap().nmi > 0.98);
        assert!(found.inertia <= one.inertia);
        let wanted: f64 = found
            .assignment
            .iter()
            .enumerate()
            .map(|(row, &cluster)| {
                let centre = &found.centres[cluster * 16..][..16];
                set.row(row).iter().zip(centre).map(|(x, c)| f64::from(x - c) * f64::from(x - c)).sum::<f64>()
            })
            .sum();
        assert!((found.inertia - wanted).abs() < 1e-3 * wanted, "{} {wanted}", found.inertia);
    }

    /// On four equidistant corners k-means++ must draw four different ones, and all orders are equally likely; drawing in one
    /// batch without rejection would repeat corners.
    #[test]
    fn a_start_never_draws_a_point_that_has_a_copy_among_the_drawn() {
        let values: Vec<f32> = (0..400).flat_map(|row| (0..4).map(move |at| f32::from(u8::from(row % 4 == at)))).collect();
        let set = Embeddings::new(values, 400, 4).unwrap();
        let points = Points { embeddings: &set, panels: Panels::new(&set, &(0..400).collect::<Vec<_>>()) };
        for restart in 0..20 {
            let mut corners: Vec<Vec<u32>> =
                points.start(4, 0, restart).chunks_exact(4).map(|row| row.iter().map(|value| *value as u32).collect()).collect();
            corners.sort();
            corners.dedup();
            assert_eq!(corners.len(), 4);
        }
    }

    #[test]
    fn every_cluster_has_a_row_even_with_fewer_distinct_rows() {
        let set = Embeddings::new([1.0, 0.0, 0.0, 1.0].repeat(5), 10, 2).unwrap();
        let found = k_means(&set, 7, &KMeans::default(), SILENT).unwrap();
        assert!(found.assignment.iter().all(|&cluster| cluster < 7));
        assert!(found.inertia < 1e-6);
        let all = k_means(&set, 10, &KMeans::default(), SILENT).unwrap();
        assert!(all.inertia < 1e-6);
    }

    /// Also with ties: a third of the rows are copies, and so are some centres.
    #[test]
    fn rows_that_are_not_compared_again_would_find_the_same_centre() {
        let (set, _) = blobs(1200, 6, 50, 1.5);
        let copies: Vec<usize> = (0..1800).map(|row| if row < 1200 { row } else { row % 90 }).collect();
        let set = set.select(&copies).unwrap();
        let points = Points { embeddings: &set, panels: Panels::new(&set, &(0..1800).collect::<Vec<_>>()) };
        let mut centres: Vec<f32> = (0..700).flat_map(|centre| set.row(centre * 61 % 1400)).copied().collect();
        let mut nearest = points.nearest(&centres);
        let mut shares = Vec::new();
        for _ in 0..12 {
            let next = points.means(&filled(&nearest, 700), 700);
            nearest = points.nearest_again(nearest, &centres, &next);
            assert_eq!(nearest, points.nearest(&next));
            let still = centres.chunks_exact(6).zip(next.chunks_exact(6)).filter(|(before, now)| before == now).count();
            shares.push(still as f64 / 700.0);
            centres = next;
        }
        assert!(shares.iter().any(|share| (0.1..0.95).contains(share)), "nothing was left out, or all: {shares:?}");
    }

    #[test]
    fn the_seed_decides_and_the_number_of_threads_does_not() {
        let (set, _) = blobs(1300, 8, 30, 1.5);
        let run = |seed: u64, threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| k_means(&set, 30, &KMeans { seed, ..KMeans::default() }, SILENT).unwrap())
        };
        assert_eq!(run(3, 1), run(3, 4));
        assert_ne!(run(3, 1).centres, run(4, 1).centres);
    }

    #[test]
    fn impossible_requests_are_refused() {
        let (set, _) = blobs(5, 4, 2, 0.1);
        assert_eq!(
            k_means(&set, 6, &KMeans::default(), SILENT).unwrap_err().to_string(),
            "number of clusters: found 6, expected 1 to 5, the rows"
        );
        assert!(k_means(&set, 0, &KMeans::default(), SILENT).is_err());
        assert!(k_means(&set, 2, &KMeans { restarts: 0, ..KMeans::default() }, SILENT).is_err());
    }
}
