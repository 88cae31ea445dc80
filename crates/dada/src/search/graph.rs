//! Approximate search in a graph: a navigable small world with levels (Malkov and Yashunin, TPAMI 2020).

use instant_distance::{Builder, Hnsw, Point, Search};

use crate::embeddings::Embeddings;
use crate::error::{Error, Result};

/// Candidates that are kept while a graph is made, and at least while it is searched.
pub const CANDIDATES: usize = 100;

/// Links of a vector at the lowest level.
const LINKS: usize = 64;

/// A graph over rows of embeddings.
pub struct Graph<'a> {
    hnsw: Hnsw<Row<'a>>,
    /// The row of the embeddings at each place of the graph.
    rows: Vec<usize>,
}

/// What a search needs besides the graph; one serves many searches, one after the other.
#[derive(Default)]
pub struct Scratch(Search);

impl<'a> Graph<'a> {
    /// A graph over these `rows` of the embeddings. `depth` is how many candidates a search keeps and how many rows it can find; `seed`
    /// draws the levels of the rows. The same arguments give the same graph.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn new(embeddings: &'a Embeddings, rows: &[usize], depth: usize, seed: u64) -> Result<Self> {
        let points: Vec<Row> = rows.iter().map(|&row| Row(embeddings.row(row))).collect();
        // One thread: with several, the links depend on which comes first.
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .map_err(|error| Error::Data(format!("no thread for a graph: {error}")))?;
        let builder = Builder::default().seed(seed).ef_construction(CANDIDATES).ef_search(depth);
        let (hnsw, places) = pool.install(|| builder.build_hnsw(points));
        let mut row_of = vec![0; rows.len()];
        for (place, &row) in places.iter().zip(rows) {
            row_of[place.into_inner() as usize] = row;
        }
        Ok(Self { hnsw, rows: row_of })
    }

    /// Bytes of a row of `dim` values with its links, which take 4 bytes each.
    pub fn bytes(dim: usize) -> usize {
        4 * (dim + LINKS)
    }

    /// Rows of the embeddings near to `query` `[dim]`, nearest first: as many as the graph's depth, or all there are.
    pub fn search(&self, query: &[f32], scratch: &mut Scratch) -> Vec<usize> {
        self.hnsw.search(&Row(query), &mut scratch.0).map(|found| self.rows[found.pid.into_inner() as usize]).collect()
    }
}

/// A vector in a graph.
#[derive(Clone, Copy)]
struct Row<'a>(&'a [f32]);

impl Point for Row<'_> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};
    use crate::search::nearest;
    use rand::RngExt;

    #[test]
    fn most_of_what_is_near_is_found_and_a_seed_decides_the_rest() {
        let mut random = generator(8, Purpose::Sample, 0, 0, 0);
        let set = Embeddings::new((0..600 * 16).map(|_| random.random_range(-1.0..1.0)).collect(), 600, 16).unwrap();
        let rows: Vec<usize> = (0..600).filter(|row| row % 3 > 0).collect();
        let gallery = set.select(&rows).unwrap();
        let graph = Graph::new(&set, &rows, CANDIDATES, 0).unwrap();
        let again = Graph::new(&set, &rows, CANDIDATES, 0).unwrap();
        let mut scratch = Scratch::default();
        let mut hits = 0;
        for query in (0..600).step_by(3) {
            let found = graph.search(set.row(query), &mut scratch);
            assert_eq!(found, again.search(set.row(query), &mut scratch));
            assert!(found.iter().all(|row| row % 3 > 0) && found.len() == CANDIDATES);
            let query = set.select(&[query]).unwrap();
            let wanted = &nearest(&query, &gallery, 10, false).unwrap()[0];
            hits += wanted.iter().filter(|wanted| found[..10].contains(&rows[wanted.index])).count();
        }
        assert!(hits > 1900, "{hits} of 2000");
    }
}
