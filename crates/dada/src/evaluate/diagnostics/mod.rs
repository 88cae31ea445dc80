//! The proxy doctor: how samples and proxies lie to each other while a model is trained, and whether something goes wrong.
//!
//! It looks at a few embeddings of training pictures, on the unit sphere, and never changes what is learnt.

pub mod gap;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::gap::{Cloud, dot, mmd, probe_accuracy, sliced_wasserstein};
use crate::evaluate::spectrum::effective_rank;
use crate::random::{Purpose, generator};
use dada_compute::symmetric_eigen;

/// Most rows that are looked at.
pub const ROWS: usize = 256;

/// Cosine above which two proxies cannot be told apart.
pub const COLLISION: f64 = 0.95;

/// Share of the effective rank at the first examination below which embeddings have collapsed.
pub const COLLAPSE: f64 = 0.25;

/// What is looked at: L2-normalised rows.
#[derive(Clone, Copy, Debug)]
pub struct Patient<'a> {
    /// Embeddings, at most [`ROWS`] of them.
    pub samples: Cloud<'a>,
    /// The class of each.
    pub labels: &'a [usize],
    /// The proxy of each embedding.
    pub own: Cloud<'a>,
    /// The proxies of all classes.
    pub proxies: Cloud<'a>,
    /// The class of each proxy.
    pub proxy_labels: &'a [usize],
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Maximum mean discrepancy between samples and their proxies, ≥ 0.
    pub mmd: f64,
    /// Sliced Wasserstein distance between samples and their proxies, ≥ 0.
    pub sliced_wasserstein: f64,
    /// Mean cosine of a sample and its proxy.
    pub own_cosine: f64,
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

/// Examines. `seed` and `epoch` choose the probe's halves and the projections.
pub fn examine(patient: &Patient, seed: u64, epoch: usize) -> Finding {
    let Patient { samples, labels, own, proxies, proxy_labels } = *patient;
    let random = |row| generator(seed, Purpose::Probe, epoch, 0, row);
    let cosine = |row: usize| dot(samples.row(row), own.row(row));
    // One proxy a class, however many of its samples were looked at.
    let mut first = BTreeMap::new();
    labels.iter().enumerate().for_each(|(row, &label)| _ = first.entry(label).or_insert(row));
    let distinct: Vec<f32> = first.values().flat_map(|&row| own.row(row)).copied().collect();
    let classes: Vec<usize> = first.keys().copied().collect();
    let some_proxies: Vec<f32> = spread(proxies.rows(), ROWS).flat_map(|row| proxies.row(row)).copied().collect();
    let (effective_rank, largest_share) = spectrum(samples);
    Finding {
        mmd: mmd(samples, own),
        sliced_wasserstein: sliced_wasserstein(samples, own, &mut random(0)),
        own_cosine: (0..samples.rows()).map(cosine).sum::<f64>() / samples.rows() as f64,
        probe_accuracy: probe_accuracy(samples, Cloud { values: &distinct, dim: own.dim }, [labels, &classes], &mut random(1)),
        dead: dead(patient, &classes),
        colliding: colliding(proxies, proxy_labels),
        effective_rank,
        proxy_effective_rank: spectrum(Cloud { values: &some_proxies, dim: proxies.dim }).0,
        largest_share,
    }
}

/// At most `most` of `count` rows, evenly spaced: of proxies, those of a class side by side, some of every class or of as many as there is room for.
pub fn spread(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let kept = count.min(most);
    (0..kept).map(move |place| place * count / kept)
}

fn dead(Patient { samples, labels, proxies, proxy_labels, .. }: &Patient, classes: &[usize]) -> f64 {
    let nearest = |row: usize| {
        let cosines = (0..proxies.rows()).map(|proxy| (dot(samples.row(row), proxies.row(proxy)), proxy));
        cosines.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, proxy)| proxy_labels[proxy])
    };
    let alive: BTreeSet<usize> = (0..samples.rows()).filter(|&row| nearest(row) == Some(labels[row])).map(|row| labels[row]).collect();
    1.0 - alive.len() as f64 / classes.len().max(1) as f64
}

fn colliding(proxies: Cloud, labels: &[usize]) -> f64 {
    // Of very many proxies some stand for all: the share is estimated, and every other proxy is still compared with them.
    let asked: Vec<usize> = spread(proxies.rows(), 4 * ROWS).collect();
    let collides = |a: usize| (0..proxies.rows()).any(|b| labels[a] != labels[b] && dot(proxies.row(a), proxies.row(b)) > COLLISION);
    asked.iter().filter(|&&proxy| collides(proxy)).count() as f64 / asked.len().max(1) as f64
}

/// Effective rank of a centred cloud, and its largest eigenvalue's share.
fn spectrum(cloud: Cloud) -> (f64, f64) {
    let (rows, dim) = (cloud.rows(), cloud.dim);
    let mut mean = vec![0.0f32; dim];
    for row in 0..rows {
        mean.iter_mut().zip(cloud.row(row)).for_each(|(mean, value)| *mean += value / rows as f32);
    }
    let centred: Vec<f32> = (0..rows).flat_map(|row| cloud.row(row).iter().zip(&mean).map(|(value, mean)| value - mean)).collect();
    let centred = Cloud { values: &centred, dim };
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

/// What the finding means for somebody who does not watch the figures, compared with the first one of the run.
pub fn alarms(finding: &Finding, first: &Finding) -> Vec<String> {
    let mut alarms = Vec::new();
    if finding.effective_rank < COLLAPSE * first.effective_rank {
        let (now, then) = (finding.effective_rank, first.effective_rank);
        alarms.push(format!(
            "embeddings collapse: they vary in {now:.1} directions, {then:.1} at first; lower the learning rates or dada's weights"
        ));
    }
    if finding.dead > 0.5 && finding.dead > first.dead {
        alarms.push(format!("{:.0} % of the proxies are nearest to no sample of their class", 100.0 * finding.dead));
    }
    if finding.colliding > 0.05 {
        alarms.push(format!("{:.0} % of the proxies lie on a proxy of another class", 100.0 * finding.colliding));
    }
    alarms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(index: usize, dim: usize) -> Vec<f32> {
        (0..dim).map(|at| if at == index { 1.0 } else { 0.0 }).collect()
    }

    fn finding(samples: &[f32], proxies: &[f32], labels: &[usize], dim: usize) -> Finding {
        let own: Vec<f32> = labels.iter().flat_map(|&label| &proxies[label * dim..][..dim]).copied().collect();
        let cloud = |values| Cloud { values, dim };
        let proxy_labels: Vec<usize> = (0..proxies.len() / dim).collect();
        let patient = Patient { samples: cloud(samples), labels, own: cloud(&own), proxies: cloud(proxies), proxy_labels: &proxy_labels };
        examine(&patient, 0, 0)
    }

    #[test]
    fn samples_on_their_proxies_are_healthy() {
        let dim = 6;
        let proxies: Vec<f32> = (0..4).flat_map(|class| unit(class, dim)).collect();
        let labels = [0, 1, 2, 3, 0, 1, 2, 3];
        let samples: Vec<f32> = labels.iter().flat_map(|&label| unit(label, dim)).collect();
        let found = finding(&samples, &proxies, &labels, dim);
        assert!(found.mmd < 1e-6 && found.sliced_wasserstein < 1e-6);
        assert!((found.own_cosine - 1.0).abs() < 1e-6 && found.dead == 0.0 && found.colliding == 0.0);
        // Four corners of a simplex span three directions equally.
        assert!((found.effective_rank - 3.0).abs() < 1e-6 && (found.largest_share - 1.0 / 3.0).abs() < 1e-6);
        assert!(alarms(&found, &found).is_empty());
    }

    #[test]
    fn what_is_wrong_is_found() {
        let dim = 6;
        let mut proxies: Vec<f32> = (0..4).flat_map(|class| unit(class, dim)).collect();
        proxies.copy_within(0..dim, dim);
        let labels = [0, 1, 2, 3];
        let samples: Vec<f32> = [0, 1, 3, 2].iter().flat_map(|&at| unit(at, dim)).collect();
        let found = finding(&samples, &proxies, &labels, dim);
        assert_eq!(found.colliding, 0.5);
        assert!(found.dead >= 0.5, "samples 2 and 3 lie on each other's proxies: {found:?}");
        let collapsed: Vec<f32> = labels.iter().flat_map(|_| unit(5, dim)).collect();
        let rank = finding(&collapsed, &proxies, &labels, dim);
        assert_eq!((rank.effective_rank, rank.largest_share), (0.0, 1.0));
        assert!(alarms(&rank, &found).iter().any(|alarm| alarm.contains("collapse")));
        assert!(alarms(&found, &Finding { dead: 0.0, ..found.clone() }).iter().any(|alarm| alarm.contains("another class")));
    }
}
