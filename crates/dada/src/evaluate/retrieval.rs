//! Retrieval metrics: recall@k, precision@1, R-precision, MAP@R and mean reciprocal rank.
//!
//! R is the number of relevant items of a query, the query itself excluded (Musgrave et al., "A Metric Learning Reality Check",
//! 2020, section 3.2). Queries without a relevant item have no defined score: they are left out of every mean and counted.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::evaluate::intervals::{Bootstrap, Interval, bootstrap};
use crate::progress::Progress;
use crate::search::ranking::{Ranks, rank_gallery, rank_self};

/// One query's scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueryScore {
    /// R: relevant items in the gallery, the query itself excluded. Without any, the other scores are zero and enter no mean.
    pub relevant: usize,
    /// Rank (from 1) of the first hit; 0 without a relevant item.
    pub first_hit: usize,
    /// Hits among the first R, divided by R.
    pub r_precision: f64,
    /// `1/R * sum over the hits among the first R of (precision at the hit's rank)`.
    pub average_precision_at_r: f64,
}

impl QueryScore {
    /// Scores one query's ranks.
    pub fn new(ranks: Ranks) -> Self {
        let r = ranks.relevant;
        let hits = ranks.hits.iter().take_while(|&&rank| rank as usize <= r);
        let (mut count, mut sum) = (0, 0.0);
        for &rank in hits {
            count += 1;
            sum += f64::from(count) / f64::from(rank);
        }
        let mean = |sum: f64| if r > 0 { sum / r as f64 } else { 0.0 };
        Self { relevant: r, first_hit: ranks.first.unwrap_or(0), r_precision: mean(f64::from(count)), average_precision_at_r: mean(sum) }
    }

    /// The figures of a query that has a relevant item, in the order of [`Means::entries`].
    pub fn figures(&self, ks: &[usize]) -> Vec<f64> {
        let recall = |k: usize| f64::from(self.first_hit <= k);
        let rest = [recall(1), self.r_precision, self.average_precision_at_r, 1.0 / self.first_hit as f64];
        ks.iter().map(|&k| recall(k)).chain(rest).collect()
    }
}

/// Means over scored queries; each is written to JSON under the name in its description.
#[derive(Clone, Debug, PartialEq)]
pub struct Means {
    /// `recall@k`: the share of queries with a hit among the first k, as (k, share).
    pub recall: Vec<(usize, f64)>,
    /// `precision@1`.
    pub precision_at_1: f64,
    /// `r_precision`.
    pub r_precision: f64,
    /// `map@r`.
    pub map_at_r: f64,
    /// `mrr`: mean reciprocal rank of the first hit, however deep.
    pub mrr: f64,
}

impl Means {
    pub(crate) fn of<'a>(scores: impl Iterator<Item = &'a QueryScore> + Clone, ks: &[usize]) -> Self {
        let count = scores.clone().count() as f64;
        let mut sums = vec![0.0; ks.len() + 4];
        for score in scores {
            sums.iter_mut().zip(score.figures(ks)).for_each(|(sum, figure)| *sum += figure);
        }
        sums.iter_mut().for_each(|sum| *sum /= count);
        let [precision_at_1, r_precision, map_at_r, mrr] = sums[ks.len()..] else { unreachable!("four figures follow recall") };
        Self { recall: ks.iter().copied().zip(sums).collect(), precision_at_1, r_precision, map_at_r, mrr }
    }

    /// Metric names and values, in the order of a table.
    pub fn entries(&self) -> Vec<(String, f64)> {
        let recall = self.recall.iter().map(|(k, value)| (format!("recall@{k}"), *value));
        let rest = [("precision@1", self.precision_at_1), ("r_precision", self.r_precision), ("map@r", self.map_at_r), ("mrr", self.mrr)];
        recall.chain(rest.map(|(name, value)| (name.to_owned(), value))).collect()
    }
}

/// The scored queries of one class.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassMeans {
    /// The class, as in the labels.
    pub label: usize,
    /// Scored queries.
    pub queries: usize,
    /// Their means.
    pub means: Means,
}

/// How well embeddings retrieve items of the same class.
///
/// Serialises to one flat object: the names of [`Means`], and `queries`, `scored_queries`, `queries_without_match`.
#[derive(Clone, Debug)]
pub struct Retrieval {
    /// Means over all queries that have a relevant item.
    pub means: Means,
    /// Means over the queries of each class that has any, by ascending label.
    pub classes: Vec<ClassMeans>,
    /// Every query, in the order given.
    pub queries: Vec<QueryScore>,
}

impl Retrieval {
    /// Averages queries that have these labels.
    ///
    /// # Errors
    /// No query has a relevant item, a `k` of zero, or not one label for each query.
    pub fn new(queries: Vec<QueryScore>, labels: &[usize], ks: &[usize]) -> Result<Self> {
        if ks.contains(&0) {
            return Err(Error::mismatch("k of recall@k", 0, "at least 1"));
        }
        if labels.len() != queries.len() {
            return Err(Error::mismatch("labels of the queries", labels.len(), queries.len()));
        }
        let mut scored: Vec<usize> = (0..queries.len()).filter(|&query| queries[query].relevant > 0).collect();
        if scored.is_empty() {
            return Err(Error::Data(format!("none of {} queries has another item of its class to find", queries.len())));
        }
        let means = Means::of(scored.iter().map(|&query| &queries[query]), ks);
        scored.sort_by_key(|&query| labels[query]);
        let class = |of: &[usize]| ClassMeans {
            label: labels[of[0]],
            queries: of.len(),
            means: Means::of(of.iter().map(|&query| &queries[query]), ks),
        };
        let classes = scored.chunk_by(|&a, &b| labels[a] == labels[b]).map(class).collect();
        Ok(Self { means, classes, queries })
    }

    /// The k of recall@k.
    pub fn ks(&self) -> Vec<usize> {
        self.means.recall.iter().map(|&(k, _)| k).collect()
    }

    /// Figures of the queries that entered the means, row-major `[scored queries, figures]` in the order of [`Means::entries`]: what
    /// [`bootstrap`] and [`super::intervals::paired_bootstrap`] resample.
    pub fn figures(&self) -> Vec<f64> {
        let ks = self.ks();
        self.queries.iter().filter(|query| query.relevant > 0).flat_map(|query| query.figures(&ks)).collect()
    }

    /// 95 % intervals over queries, in the order of [`Means::entries`]: how much the figures would move with other queries of the same
    /// kind. They say nothing about another training run.
    ///
    /// # Errors
    /// No resample.
    pub fn intervals(&self, config: &Bootstrap) -> Result<Vec<Interval>> {
        bootstrap(&self.figures(), self.means.recall.len() + 4, config)
    }

    /// Queries that entered the means.
    pub fn scored(&self) -> usize {
        self.queries.len() - self.without_match()
    }

    /// Queries left out of the means: the gallery has nothing (else) of their class.
    pub fn without_match(&self) -> usize {
        self.queries.iter().filter(|query| query.relevant == 0).count()
    }
}

impl Serialize for Retrieval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.means.entries() {
            map.serialize_entry(&name, &value)?;
        }
        map.serialize_entry("queries", &self.queries.len())?;
        map.serialize_entry("scored_queries", &self.scored())?;
        map.serialize_entry("queries_without_match", &self.without_match())?;
        map.end()
    }
}

/// Searches every embedding in all others, itself excluded by index; `labels` are classes, any numbers.
///
/// # Errors
/// Not one label for each row, one class alone, no class with two items, or a `k` of zero.
pub fn self_retrieval(embeddings: &Embeddings, labels: &[usize], ks: &[usize], progress: Progress) -> Result<Retrieval> {
    check_classes(labels, labels)?;
    Retrieval::new(rank_self(embeddings, labels, 0, progress, QueryScore::new)?, labels, ks)
}

/// Searches every query in the gallery. Each set is a pair of embeddings and their classes.
///
/// # Errors
/// Not one label for each row, different dimensions, one class alone, no query with a relevant item, or a `k` of zero.
pub fn query_gallery(
    queries: (&Embeddings, &[usize]),
    gallery: (&Embeddings, &[usize]),
    ks: &[usize],
    progress: Progress,
) -> Result<Retrieval> {
    check_classes(queries.1, gallery.1)?;
    Retrieval::new(rank_gallery(queries, gallery, 0, progress, QueryScore::new)?, queries.1, ks)
}

fn check_classes(queries: &[usize], gallery: &[usize]) -> Result<()> {
    match queries.first() {
        Some(first) if queries.iter().chain(gallery).all(|label| label == first) => {
            Err(Error::Data(format!("all items have one class ({first}): any ranking of them is perfect")))
        }
        _ => Ok(()),
    }
}
