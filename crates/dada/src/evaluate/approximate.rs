//! What cheaper storage and search cost in accuracy, on the labels at hand.
//!
//! Every approximation is scored by the same code on the same queries. Stored vectors are approximate on both sides, queries and gallery.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::evaluate::retrieval::{QueryScore, Retrieval};
use crate::evaluate::task::Task;
use crate::progress::Progress;
use crate::search::codes::Code;
use crate::search::graph::{CANDIDATES, Graph, Scratch};
use crate::search::ranking::Ranks;

/// A way to store or search that is cheaper than exact search in 32-bit vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approximation {
    /// Cheaper vectors, searched exactly.
    Code(Code),
    /// A navigable small-world graph over 32-bit vectors.
    Hnsw,
}

impl fmt::Display for Approximation {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Code(code) => code.fmt(formatter),
            Self::Hnsw => formatter.write_str("hnsw"),
        }
    }
}

impl FromStr for Approximation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "hnsw" {
            return Ok(Self::Hnsw);
        }
        let code = Code::named(text).map(Self::Code);
        code.ok_or_else(|| Error::mismatch("approximation", format!("{text:?}"), "f16, bf16, int8, pca-64, hnsw"))
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
    let components = [dim / 2, dim / 4, dim / 8].into_iter().filter(|&components| components > 1);
    let codes = [Code::Half, Code::Bfloat, Code::Int8].into_iter().chain(components.map(Code::Pca));
    codes.map(Approximation::Code).chain([Approximation::Hnsw]).collect()
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
/// As [`Task::retrieval`] and [`Code::decoded`].
pub fn approximate(task: &Task, how: Approximation, ks: &[usize], seed: u64, progress: Progress) -> Result<Cost> {
    match how {
        Approximation::Code(code) => coded(task, code, ks, progress),
        Approximation::Hnsw => graph(task, ks, seed),
    }
}

fn coded(task: &Task, code: Code, ks: &[usize], progress: Progress) -> Result<Cost> {
    let start = Instant::now();
    let task = task.with(code.decoded(task.embeddings(), &task.gallery())?)?;
    let build = start.elapsed().as_secs_f64();
    let exact = exact(&task, ks, progress)?;
    let bytes = code.bytes(task.embeddings().dim());
    // Shorter vectors are searched as they are; smaller numbers would be searched by other code than ours.
    let is_searched_as_stored = matches!(code, Code::Pca(_));
    Ok(Cost { bytes, build: is_searched_as_stored.then_some(build), search: exact.search.filter(|_| is_searched_as_stored), ..exact })
}

fn graph(task: &Task, ks: &[usize], seed: u64) -> Result<Cost> {
    let (queries, gallery, labels) = (task.queries(), task.gallery(), task.labels());
    let mut sizes = HashMap::<usize, usize>::new();
    for &row in &gallery {
        *sizes.entry(labels[row]).or_default() += 1;
    }
    let own = usize::from(task.roles().is_none());
    // MAP@R looks at R items, behind the query itself.
    let deepest = queries.iter().filter_map(|&row| sizes.get(&labels[row])).max().copied().unwrap_or(0) + 1;
    let depth = deepest.max(ks.iter().copied().max().unwrap_or(1) + 1).max(CANDIDATES);

    let start = Instant::now();
    let graph = Graph::new(task.embeddings(), &gallery, depth, seed)?;
    let build = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let score = |scratch: &mut Scratch, &query: &usize| {
        let relevant = sizes.get(&labels[query]).map_or(0, |&size| size - own);
        let found = graph.search(task.embeddings().row(query), scratch);
        let others = found.into_iter().filter(|&row| row != query);
        let hits: Vec<u32> = (1..).zip(others).filter(|&(_, row)| labels[row] == labels[query]).map(|(rank, _)| rank).collect();
        // A hit that the graph does not reach is a miss, however deep one looks.
        let missed = (relevant > 0).then_some(usize::MAX);
        QueryScore::new(Ranks { query, relevant, first: hits.first().map(|&rank| rank as usize).or(missed), tied: 0, hits: &hits })
    };
    let scores: Vec<QueryScore> = queries.par_iter().map_init(Scratch::default, score).collect();
    let search = start.elapsed().as_secs_f64();
    let query_labels: Vec<usize> = queries.iter().map(|&row| labels[row]).collect();
    let retrieval = Retrieval::new(scores, &query_labels, ks)?;
    Ok(Cost { bytes: Graph::bytes(task.embeddings().dim()), build: Some(build), search: Some(search), retrieval })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embeddings::Embeddings;
    use crate::progress::SILENT;
    use crate::random::{Purpose, generator};
    use crate::roles::Roles;
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
            for (how, most) in [
                (Approximation::Code(Code::Half), 0.005),
                (Approximation::Code(Code::Bfloat), 0.01),
                (Approximation::Code(Code::Int8), 0.01),
                (Approximation::Hnsw, 0.005),
            ] {
                let found = approximate(&task, how, &[1], 0, SILENT).unwrap();
                assert!((found.retrieval.means.map_at_r - full.map_at_r).abs() < most, "{how}: {:?} {full:?}", found.retrieval.means);
                assert_eq!(found.retrieval.means, approximate(&task, how, &[1], 0, SILENT).unwrap().retrieval.means, "{how}");
            }
            let low = approximate(&task, Approximation::Code(Code::Pca(2)), &[1], 0, SILENT).unwrap();
            assert!(low.retrieval.means.map_at_r < full.map_at_r - 0.2 && low.bytes == 8);
            assert!(
                approximate(&task, Approximation::Code(Code::Pca(17)), &[1], 0, SILENT).unwrap_err().to_string().contains("at most 16")
            );
        }
    }

    #[test]
    fn a_hit_that_the_graph_does_not_reach_is_a_miss() {
        let ranks = Ranks { query: 0, relevant: 2, first: Some(usize::MAX), tied: 0, hits: &[] };
        let score = QueryScore::new(ranks);
        assert_eq!(score.figures(&[1, 1000])[..3], [0.0, 0.0, 0.0]);
    }
}
