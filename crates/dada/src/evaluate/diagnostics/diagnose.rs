//! How samples and proxies lie to each other while a model is trained, and whether something goes wrong.
//!
//! What is measured is a few embeddings of training pictures and all proxies, on the unit sphere. Nothing here changes what is learnt.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::evaluate::diagnostics::gap::{mmd, probe_accuracy, sliced_wasserstein};
use crate::evaluate::diagnostics::points::{PointSet, dot};
use crate::evaluate::spectrum::effective_rank;
use crate::random::{Purpose, generator};
use dada_compute::symmetric_eigen;

/// Most samples that are measured.
pub const MAX_SAMPLES: usize = 256;

/// Cosine above which two proxies cannot be told apart.
pub const COLLISION: f64 = 0.95;

/// Share of the run's first effective rank below which embeddings have collapsed.
pub const COLLAPSE: f64 = 0.25;

/// Samples and proxies at one moment of training: L2-normalised rows.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// Embeddings of training pictures, at most [`MAX_SAMPLES`] of them.
    pub samples: PointSet<'a>,
    /// The class of each sample.
    pub labels: &'a [usize],
    /// The positive proxy of each sample: that of its class, or the one of them that its loss compares it with.
    pub positives: PointSet<'a>,
    /// The proxies of all classes.
    pub proxies: PointSet<'a>,
    /// The class of each proxy.
    pub proxy_labels: &'a [usize],
}

/// What was measured, as the journal records it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Maximum mean discrepancy between samples and their proxies, ≥ 0.
    pub mmd: f64,
    /// Sliced Wasserstein distance between samples and their proxies, ≥ 0.
    pub sliced_wasserstein: f64,
    /// Mean cosine of a sample and its positive proxy.
    #[serde(rename = "own_cosine")]
    pub positive_cosine: f64,
    /// Accuracy of a freshly trained probe that tells samples from proxies, on classes it was not trained on; 0.5 without a gap.
    pub probe_accuracy: f64,
    /// Share of the classes looked at whose proxy is the nearest one of no sample of the class.
    pub dead: f64,
    /// Share of all proxies that have a proxy of another class within a cosine of [`COLLISION`].
    pub colliding: f64,
    /// Exponential of the entropy of the embeddings' spectrum: in how many directions they vary (Roy and Vetterli, 2007).
    pub effective_rank: f64,
    /// The same of the proxies.
    pub proxy_effective_rank: f64,
    /// The largest eigenvalue's share of the embeddings' variance.
    pub largest_share: f64,
}

/// Measures. `seed` and `epoch` choose the probe's halves and the projections.
pub fn diagnose(snapshot: &Snapshot, seed: u64, epoch: usize) -> Diagnosis {
    let Snapshot { samples, labels, positives, proxies, proxy_labels } = *snapshot;
    let random = |row| generator(seed, Purpose::Probe, epoch, 0, row);
    let cosine = |row: usize| dot(samples.row(row), positives.row(row));
    // One proxy a class, however many of its samples were looked at.
    let mut first = BTreeMap::new();
    labels.iter().enumerate().for_each(|(row, &label)| _ = first.entry(label).or_insert(row));
    let distinct: Vec<f32> = first.values().flat_map(|&row| positives.row(row)).copied().collect();
    let classes: Vec<usize> = first.keys().copied().collect();
    let some_proxies: Vec<f32> = evenly_spaced(proxies.rows(), MAX_SAMPLES).flat_map(|row| proxies.row(row)).copied().collect();
    let (effective_rank, largest_share) = spectrum(samples);
    Diagnosis {
        mmd: mmd(samples, positives),
        sliced_wasserstein: sliced_wasserstein(samples, positives, &mut random(0)),
        positive_cosine: (0..samples.rows()).map(cosine).sum::<f64>() / samples.rows() as f64,
        probe_accuracy: probe_accuracy(samples, PointSet { values: &distinct, dim: positives.dim }, [labels, &classes], &mut random(1)),
        dead: dead(snapshot, &classes),
        colliding: colliding(proxies, proxy_labels),
        effective_rank,
        proxy_effective_rank: spectrum(PointSet { values: &some_proxies, dim: proxies.dim }).0,
        largest_share,
    }
}

/// At most `most` of `count` rows, evenly spaced. The proxies of a class lie side by side, so that of many proxies some of every class are
/// chosen, or of as many classes as there is room for.
pub fn evenly_spaced(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let kept = count.min(most);
    (0..kept).map(move |place| place * count / kept)
}

fn dead(Snapshot { samples, labels, proxies, proxy_labels, .. }: &Snapshot, classes: &[usize]) -> f64 {
    let nearest = |row: usize| {
        let cosines = (0..proxies.rows()).map(|proxy| (dot(samples.row(row), proxies.row(proxy)), proxy));
        cosines.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, proxy)| proxy_labels[proxy])
    };
    let alive: BTreeSet<usize> = (0..samples.rows()).filter(|&row| nearest(row) == Some(labels[row])).map(|row| labels[row]).collect();
    1.0 - alive.len() as f64 / classes.len().max(1) as f64
}

fn colliding(proxies: PointSet, labels: &[usize]) -> f64 {
    // Of very many proxies some stand for all: the share is estimated, and every other proxy is still compared with them.
    let asked: Vec<usize> = evenly_spaced(proxies.rows(), 4 * MAX_SAMPLES).collect();
    let collides = |a: usize| (0..proxies.rows()).any(|b| labels[a] != labels[b] && dot(proxies.row(a), proxies.row(b)) > COLLISION);
    asked.iter().filter(|&&proxy| collides(proxy)).count() as f64 / asked.len().max(1) as f64
}

/// Effective rank of a centred set, and its largest eigenvalue's share.
fn spectrum(set: PointSet) -> (f64, f64) {
    let (rows, dim) = (set.rows(), set.dim);
    let mut mean = vec![0.0f32; dim];
    for row in 0..rows {
        mean.iter_mut().zip(set.row(row)).for_each(|(mean, value)| *mean += value / rows as f32);
    }
    let centred: Vec<f32> = (0..rows).flat_map(|row| set.row(row).iter().zip(&mean).map(|(value, mean)| value - mean)).collect();
    let centred = PointSet { values: &centred, dim };
    // The smaller of both Gram matrices has the same eigenvalues.
    let size = rows.min(dim);
    let mut gram = vec![0.0; size * size];
    if rows <= dim {
        for i in 0..rows {
            for j in 0..=i {
                let value = dot(centred.row(i), centred.row(j));
                (gram[i * size + j], gram[j * size + i]) = (value, value);
            }
        }
    } else {
        for row in 0..rows {
            let values = centred.row(row);
            for i in 0..dim {
                for j in 0..dim {
                    gram[i * size + j] += f64::from(values[i]) * f64::from(values[j]);
                }
            }
        }
    }
    let (mut values, _) = symmetric_eigen(gram, size);
    values.iter_mut().for_each(|value| *value = value.max(0.0));
    let (sum, largest) = values.iter().fold((0.0, 0.0), |(sum, largest), &value| (sum + value, f64::max(largest, value)));
    (effective_rank(&values), if sum > 0.0 { largest / sum } else { 1.0 })
}

/// What the figures mean for somebody who does not watch them, compared with the first ones of the run.
pub fn warnings(found: &Diagnosis, first: &Diagnosis) -> Vec<String> {
    let mut warnings = Vec::new();
    if found.effective_rank < COLLAPSE * first.effective_rank {
        let (now, then) = (found.effective_rank, first.effective_rank);
        warnings.push(format!(
            "embeddings collapse: they vary in {now:.1} directions, {then:.1} at first; lower the learning rates or dada's weights"
        ));
    }
    if found.dead > 0.5 && found.dead > first.dead {
        warnings.push(format!("{:.0} % of the proxies are nearest to no sample of their class", 100.0 * found.dead));
    }
    if found.colliding > 0.05 {
        warnings.push(format!("{:.0} % of the proxies lie on a proxy of another class", 100.0 * found.colliding));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(index: usize, dim: usize) -> Vec<f32> {
        (0..dim).map(|at| if at == index { 1.0 } else { 0.0 }).collect()
    }

    fn measured(samples: &[f32], proxies: &[f32], labels: &[usize], dim: usize) -> Diagnosis {
        let positives: Vec<f32> = labels.iter().flat_map(|&label| &proxies[label * dim..][..dim]).copied().collect();
        let set = |values| PointSet { values, dim };
        let proxy_labels: Vec<usize> = (0..proxies.len() / dim).collect();
        let snapshot =
            Snapshot { samples: set(samples), labels, positives: set(&positives), proxies: set(proxies), proxy_labels: &proxy_labels };
        diagnose(&snapshot, 0, 0)
    }

    #[test]
    fn samples_on_their_proxies_are_healthy() {
        let dim = 6;
        let proxies: Vec<f32> = (0..4).flat_map(|class| unit(class, dim)).collect();
        let labels = [0, 1, 2, 3, 0, 1, 2, 3];
        let samples: Vec<f32> = labels.iter().flat_map(|&label| unit(label, dim)).collect();
        let found = measured(&samples, &proxies, &labels, dim);
        assert!(found.mmd < 1e-6 && found.sliced_wasserstein < 1e-6);
        assert!((found.positive_cosine - 1.0).abs() < 1e-6 && found.dead == 0.0 && found.colliding == 0.0);
        // Four corners of a simplex span three directions equally.
        assert!((found.effective_rank - 3.0).abs() < 1e-6 && (found.largest_share - 1.0 / 3.0).abs() < 1e-6);
        assert!(warnings(&found, &found).is_empty());
    }

    #[test]
    fn what_is_wrong_is_found() {
        let dim = 6;
        let mut proxies: Vec<f32> = (0..4).flat_map(|class| unit(class, dim)).collect();
        proxies.copy_within(0..dim, dim);
        let labels = [0, 1, 2, 3];
        let samples: Vec<f32> = [0, 1, 3, 2].iter().flat_map(|&at| unit(at, dim)).collect();
        let found = measured(&samples, &proxies, &labels, dim);
        assert_eq!(found.colliding, 0.5);
        assert!(found.dead >= 0.5, "samples 2 and 3 lie on each other's proxies: {found:?}");
        let collapsed: Vec<f32> = labels.iter().flat_map(|_| unit(5, dim)).collect();
        let rank = measured(&collapsed, &proxies, &labels, dim);
        assert_eq!((rank.effective_rank, rank.largest_share), (0.0, 1.0));
        assert!(warnings(&rank, &found).iter().any(|warning| warning.contains("collapse")));
        assert!(warnings(&found, &Diagnosis { dead: 0.0, ..found.clone() }).iter().any(|warning| warning.contains("another class")));
    }

    /// Journals and pages know the figures by these names.
    #[test]
    fn figures_are_recorded_under_the_names_of_earlier_journals() {
        let line = serde_json::json!({
            "mmd": 0.5, "sliced_wasserstein": 0.25, "own_cosine": 0.125, "probe_accuracy": 0.75, "dead": 0.0, "colliding": 1.0,
            "effective_rank": 3.0, "proxy_effective_rank": 2.0, "largest_share": 0.375,
        });
        let found: Diagnosis = serde_json::from_value(line.clone()).unwrap();
        assert_eq!((found.positive_cosine, serde_json::to_value(found).unwrap()), (0.125, line));
    }
}
