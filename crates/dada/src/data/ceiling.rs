//! The best figures that any model can reach on a data set.
//!
//! Identical pictures have identical embeddings, so a picture that is also filed under another class is found before anything else,
//! and wrong. What is computed here orders equally near pictures in the model's favour.

use std::collections::HashMap;

use serde::{Serialize, Serializer};

use crate::roles::Roles;

/// Upper bounds over the queries that have a partner in the gallery.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ceiling {
    /// Queries with another picture of their class in the gallery; the others have no score.
    pub scored: usize,
    /// Queries without one.
    pub without_partner: usize,
    /// Metrics and their bounds, in the order of reports; NaN without a scored query.
    #[serde(flatten, serialize_with = "as_map")]
    pub figures: Vec<(&'static str, f64)>,
}

fn as_map<S: Serializer>(figures: &[(&'static str, f64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(figures.iter().copied())
}

const KS: [(&str, usize); 4] = [("recall@1", 1), ("recall@2", 2), ("recall@4", 4), ("recall@8", 8)];

/// Bounds for pictures with these classes and contents; equal contents are equal pictures. Without roles everything is searched in
/// everything, the query itself left out.
pub fn ceiling(labels: &[usize], contents: &[usize], roles: Option<&Roles>) -> Ceiling {
    let all: Vec<usize> = (0..labels.len()).collect();
    let (queries, gallery) = roles.map_or((&all, &all), |roles| (&roles.query, &roles.gallery));
    let mut in_gallery = vec![false; labels.len()];
    let (mut of_class, mut of_content) = (HashMap::<usize, usize>::new(), HashMap::<usize, usize>::new());
    let mut of_both = HashMap::<(usize, usize), usize>::new();
    for &row in gallery {
        in_gallery[row] = true;
        *of_class.entry(labels[row]).or_default() += 1;
        *of_content.entry(contents[row]).or_default() += 1;
        *of_both.entry((labels[row], contents[row])).or_default() += 1;
    }
    let mut sums = [0.0; KS.len() + 3];
    let (mut scored, mut without_partner) = (0, 0);
    for &row in queries {
        let itself = usize::from(in_gallery[row]);
        let count = |found: Option<&usize>| found.copied().unwrap_or_default();
        let relevant = count(of_class.get(&labels[row])) - itself;
        if relevant == 0 {
            without_partner += 1;
            continue;
        }
        let same = count(of_both.get(&(labels[row], contents[row])));
        let wrong = count(of_content.get(&contents[row])) - same;
        scored += 1;
        for (sum, value) in sums.iter_mut().zip(best(relevant, same - itself, wrong)) {
            *sum += value;
        }
    }
    let names = KS.into_iter().map(|(name, _)| name).chain(["r_precision", "map@r", "mrr"]);
    let figures = names.zip(sums).map(|(name, sum)| (name, if scored == 0 { f64::NAN } else { sum / scored as f64 }));
    Ceiling { scored, without_partner, figures: figures.collect() }
}

/// The best scores of a query with `relevant` partners, `same` of them identical to it, and `wrong` identical pictures of other
/// classes: the order is same, wrong, the other partners.
fn best(relevant: usize, same: usize, wrong: usize) -> [f64; KS.len() + 3] {
    let rank = |hit: usize| if hit <= same { hit } else { hit + wrong };
    let hits: Vec<usize> = (1..=relevant).map(rank).take_while(|&rank| rank <= relevant).collect();
    let precision = hits.iter().enumerate().map(|(before, &rank)| (before + 1) as f64 / rank as f64).sum::<f64>();
    let [one, two, four, eight] = KS.map(|(_, k)| f64::from(rank(1) <= k));
    [one, two, four, eight, hits.len() as f64 / relevant as f64, precision / relevant as f64, 1.0 / rank(1) as f64]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(ceiling: &Ceiling, name: &str) -> f64 {
        ceiling.figures.iter().find(|(found, _)| *found == name).unwrap().1
    }

    #[test]
    fn different_pictures_allow_everything() {
        let ceiling = ceiling(&[0, 0, 1, 1, 1, 2], &[0, 1, 2, 3, 4, 5], None);
        assert_eq!((ceiling.scored, ceiling.without_partner), (5, 1));
        assert!(ceiling.figures.iter().all(|&(_, value)| value == 1.0), "{ceiling:?}");
    }

    #[test]
    fn a_picture_in_two_classes_costs_both() {
        // Content 0 is in class 0 and class 1; each class has three pictures.
        let ceiling = ceiling(&[0, 0, 0, 1, 1, 1], &[0, 1, 2, 0, 3, 4], None);
        assert_eq!(figure(&ceiling, "recall@1"), 4.0 / 6.0);
        assert_eq!(figure(&ceiling, "recall@2"), 1.0);
        // The two find a wrong picture first, then one of their two partners within rank 2: 1/2 of precision 1/2.
        assert!((figure(&ceiling, "map@r") - (4.0 + 2.0 * 0.25) / 6.0).abs() < 1e-12);
        assert!((figure(&ceiling, "r_precision") - (4.0 + 2.0 * 0.5) / 6.0).abs() < 1e-12);
        assert!((figure(&ceiling, "mrr") - (4.0 + 2.0 * 0.5) / 6.0).abs() < 1e-12);
        // An identical partner may come first.
        assert_eq!(best(2, 1, 1), [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 1.0]);
    }

    #[test]
    fn roles_decide_who_has_a_partner() {
        let roles = Roles { query: vec![0, 1], gallery: vec![2, 3] };
        let ceiling = ceiling(&[0, 1, 0, 2], &[0, 1, 0, 3], Some(&roles));
        assert_eq!((ceiling.scored, ceiling.without_partner, figure(&ceiling, "recall@1")), (1, 1, 1.0));
    }
}
