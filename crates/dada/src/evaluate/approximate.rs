//! What cheaper storage and search cost in accuracy, on the labels at hand.
//!
//! Every approximation is scored by the same code on the same queries. Stored vectors are approximate on both sides, queries and gallery.

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use instant_distance::{Builder, Hnsw, Search};
use rayon::prelude::*;

use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::evaluate::retrieval::{QueryScore, Retrieval};
use crate::evaluate::spectrum::Spectrum;
use crate::evaluate::task::Task;
use crate::progress::Progress;
use crate::search::neighbours::Ranks;

/// A way to store or search that is cheaper than exact search in 32-bit vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approximation {
    /// 16-bit floating point of IEEE 754: 11 significant bits.
    Half,
    /// bfloat16: 8 significant bits.
    Bfloat,
    /// 8-bit integers with a scale for each vector.
    Int8,
    /// The first principal components of the gallery, as 32-bit floating point.
    Pca(usize),
    /// A navigable small-world graph over 32-bit vectors (Malkov and Yashunin, TPAMI 2020; 64 links at the lowest level).
    Hnsw,
}

impl fmt::Display for Approximation {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Half => formatter.write_str("f16"),
            Self::Bfloat => formatter.write_str("bf16"),
            Self::Int8 => formatter.write_str("int8"),
            Self::Pca(dim) => write!(formatter, "pca-{dim}"),
            Self::Hnsw => formatter.write_str("hnsw"),
        }
    }
}

impl FromStr for Approximation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let dim = || text.strip_prefix("pca-")?.parse().ok().filter(|&dim: &usize| dim > 0);
        match text {
            "f16" => Ok(Self::Half),
            "bf16" => Ok(Self::Bfloat),
            "int8" => Ok(Self::Int8),
            "hnsw" => Ok(Self::Hnsw),
            _ => dim().map(Self::Pca).ok_or_else(|| Error::mismatch("approximation", format!("{text:?}"), "f16, bf16, int8, pca-64, hnsw")),
        }
    }
}

/// What an approximation costs and saves.
#[derive(Clone, Debug)]
pub struct Cost {
    /// Bytes of a stored vector, its part of an index included.
    pub bytes: usize,
    /// Wall-clock seconds to make the index; none where there is nothing to make.
    pub build: Option<f64>,
    /// Wall-clock seconds of the search of all queries; none where exact code stands in for a search that is not ours.
    pub search: Option<f64>,
    /// The metrics that are left.
    pub retrieval: Retrieval,
}

/// Every kind of approximation for embeddings of this dimension.
pub fn usual(dim: usize) -> Vec<Approximation> {
    let halves = [dim / 2, dim / 4, dim / 8].into_iter().filter(|&dim| dim > 1).map(Approximation::Pca);
    [Approximation::Half, Approximation::Bfloat, Approximation::Int8].into_iter().chain(halves).chain([Approximation::Hnsw]).collect()
}

/// Exact search, to compare with.
///
/// # Errors
/// As [`Task::retrieval`].
pub fn exact(task: &Task, ks: &[usize], progress: Progress) -> Result<Cost> {
    let start = Instant::now();
    let retrieval = task.retrieval(ks, progress)?;
    Ok(Cost { bytes: 4 * task.embeddings().dim(), build: None, search: Some(start.elapsed().as_secs_f64()), retrieval })
}

/// Scores an approximation. The metrics depend on nothing but the embeddings and `seed`, which the graph's levels are drawn by.
///
/// # Errors
/// As [`Task::retrieval`]; more components than dimensions.
pub fn approximate(task: &Task, how: Approximation, ks: &[usize], seed: u64, progress: Progress) -> Result<Cost> {
    let dim = task.embeddings().dim();
    let stored = |bytes: usize, of: &(dyn Fn(&mut [f32]) + Sync)| -> Result<Cost> {
        let mut values = task.embeddings().values().to_vec();
        values.par_chunks_exact_mut(dim).for_each(of);
        let task = task.with(Embeddings::new(values, task.embeddings().rows(), dim)?)?;
        Ok(Cost { bytes, build: None, search: None, retrieval: task.retrieval(ks, progress)? })
    };
    match how {
        Approximation::Half => stored(2 * dim, &|row| row.iter_mut().for_each(|value| *value = to_half(*value))),
        Approximation::Bfloat => stored(2 * dim, &|row| row.iter_mut().for_each(|value| *value = to_bfloat(*value))),
        Approximation::Int8 => stored(dim + 4, &to_int8),
        Approximation::Pca(count) => {
            if count > dim {
                return Err(Error::mismatch("components", count, format!("at most {dim}, the dimension of the embeddings")));
            }
            let start = Instant::now();
            let spectrum = Spectrum::of(task.embeddings().select(&task.gallery())?.values(), dim)?;
            let values = spectrum.project(task.embeddings().values(), count);
            let build = start.elapsed().as_secs_f64();
            let start = Instant::now();
            let retrieval = task.with(Embeddings::new(values, task.embeddings().rows(), count)?)?.retrieval(ks, progress)?;
            Ok(Cost { bytes: 4 * count, build: Some(build), search: Some(start.elapsed().as_secs_f64()), retrieval })
        }
        Approximation::Hnsw => graph(task, ks, seed),
    }
}

/// The nearest number of 11 significant bits, as `f16` has for magnitudes from 2^-14 on; multiples of 2^-24 below. For magnitudes up to
/// 1, which is all that vectors of length one have.
fn to_half(value: f32) -> f32 {
    const STEP: f32 = 1.0 / (1 << 24) as f32;
    if value.abs() >= 1.0 / 16384.0 { drop_bits(value, 13) } else { (value / STEP).round_ties_even() * STEP }
}

fn to_bfloat(value: f32) -> f32 {
    drop_bits(value, 16)
}

/// Rounds the last `count` bits of a number away, ties to even.
fn drop_bits(value: f32, count: u32) -> f32 {
    let bits = value.to_bits();
    let rounded = bits + ((1 << (count - 1)) - 1) + (bits >> count & 1);
    f32::from_bits(rounded >> count << count)
}

fn to_int8(row: &mut [f32]) {
    let scale = row.iter().fold(0.0f32, |largest, value| largest.max(value.abs())) / 127.0;
    row.iter_mut().for_each(|value| *value = (*value / scale).round_ties_even() * scale);
}

/// A vector in a graph.
#[derive(Clone, Copy)]
struct Row<'a>(&'a [f32]);

impl instant_distance::Point for Row<'_> {
    fn distance(&self, other: &Self) -> f32 {
        let mut sums = [0.0f32; 16];
        let ((a, rest_a), (b, rest_b)) = (self.0.as_chunks::<16>(), other.0.as_chunks::<16>());
        for (a, b) in a.iter().zip(b) {
            for lane in 0..16 {
                sums[lane] += a[lane] * b[lane];
            }
        }
        1.0 - sums.iter().sum::<f32>() - rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f32>()
    }
}

/// Links of a vector at the lowest level, 4 bytes each.
const LINKS: usize = 64;
/// Candidates kept while the graph is made and searched, unless MAP@R needs more.
const CANDIDATES: usize = 100;

fn graph(task: &Task, ks: &[usize], seed: u64) -> Result<Cost> {
    let (queries, gallery, labels) = (task.queries(), task.gallery(), task.labels());
    let mut sizes = std::collections::HashMap::<usize, usize>::new();
    gallery.iter().for_each(|&row| *sizes.entry(labels[row]).or_default() += 1);
    let own = usize::from(task.roles().is_none());
    // R items and the query itself.
    let deepest = queries.iter().filter_map(|&row| sizes.get(&labels[row])).max().copied().unwrap_or(0) + 1;
    let depth = deepest.max(ks.iter().copied().max().unwrap_or(1) + 1).max(CANDIDATES);

    let points: Vec<Row> = gallery.iter().map(|&row| Row(task.embeddings().row(row))).collect();
    let start = Instant::now();
    // One thread: with several, the links depend on which comes first.
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(|error| Error::Data(format!("no thread for a graph: {error}")))?;
    let builder = Builder::default().seed(seed).ef_construction(CANDIDATES).ef_search(depth);
    let (graph, places): (Hnsw<Row>, _) = pool.install(|| builder.build_hnsw(points));
    let build = start.elapsed().as_secs_f64();
    let mut row_of = vec![0; gallery.len()];
    places.iter().zip(&gallery).for_each(|(place, &row)| row_of[place.into_inner() as usize] = row);

    let start = Instant::now();
    let score = |search: &mut Search, &query: &usize| {
        let relevant = sizes.get(&labels[query]).map_or(0, |&size| size - own);
        let found = graph.search(&Row(task.embeddings().row(query)), search).map(|item| row_of[item.pid.into_inner() as usize]);
        let ranked = (1u32..).zip(found.filter(|&row| row != query));
        let hits: Vec<u32> = ranked.filter(|&(_, row)| labels[row] == labels[query]).map(|(rank, _)| rank).collect();
        let missed = (relevant > 0).then_some(usize::MAX);
        QueryScore::new(Ranks { query, relevant, first: hits.first().map(|&rank| rank as usize).or(missed), tied: 0, hits: &hits })
    };
    let scores: Vec<QueryScore> = queries.par_iter().map_init(Search::default, score).collect();
    let search = start.elapsed().as_secs_f64();
    let query_labels: Vec<usize> = queries.iter().map(|&row| labels[row]).collect();
    let retrieval = Retrieval::new(scores, &query_labels, ks)?;
    Ok(Cost { bytes: 4 * (task.embeddings().dim() + LINKS), build: Some(build), search: Some(search), retrieval })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Roles;
    use crate::progress::SILENT;
    use crate::random::{Purpose, generator};
    use rand::RngExt;

    #[test]
    fn names_are_read_as_they_are_written() {
        for how in usual(64) {
            assert_eq!(how.to_string().parse::<Approximation>().unwrap(), how);
        }
        for wrong in ["pca-0", "pca-", "int4", ""] {
            assert!(wrong.parse::<Approximation>().unwrap_err().to_string().contains("expected f16, bf16"), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest_that_their_type_has() {
        // Ties go to the even neighbour: 1 + 2^-11 lies between 1 and 1 + 2^-10.
        assert_eq!((to_half(1.0 + 1.0 / 2048.0), to_half(1.0 + 3.0 / 2048.0)), (1.0, 1.0 + 2.0 / 1024.0));
        assert_eq!((to_bfloat(1.0 + 1.0 / 256.0), to_bfloat(-1.0 - 3.0 / 256.0)), (1.0, -1.0 - 2.0 / 128.0));
        let step = 2f32.powi(-24);
        assert_eq!((to_half(2.4 * step), to_half(0.5 * step), to_half(-1.5 * step)), (2.0 * step, 0.0, -2.0 * step));
        let mut random = generator(1, Purpose::Sample, 0, 0, 0);
        for _ in 0..2000 {
            let value: f32 = random.random_range(-1.0..1.0);
            assert!(
                (to_half(value) - value).abs() <= value.abs() / 2048.0 + step && (to_bfloat(value) - value).abs() <= value.abs() / 256.0
            );
            assert_eq!((to_half(to_half(value)), to_bfloat(to_bfloat(value))), (to_half(value), to_bfloat(value)));
        }
        let mut row = [0.5, -1.0, 0.0039, 0.004];
        to_int8(&mut row);
        assert_eq!(row, [64.0 / 127.0, -1.0, 0.0, 1.0 / 127.0]);
    }

    fn made(roles: Option<Roles>) -> Task {
        let mut random = generator(2, Purpose::Sample, 0, 0, 0);
        let (rows, dim) = (600, 16);
        let centres: Vec<f32> = (0..40 * dim).map(|_| random.random_range(-1.0..1.0)).collect();
        let values = (0..rows).flat_map(|row| centres[row % 40 * dim..][..dim].to_vec()).map(|x| x + random.random_range(-0.9..0.9));
        let values = values.collect();
        Task::new(Embeddings::new(values, rows, dim).unwrap(), (0..rows).map(|row| row % 40).collect(), roles).unwrap()
    }

    #[test]
    fn little_is_lost_where_little_is_given_up() {
        let roles = Roles { query: (0..200).collect(), gallery: (200..600).collect() };
        for task in [made(None), made(Some(roles))] {
            let full = exact(&task, &[1], SILENT).unwrap().retrieval.means;
            for (how, most) in
                [(Approximation::Half, 0.005), (Approximation::Bfloat, 0.01), (Approximation::Int8, 0.01), (Approximation::Hnsw, 0.005)]
            {
                let found = approximate(&task, how, &[1], 0, SILENT).unwrap();
                assert!((found.retrieval.means.map_at_r - full.map_at_r).abs() < most, "{how}: {:?} {full:?}", found.retrieval.means);
                assert_eq!(found.retrieval.means, approximate(&task, how, &[1], 0, SILENT).unwrap().retrieval.means, "{how}");
            }
            let low = approximate(&task, Approximation::Pca(2), &[1], 0, SILENT).unwrap();
            assert!(low.retrieval.means.map_at_r < full.map_at_r - 0.2 && low.bytes == 8);
            assert!(approximate(&task, Approximation::Pca(17), &[1], 0, SILENT).unwrap_err().to_string().contains("at most 16"));
        }
    }

    #[test]
    fn a_hit_that_the_graph_does_not_reach_is_a_miss() {
        let ranks = Ranks { query: 0, relevant: 2, first: Some(usize::MAX), tied: 0, hits: &[] };
        let score = QueryScore::new(ranks);
        assert_eq!(score.figures(&[1, 1000])[..3], [0.0, 0.0, 0.0]);
    }
}
