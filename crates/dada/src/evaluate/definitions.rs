//! One ranking, scored as other tools define their metrics, so that a difference of numbers is not taken for a difference of models.

use std::collections::HashMap;

use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::roles::Roles;
use crate::search::ranking::{Ranks, rank_gallery, rank_self};

/// Whose definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Definitions {
    /// Those of this library.
    Ours,
    /// The evaluation published with the DADA paper.
    Reference,
    /// pytorch-metric-learning.
    Pml,
    /// Open Metric Learning.
    Oml,
    /// The In-Shop protocol as proxy-loss code counts it.
    Inshop,
}

/// What one tool would print.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Whose definitions.
    pub definitions: Definitions,
    /// Metric names and means over the queries that enter them.
    pub means: Vec<(String, f64)>,
}

/// Neighbours that the reference looks at where a gallery is searched.
const REFERENCE_DEPTH: usize = 50;

impl Definitions {
    /// All of them, in the order of a table.
    pub const ALL: [Self; 5] = [Self::Ours, Self::Reference, Self::Pml, Self::Oml, Self::Inshop];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Reference => "reference",
            Self::Pml => "pml",
            Self::Oml => "oml",
            Self::Inshop => "inshop",
        }
    }

    /// What differs from ours, in one line.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Ours => "R excludes the query; queries without a relevant item enter no mean; ties go to the lower index",
            Self::Reference => {
                "map@r counts the query in R, so that perfect retrieval scores R/(R+1); a query without a relevant item scores 0 and enters \
                 every mean; in a gallery, map@50 divides by the hits found"
            }
            Self::Pml => "the same formulas on the same queries, no recall@k beyond k = 1; ties fall as its search returns them",
            Self::Inshop => {
                "recall@k asks that fewer than k wrong items are more similar than the best right one: a tie counts as a hit, so that a model \
                 that maps everything to one point scores 1"
            }
            Self::Oml => "precision@k divides by min(k, R); map@k divides by the hits found among k, so that hits it misses cost nothing",
        }
    }

    /// Metrics of one query, or `None` if it enters no mean. The names are the same for every query.
    fn score(self, ranks: &Ranks, ks: &[usize], gallery: bool) -> Option<Vec<(String, f64)>> {
        let r = ranks.relevant;
        if r == 0 && self != Self::Reference {
            return None;
        }
        let recall = |k: usize| f64::from(ranks.first.is_some_and(|first| first <= k));
        let reciprocal = ranks.first.map_or(0.0, |first| 1.0 / first as f64);
        let recalls = ks.iter().map(|&k| (format!("recall@{k}"), recall(k)));
        let named = |name: &str, value: f64| (name.to_owned(), value);
        let (hits, sum) = precisions(ranks.hits, r);
        let at_r = [
            named("precision@1", recall(1)),
            named("r_precision", hits / r as f64),
            named("map@r", sum / r as f64),
            named("mrr", reciprocal),
        ];
        Some(match self {
            Self::Ours => recalls.chain(at_r).collect(),
            Self::Pml => at_r.into(),
            Self::Reference if gallery => {
                let (hits, sum) = precisions(ranks.hits, REFERENCE_DEPTH);
                recalls.chain([named("map@50", sum / hits.max(1.0))]).collect()
            }
            Self::Reference => recalls.chain([named("map@r", precisions(ranks.hits, r + 1).1 / (r + 1) as f64)]).collect(),
            Self::Inshop => {
                let before = |k: usize| f64::from(ranks.first.is_some_and(|first| first - ranks.tied <= k));
                ks.iter().map(|&k| (format!("recall@{k}"), before(k))).collect()
            }
            Self::Oml => {
                let at = |k: usize| {
                    let (hits, sum) = precisions(ranks.hits, k);
                    [(format!("precision@{k}"), hits / k.min(r) as f64), (format!("map@{k}"), sum / hits.max(1.0))]
                };
                recalls.chain(ks.iter().flat_map(|&k| at(k))).collect()
            }
        })
    }
}

/// Number of hits among the first k, and the sum of the precisions at their ranks.
fn precisions(hits: &[u32], k: usize) -> (f64, f64) {
    let within = hits.iter().take_while(|&&rank| rank as usize <= k).zip(1..);
    within.fold((0.0, 0.0), |(_, sum), (&rank, count)| (f64::from(count), sum + f64::from(count) / f64::from(rank)))
}

/// A set searched in itself, under all definitions, in the order of [`Definitions::ALL`].
///
/// # Errors
/// Not one label for each row, a `k` of zero, or no query to average.
pub fn compare_self(embeddings: &Embeddings, labels: &[usize], ks: &[usize], progress: Progress) -> Result<Vec<Scored>> {
    average(rank_self(embeddings, labels, depth(ks)?, progress, |ranks| score(&ranks, ks, false))?)
}

/// Queries searched in a gallery, under all definitions, in the order of [`Definitions::ALL`].
///
/// # Errors
/// Not one label for each row, different dimensions, a `k` of zero, or no query to average.
pub fn compare_gallery(
    queries: (&Embeddings, &[usize]),
    gallery: (&Embeddings, &[usize]),
    ks: &[usize],
    progress: Progress,
) -> Result<Vec<Scored>> {
    average(rank_gallery(queries, gallery, depth(ks)?.max(REFERENCE_DEPTH), progress, |ranks| score(&ranks, ks, true))?)
}

/// What a perfect model would score on these labels, under all definitions in the order of [`Definitions::ALL`]. Rows of equal `contents`
/// have equal embeddings under any model, so that a copy filed under another class comes before what is right; among equals the right
/// ones come first.
///
/// # Errors
/// Not one content for each row, a `k` of zero, or no query to average.
pub fn ceilings(labels: &[usize], contents: &[usize], roles: Option<&Roles>, ks: &[usize]) -> Result<Vec<Scored>> {
    if labels.len() != contents.len() {
        return Err(Error::mismatch("contents", contents.len(), format!("{}, one for each label", labels.len())));
    }
    let depth = depth(ks)?.max(REFERENCE_DEPTH);
    let all: Vec<usize> = (0..labels.len()).collect();
    let (queries, gallery) = roles.map_or((&all, &all), |roles| (&roles.query, &roles.gallery));
    let (mut of_class, mut of_content, mut of_both) = (HashMap::new(), HashMap::new(), HashMap::new());
    for &row in gallery {
        *of_class.entry(labels[row]).or_insert(0) += 1;
        *of_content.entry(contents[row]).or_insert(0) += 1;
        *of_both.entry((labels[row], contents[row])).or_insert(0) += 1;
    }
    let itself = usize::from(roles.is_none());
    let perfect = |&query: &usize| {
        let (label, content) = (labels[query], contents[query]);
        let count = |found: Option<&usize>| found.copied().unwrap_or(0);
        // A query of the gallery counts itself in all three.
        let (relevant, equal) = (count(of_class.get(&label)).saturating_sub(itself), count(of_both.get(&(label, content))));
        let wrong = count(of_content.get(&content)) - equal;
        let same = equal.saturating_sub(itself);
        let rank = |hit: usize| if hit <= same { hit } else { hit + wrong };
        let hits: Vec<u32> =
            (1..=relevant).map(|hit| rank(hit) as u32).take_while(|&rank| rank as usize <= depth.max(relevant + 1)).collect();
        let first = (relevant > 0).then(|| rank(1));
        let tied = if same == 0 { wrong } else { 0 };
        score(&Ranks { query, relevant, first, tied, hits: &hits }, ks, roles.is_some())
    };
    average(queries.iter().map(perfect).collect())
}

type Scores = [Option<Vec<(String, f64)>>; 5];

fn score(ranks: &Ranks, ks: &[usize], gallery: bool) -> Scores {
    Definitions::ALL.map(|definitions| definitions.score(ranks, ks, gallery))
}

fn depth(ks: &[usize]) -> Result<usize> {
    if ks.contains(&0) {
        return Err(Error::mismatch("k of recall@k", 0, "at least 1"));
    }
    Ok(ks.iter().copied().max().unwrap_or(0))
}

fn average(queries: Vec<Scores>) -> Result<Vec<Scored>> {
    let mut averaged = Vec::new();
    for (which, definitions) in Definitions::ALL.into_iter().enumerate() {
        let mut scored = queries.iter().filter_map(|scores| scores[which].as_ref());
        let Some(mut means) = scored.next().cloned() else {
            return Err(Error::Data(format!("none of {} queries has another item of its class to find", queries.len())));
        };
        let mut count = 1.0;
        for scores in scored {
            for ((_, sum), (_, score)) in means.iter_mut().zip(scores) {
                *sum += score;
            }
            count += 1.0;
        }
        for (_, sum) in &mut means {
            *sum /= count;
        }
        averaged.push(Scored { definitions, means });
    }
    Ok(averaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(definitions: Definitions, ranks: &Ranks, gallery: bool, name: &str) -> f64 {
        let scores = definitions.score(ranks, &[1, 5], gallery).unwrap();
        scores.into_iter().find(|(found, _)| found == name).unwrap().1
    }

    #[test]
    fn hits_at_one_and_five_of_three_are_scored_as_each_tool_says() {
        let ranks = Ranks { query: 0, relevant: 3, first: Some(1), tied: 0, hits: &[1, 4] };
        let check = |definitions, gallery, name: &str, wanted: f64| {
            let found = value(definitions, &ranks, gallery, name);
            assert!((found - wanted).abs() < 1e-12, "{definitions:?} {name}: {found} {wanted}");
        };
        check(Definitions::Ours, false, "map@r", 1.0 / 3.0);
        check(Definitions::Ours, false, "r_precision", 1.0 / 3.0);
        check(Definitions::Pml, false, "map@r", 1.0 / 3.0);
        check(Definitions::Reference, false, "map@r", (1.0 + 2.0 / 4.0) / 4.0);
        check(Definitions::Reference, true, "map@50", (1.0 + 2.0 / 4.0) / 2.0);
        check(Definitions::Oml, false, "precision@5", 2.0 / 3.0);
        check(Definitions::Oml, false, "map@5", (1.0 + 2.0 / 4.0) / 2.0);
        check(Definitions::Oml, false, "recall@1", 1.0);
    }

    #[test]
    fn a_tie_is_a_hit_in_shop_and_nowhere_else() {
        let ranks = Ranks { query: 0, relevant: 1, first: Some(3), tied: 2, hits: &[] };
        assert_eq!(value(Definitions::Inshop, &ranks, true, "recall@1"), 1.0);
        let strict =
            Definitions::ALL.into_iter().filter(|&definitions| definitions != Definitions::Inshop && definitions != Definitions::Pml);
        assert!(strict.into_iter().all(|definitions| value(definitions, &ranks, true, "recall@1") == 0.0));
        let one = crate::embeddings::Embeddings::new(vec![1.0; 12], 6, 2).unwrap();
        let labels = [0, 1, 2, 0, 1, 2];
        let found = compare_self(&one, &labels, &[1], crate::progress::SILENT).unwrap();
        let recall = |at: usize| found[at].means.iter().find(|(name, _)| name == "recall@1").unwrap().1;
        assert_eq!(recall(4), 1.0, "everything in one point");
        assert!(recall(0) < 0.5);
    }

    #[test]
    fn only_the_reference_averages_queries_without_a_match() {
        let lone = Ranks { query: 0, relevant: 0, first: None, tied: 0, hits: &[] };
        for definitions in Definitions::ALL {
            assert_eq!(definitions.score(&lone, &[1], false).is_some(), definitions == Definitions::Reference);
        }
        assert_eq!(value(Definitions::Reference, &lone, false, "map@r"), 0.0);
    }

    #[test]
    fn a_ceiling_is_what_a_perfect_model_reaches() {
        let of = |found: &[Scored], at: usize, name: &str| found[at].means.iter().find(|(known, _)| known == name).unwrap().1;
        // R/(R+1) for the reference, and nothing for its lone query; 1 for everybody else.
        let found = ceilings(&[0, 0, 1, 1, 1, 2], &[0, 1, 2, 3, 4, 5], None, &[1]).unwrap();
        assert_eq!((of(&found, 0, "map@r"), of(&found, 2, "map@r"), of(&found, 3, "map@1")), (1.0, 1.0, 1.0));
        assert!((of(&found, 1, "map@r") - (2.0 * 0.5 + 3.0 * 2.0 / 3.0) / 6.0).abs() < 1e-12);
        // Content 0 is in both classes: its copy comes first, except where ties count as hits.
        let found = ceilings(&[0, 0, 0, 1, 1, 1], &[0, 1, 2, 0, 3, 4], None, &[1]).unwrap();
        assert_eq!((of(&found, 0, "recall@1"), of(&found, 4, "recall@1")), (4.0 / 6.0, 1.0));
        assert!((of(&found, 0, "map@r") - (4.0 + 2.0 * 0.25) / 6.0).abs() < 1e-12);
        let roles = Roles { query: vec![0], gallery: vec![1, 3] };
        let found = ceilings(&[0, 0, 0, 1], &[0, 1, 2, 0], Some(&roles), &[1]).unwrap();
        assert_eq!((of(&found, 0, "recall@1"), of(&found, 0, "mrr")), (0.0, 0.5));
        assert!(ceilings(&[], &[], None, &[1]).is_err() && ceilings(&[0], &[], None, &[1]).is_err());
    }

    #[test]
    fn names_are_those_of_serialisation() {
        for definitions in Definitions::ALL {
            assert_eq!(serde_json::to_value(definitions).unwrap(), definitions.name());
            assert!(!definitions.explanation().contains('\n'));
        }
    }
}
