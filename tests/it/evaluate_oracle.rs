//! Retrieval against loops that sort everything, and against what must not change it.

use dada::embeddings::Embeddings;
use dada::evaluate::self_retrieval;
use dada::progress::SILENT;
use dada::random::{Purpose, generator};
use dada::search::ranking::{rank_gallery, rank_self};
use proptest::prelude::*;
use rand::{Rng, RngExt};

/// Number of relevant items, rank of the first hit, ranks of the hits within the window.
type Found = (usize, Option<usize>, Vec<u32>);

/// Corners of a cube. In 4, 16 or 64 dimensions their products are exact, so that most similarities are ties.
fn corners(random: &mut impl Rng, rows: usize, dim: usize) -> Embeddings {
    Embeddings::new((0..rows * dim).map(|_| if random.random::<bool>() { 1.0 } else { -1.0 }).collect(), rows, dim).unwrap()
}

fn sorted(queries: &Embeddings, query: usize, gallery: &Embeddings, excluded: Option<usize>) -> Vec<usize> {
    let similarity = |item: usize| queries.row(query).iter().zip(gallery.row(item)).map(|(x, y)| f64::from(x * y)).sum::<f64>();
    let mut all: Vec<(f64, usize)> =
        (0..gallery.rows()).filter(|&item| Some(item) != excluded).map(|item| (similarity(item), item)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all.into_iter().map(|(_, item)| item).collect()
}

fn oracle(ranking: &[usize], label: usize, labels: &[usize], depth: usize) -> Found {
    let ranks: Vec<u32> = (1..).zip(ranking).filter(|&(_, &item)| labels[item] == label).map(|(rank, _)| rank).collect();
    let window = depth.max(ranks.len() + 1);
    (ranks.len(), ranks.first().map(|&rank| rank as usize), ranks.iter().copied().filter(|&rank| rank as usize <= window).collect())
}

#[test]
fn ranks_agree_with_sorting_when_most_similarities_are_ties() {
    let mut random = generator(1, Purpose::Sample, 0, 0, 0);
    for (rows, dim, classes, depth) in
        [(2, 4, 2, 0), (40, 4, 5, 0), (300, 16, 90, 0), (1100, 16, 400, 0), (1100, 4, 3, 0), (1000, 64, 20, 30), (1441, 16, 1441, 3)]
    {
        let labels: Vec<usize> = (0..rows).map(|_| random.random_range(0..classes)).collect();
        let set = corners(&mut random, rows, dim);
        let found: Vec<Found> =
            rank_self(&set, &labels, depth, SILENT, |ranks| (ranks.relevant, ranks.first, ranks.hits.to_vec())).unwrap();
        for (query, found) in found.iter().enumerate() {
            let wanted = oracle(&sorted(&set, query, &set, Some(query)), labels[query], &labels, depth);
            assert_eq!(*found, wanted, "{rows} rows of {dim}, {classes} classes, query {query}");
        }
    }
}

#[test]
fn ties_before_the_first_hit_are_counted() {
    let mut random = generator(3, Purpose::Sample, 0, 0, 0);
    let set = corners(&mut random, 700, 4);
    let labels: Vec<usize> = (0..700).map(|_| random.random_range(0..300)).collect();
    let found = rank_self(&set, &labels, 0, SILENT, |ranks| (ranks.first, ranks.tied)).unwrap();
    let similarity = |a: usize, b: usize| set.row(a).iter().zip(set.row(b)).map(|(x, y)| x * y).sum::<f32>();
    for (query, &(first, tied)) in found.iter().enumerate() {
        let ranking = sorted(&set, query, &set, Some(query));
        let Some(first) = first else { continue };
        let best = similarity(query, ranking[first - 1]);
        let wanted = ranking[..first - 1].iter().filter(|&&item| similarity(query, item) == best).count();
        assert_eq!(tied, wanted, "query {query}");
    }
    assert!(found.iter().any(|&(_, tied)| tied > 3));
}

#[test]
fn ranks_in_a_gallery_agree_with_sorting() {
    let mut random = generator(2, Purpose::Sample, 0, 0, 0);
    for (rows, items, dim, classes) in [(1, 1, 4, 1), (30, 500, 16, 40), (900, 1300, 16, 200), (700, 20, 4, 4), (500, 1000, 16, 2)] {
        let (queries, gallery) = (corners(&mut random, rows, dim), corners(&mut random, items, dim));
        let query_labels: Vec<usize> = (0..rows).map(|_| random.random_range(0..classes)).collect();
        let labels: Vec<usize> = (0..items).map(|_| random.random_range(0..classes) + classes / 4).collect();
        let found: Vec<Found> = rank_gallery((&queries, &query_labels), (&gallery, &labels), 0, SILENT, |ranks| {
            (ranks.relevant, ranks.first, ranks.hits.to_vec())
        })
        .unwrap();
        for (query, found) in found.iter().enumerate() {
            let wanted = oracle(&sorted(&queries, query, &gallery, None), query_labels[query], &labels, 0);
            assert_eq!(*found, wanted, "{rows} queries, {items} items, query {query}");
        }
    }
}

/// Random rows whose similarities are all further apart than rounding, with their labels.
fn distinct(seed: u64, rows: usize, dim: usize) -> Option<(Vec<f32>, Vec<usize>)> {
    let mut random = generator(seed, Purpose::Sample, 0, 0, 0);
    let values: Vec<f32> = (0..rows * dim).map(|_| random.random::<f32>() - 0.5).collect();
    let set = Embeddings::new(values.clone(), rows, dim).unwrap();
    for query in 0..rows {
        let similarity = |item: &usize| set.row(query).iter().zip(set.row(*item)).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        let ranking = sorted(&set, query, &set, Some(query));
        if ranking.windows(2).any(|pair| similarity(&pair[0]) - similarity(&pair[1]) < 2e-6) {
            return None;
        }
    }
    Some((values, (0..rows).map(|_| random.random_range(0..rows / 3)).collect()))
}

fn scores(values: &[f32], labels: &[usize], dim: usize) -> serde_json::Value {
    let set = Embeddings::new(values.to_vec(), labels.len(), dim).unwrap();
    let mut scores = serde_json::to_value(self_retrieval(&set, labels, &[1, 5], SILENT).unwrap()).unwrap();
    // The order of a sum of doubles may differ; nothing else may.
    for value in scores.as_object_mut().unwrap().values_mut() {
        *value = ((value.as_f64().unwrap() * 1e12).round() / 1e12).into();
    }
    scores
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn order_scale_rotation_and_class_names_do_not_matter(seed in 0..u64::MAX, rows in 12usize..40, angle in 0f32..7.0, scale in 1e-3f32..1e3) {
        let dim = 6;
        let Some((values, labels)) = distinct(seed, rows, dim) else { return Err(TestCaseError::reject("near ties")) };
        let wanted = scores(&values, &labels, dim);

        let mut order: Vec<usize> = (0..rows).collect();
        let mut random = generator(seed, Purpose::Split, 0, 0, 0);
        (1..rows).for_each(|last| order.swap(last, random.random_range(0..=last)));
        let shuffled: Vec<f32> = order.iter().flat_map(|&row| &values[row * dim..][..dim]).copied().collect();
        let shuffled_labels: Vec<usize> = order.iter().map(|&row| labels[row]).collect();
        prop_assert_eq!(&scores(&shuffled, &shuffled_labels, dim), &wanted);

        let scaled: Vec<f32> = values.iter().enumerate().map(|(at, value)| value * scale * (1 + at / dim) as f32).collect();
        prop_assert_eq!(&scores(&scaled, &labels, dim), &wanted);

        let mut rotated = values.clone();
        for row in rotated.chunks_exact_mut(dim) {
            let (x, y) = (row[1], row[4]);
            (row[1], row[4]) = (x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos());
        }
        prop_assert_eq!(&scores(&rotated, &labels, dim), &wanted);

        let renamed: Vec<usize> = labels.iter().map(|&label| (label * 7919) % 10007).collect();
        prop_assert_eq!(&scores(&values, &renamed, dim), &wanted);
    }

    /// With every item there twice, in its own class, the first hit is the copy, however bad the embeddings.
    #[test]
    fn a_copy_is_the_first_hit(seed in 0..u64::MAX, rows in 12usize..40) {
        let Some((values, labels)) = distinct(seed, rows, 5) else { return Err(TestCaseError::reject("near ties")) };
        let found = scores(&[values.clone(), values].concat(), &[labels.clone(), labels].concat(), 5);
        prop_assert_eq!(found["recall@1"].as_f64(), Some(1.0));
        prop_assert_eq!(found["mrr"].as_f64(), Some(1.0));
        prop_assert_eq!(found["queries_without_match"].as_f64(), Some(0.0));
    }
}

#[test]
fn perfect_and_hopeless_embeddings_score_one_and_nearly_nothing() {
    let labels: Vec<usize> = (0..60).map(|row| row / 6).collect();
    let perfect: Vec<f32> = labels.iter().flat_map(|&label| (0..10).map(move |at| f32::from(u8::from(at == label)))).collect();
    let found = scores(&perfect, &labels, 10);
    for name in ["recall@1", "precision@1", "r_precision", "map@r", "mrr"] {
        assert_eq!(found[name], 1.0, "{name}");
    }
    // Ten groups of equal vectors, and no group holds a class twice.
    let hopeless: Vec<usize> = (0..60).map(|row| row % 6).collect();
    let found = scores(&perfect, &hopeless, 10);
    assert_eq!(found["recall@5"], 0.0);
    assert!(found["map@r"].as_f64().unwrap() < 0.1);
}

#[test]
fn what_cannot_be_scored_is_refused_with_a_reason() {
    let set = Embeddings::new(vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0], 3, 2).unwrap();
    let problem = |labels: &[usize], ks: &[usize]| self_retrieval(&set, labels, ks, SILENT).unwrap_err().to_string();
    assert_eq!(problem(&[4, 4, 4], &[1]), "data: all items have one class (4): any ranking of them is perfect");
    assert_eq!(problem(&[1, 2, 3], &[1]), "data: none of 3 queries has another item of its class to find");
    assert_eq!(problem(&[1, 2], &[1]), "labels: found 2, expected 3, one for each embedding");
    assert_eq!(problem(&[1, 1, 2], &[1, 0]), "k of recall@k: found 0, expected at least 1");
}

#[test]
fn classes_and_left_out_queries_are_reported() {
    let set = Embeddings::new(vec![1.0, 0.0, 0.9, 0.1, 0.0, 1.0, 0.1, 0.9, 0.7, 0.7], 5, 2).unwrap();
    let found = self_retrieval(&set, &[5, 5, 3, 3, 9], &[1, 2], SILENT).unwrap();
    assert_eq!((found.scored(), found.without_match()), (4, 1));
    assert_eq!(found.classes.iter().map(|class| (class.label, class.queries)).collect::<Vec<_>>(), [(3, 2), (5, 2)]);
    let json = r#"{"recall@1":1.0,"recall@2":1.0,"precision@1":1.0,"r_precision":1.0,"map@r":1.0,"mrr":1.0,"queries":5,"scored_queries":4,"queries_without_match":1}"#;
    assert_eq!(serde_json::to_string(&found).unwrap(), json);
}
