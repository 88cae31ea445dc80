//! What would spoil a result: items in two splits, embeddings that use few directions, items that are near everything, and labels that
//! no model can satisfy.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use serde::Serialize;

use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::evaluate::definitions::ceilings;
use crate::evaluate::spectrum::{collapsed, directions_for, effective_rank, rho};
use crate::evaluate::task::Task;
use crate::search::nearest;
use crate::search::pca::Pca;

/// How many nearest items make somebody a neighbour.
pub const K: usize = 10;
/// How many entries of a long list an audit keeps.
const MOST_LISTED: usize = 10;

/// One split of a data set, or all of it.
pub struct AuditedSplit<'a> {
    /// What reports call it.
    pub name: &'a str,
    /// Its embeddings and classes.
    pub task: &'a Task,
    /// Class names; labels index them.
    pub classes: &'a [String],
    /// What each row is called: its path where it has one.
    pub names: &'a [String],
    /// Length of each vector before it was scaled to 1, where that is known.
    pub norms: Option<&'a [f64]>,
    /// Checksum of what each row was made from, where that is known: equal contents are equal pictures.
    pub contents: Option<&'a [u64]>,
}

/// What was found. It serialises under the names that files of it have always had.
#[derive(Clone, Debug, Serialize)]
pub struct Audit {
    /// Each split by itself.
    #[serde(rename = "parts")]
    pub splits: Vec<SplitAudit>,
    /// What two splits have in common, for each two.
    #[serde(rename = "crossings")]
    pub leakages: Vec<Leakage>,
}

/// One split by itself.
#[derive(Clone, Debug, Serialize)]
pub struct SplitAudit {
    /// Its name.
    pub name: String,
    /// How many rows.
    pub rows: usize,
    /// Their dimension.
    pub dim: usize,
    /// How many classes.
    pub classes: usize,
    /// Classes of one row.
    pub singletons: usize,
    /// How many directions are in use.
    pub spectrum: SpectrumFigures,
    /// Lengths of the vectors as they were given, where that is known.
    pub norms: Option<Norms>,
    /// How unevenly rows are found.
    pub hubs: Hubs,
    /// Rows whose vector another row of the same class has too, and of another class.
    pub copies: [usize; 2],
    /// What a perfect model would score: definitions, metrics, values. Nothing when no query has anything to find.
    pub ceilings: Vec<(String, Vec<(String, f64)>)>,
}

/// In how many directions embeddings spread; see [`crate::evaluate::spectrum`] for the figures.
#[derive(Clone, Debug, Serialize)]
pub struct SpectrumFigures {
    /// e to the entropy of the variances.
    pub effective_rank: f64,
    /// Divergence from a flat spectrum.
    pub rho: f64,
    /// Directions that hold 90 % of the variance.
    pub for_90_percent: usize,
    /// Directions with next to no variance.
    pub collapsed: usize,
}

/// Lengths of vectors.
#[derive(Clone, Debug, Serialize)]
pub struct Norms {
    /// The shortest.
    pub least: f64,
    /// The mean.
    pub mean: f64,
    /// The longest.
    pub most: f64,
    /// Deviation over mean.
    pub spread: f64,
}

/// How often rows are among the [`K`] nearest of others (Radovanović et al., "Hubs in Space", JMLR 2010).
#[derive(Clone, Debug, Serialize)]
pub struct Hubs {
    /// Skewness of that count over rows: 0 where everything is found equally often, above 1 where hubs are.
    pub skewness: f64,
    /// Rows that nobody has among its nearest.
    pub never: usize,
    /// The rows that are found most often, and how often.
    pub most: Vec<(String, usize)>,
}

/// What two splits have in common.
#[derive(Clone, Debug, Serialize)]
pub struct Leakage {
    /// The splits' names.
    #[serde(rename = "parts")]
    pub splits: [String; 2],
    /// Names of classes in both; at most ten of `class_count`.
    pub classes: Vec<String>,
    /// How many there are.
    pub class_count: usize,
    /// Rows of the second split with a name that the first split has; none counted where rows are numbers.
    pub names: usize,
    /// Rows of the second split with a content that the first split has.
    pub contents: usize,
    /// Rows of the second split with a vector that the first split has, to the bit.
    pub vectors: usize,
    /// Rows of the second split that are nearer to some row of the first than `threshold`.
    pub near: usize,
    /// The cosine from which on two rows count as near.
    pub threshold: f64,
    /// The nearest pairs: row of the first split, row of the second, cosine.
    pub nearest: Vec<(String, String, f64)>,
}

impl Leakage {
    /// Whether the splits share anything that would let a model have seen what it is tested on.
    pub fn is_clean(&self) -> bool {
        self.class_count == 0 && self.names == 0 && self.contents == 0 && self.vectors == 0 && self.near == 0
    }
}

/// Audits splits by themselves and two by two. Time: that of searching every split in itself and in each other split.
///
/// # Errors
/// Splits of different dimension, or lists that do not fit their rows.
pub fn audit(splits: &[AuditedSplit], ks: &[usize], threshold: f64) -> Result<Audit> {
    for split in splits {
        let lengths = [Some(split.names.len()), split.norms.map(<[_]>::len), split.contents.map(<[_]>::len)];
        let rows = split.task.embeddings().rows();
        if let Some(found) = lengths.into_iter().flatten().find(|&length| length != rows) {
            return Err(Error::mismatch(format!("names, norms or contents of {}", split.name), found, rows));
        }
    }
    let described = splits.iter().map(|split| describe(split, ks)).collect::<Result<_>>()?;
    let mut leakages = Vec::new();
    for (at, first) in splits.iter().enumerate() {
        for second in &splits[at + 1..] {
            leakages.push(leakage(first, second, threshold)?);
        }
    }
    Ok(Audit { splits: described, leakages })
}

fn describe(split: &AuditedSplit, ks: &[usize]) -> Result<SplitAudit> {
    let (embeddings, labels) = (split.task.embeddings(), split.task.labels());
    let mut sizes = HashMap::<usize, usize>::new();
    for &label in labels {
        *sizes.entry(label).or_default() += 1;
    }
    let vectors = numbered(vectors(embeddings).into_iter());
    let contents = split.contents.map_or_else(|| vectors.clone(), |contents| numbered(contents.iter().copied()));
    let mut of_vector = HashMap::<usize, Vec<usize>>::new();
    for (&vector, &label) in vectors.iter().zip(labels) {
        of_vector.entry(vector).or_default().push(label);
    }
    let mut copies = [0; 2];
    for (vector, &label) in vectors.iter().zip(labels) {
        let all = &of_vector[vector];
        let same = all.iter().filter(|&&other| other == label).count();
        copies[0] += usize::from(same > 1);
        copies[1] += usize::from(same < all.len());
    }
    let variances = Pca::fit(embeddings.values(), embeddings.dim())?.variances;
    // Without anything to find there is no ceiling, and that is no error here.
    let ceilings = ceilings(labels, &contents, split.task.roles(), ks).unwrap_or_default();
    Ok(SplitAudit {
        name: split.name.to_owned(),
        rows: embeddings.rows(),
        dim: embeddings.dim(),
        classes: sizes.len(),
        singletons: sizes.values().filter(|&&size| size == 1).count(),
        spectrum: SpectrumFigures {
            effective_rank: effective_rank(&variances),
            rho: rho(&variances),
            for_90_percent: directions_for(0.9, &variances),
            collapsed: collapsed(&variances),
        },
        norms: split.norms.map(spread),
        hubs: hubs(split)?,
        copies,
        ceilings: ceilings.into_iter().map(|scored| (scored.definitions.name().to_owned(), scored.means)).collect(),
    })
}

/// Equal items get equal numbers.
fn numbered<T: Eq + Hash>(items: impl Iterator<Item = T>) -> Vec<usize> {
    let mut known = HashMap::new();
    let mut numbers = Vec::new();
    for item in items {
        let next = known.len();
        numbers.push(*known.entry(item).or_insert(next));
    }
    numbers
}

fn spread(norms: &[f64]) -> Norms {
    let count = norms.len() as f64;
    let mean = norms.iter().sum::<f64>() / count;
    let deviation = (norms.iter().map(|norm| (norm - mean).powi(2)).sum::<f64>() / count).sqrt();
    let ends = norms.iter().fold((f64::INFINITY, 0.0f64), |(least, most), &norm| (least.min(norm), most.max(norm)));
    Norms { least: ends.0, mean, most: ends.1, spread: deviation / mean }
}

fn hubs(split: &AuditedSplit) -> Result<Hubs> {
    let mut counts = vec![0usize; split.names.len()];
    for found in nearest(split.task.embeddings(), split.task.embeddings(), K, true)?.iter().flatten() {
        counts[found.index] += 1;
    }
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by(|&a, &b| counts[b].cmp(&counts[a]).then(a.cmp(&b)));
    let most = order.iter().take(MOST_LISTED).map(|&row| (split.names[row].clone(), counts[row])).collect();
    Ok(Hubs { skewness: skewness(&counts), never: counts.iter().filter(|&&count| count == 0).count(), most })
}

fn skewness(counts: &[usize]) -> f64 {
    let total = counts.len() as f64;
    let mean = counts.iter().sum::<usize>() as f64 / total;
    let moment = |power: i32| counts.iter().map(|&count| (count as f64 - mean).powi(power)).sum::<f64>() / total;
    let variance = moment(2);
    if variance > 0.0 { moment(3) / variance.powf(1.5) } else { 0.0 }
}

fn leakage(first: &AuditedSplit, second: &AuditedSplit, threshold: f64) -> Result<Leakage> {
    let (a, b) = (first.task.embeddings(), second.task.embeddings());
    let mut classes: Vec<String> = class_names(first).intersection(&class_names(second)).map(|&name| name.to_owned()).collect();
    classes.sort_unstable();
    let class_count = classes.len();
    classes.truncate(MOST_LISTED);
    // Rows that are called by their number have no name of their own.
    let have_names = !is_numbered(first) && !is_numbered(second);
    let mut pairs: Vec<(usize, usize, f64)> = Vec::new();
    for (row, found) in nearest(b, a, 1, false)?.iter().enumerate() {
        pairs.extend(found.first().map(|found| (found.index, row, f64::from(found.similarity))));
    }
    let near = pairs.iter().filter(|pair| pair.2 >= threshold).count();
    pairs.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.1.cmp(&b.1)));
    pairs.truncate(MOST_LISTED);
    Ok(Leakage {
        splits: [first, second].map(|split| split.name.to_owned()),
        classes,
        class_count,
        names: if have_names { shared(first.names, second.names) } else { 0 },
        contents: first.contents.zip(second.contents).map_or(0, |(first, second)| shared(first, second)),
        vectors: shared(&vectors(a), &vectors(b)),
        near,
        threshold,
        nearest: pairs.into_iter().map(|(a, b, cosine)| (first.names[a].clone(), second.names[b].clone(), cosine)).collect(),
    })
}

/// Names of the classes that have a row.
fn class_names<'a>(split: &AuditedSplit<'a>) -> HashSet<&'a str> {
    split.task.labels().iter().filter_map(|&label| split.classes.get(label)).map(String::as_str).collect()
}

fn is_numbered(split: &AuditedSplit) -> bool {
    split.names.iter().enumerate().all(|(row, name)| *name == row.to_string())
}

/// How many of the second are among the first.
fn shared<T: Eq + Hash>(first: &[T], second: &[T]) -> usize {
    let known: HashSet<&T> = first.iter().collect();
    second.iter().filter(|item| known.contains(item)).count()
}

/// Each row's bits: vectors that are equal to the last of them are equal.
fn vectors(embeddings: &Embeddings) -> Vec<Vec<u32>> {
    (0..embeddings.rows()).map(|row| embeddings.row(row).iter().map(|value| value.to_bits()).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};
    use rand::RngExt;

    fn random(rows: usize, seed: u64) -> Vec<f32> {
        let mut random = generator(seed, Purpose::Sample, 0, 0, 0);
        (0..rows * 6).map(|_| random.random_range(-1.0..1.0f32)).collect()
    }

    fn task(values: Vec<f32>, labels: Vec<usize>) -> Task {
        Task::new(Embeddings::new(values, labels.len(), 6).unwrap(), labels, None).unwrap()
    }

    fn words(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn what_two_splits_share_is_found() {
        let (mut a, mut b) = (random(4, 1), random(3, 2));
        // Row 1 of the second is row 2 of the first, twice as long; row 2 is row 3 of the first, nearly.
        let copied: Vec<f32> = a[12..18].iter().map(|value| value * 2.0).collect();
        b[6..12].copy_from_slice(&copied);
        let nearly: Vec<f32> = a[18..24].iter().map(|value| value * 1.001 + 1e-4).collect();
        b[12..].copy_from_slice(&nearly);
        a[0] = 1.0;
        let (first, second) = (task(a, vec![0, 0, 1, 1]), task(b, vec![0, 1, 1]));
        let (classes, others) = (words(&["cat", "dog"]), words(&["cow", "dog"]));
        let (names, other_names) = (words(&["p", "q", "r", "s"]), words(&["t", "q", "u"]));
        let split = |name, task, classes, names| AuditedSplit { name, task, classes, names, norms: None, contents: None };
        let splits = [split("train", &first, &classes, &names), split("test", &second, &others, &other_names)];
        let audited = audit(&splits, &[1], 0.999).unwrap();
        let found = &audited.leakages[0];
        assert_eq!((found.classes.as_slice(), found.names, found.contents, found.vectors, found.near), (&words(&["dog"])[..], 1, 0, 1, 2));
        assert!(!found.is_clean());
        assert_eq!((found.nearest[0].0.as_str(), found.nearest[0].1.as_str()), ("r", "q"));
        let splits = [
            AuditedSplit { contents: Some(&[1, 2, 3, 4]), ..split("train", &first, &classes, &names) },
            AuditedSplit { contents: Some(&[9, 4, 4]), ..split("test", &second, &others, &other_names) },
        ];
        assert_eq!(audit(&splits, &[1], 0.999).unwrap().leakages[0].contents, 2);
        let wrong = [AuditedSplit { norms: Some(&[1.0]), ..split("train", &first, &classes, &names) }];
        assert!(audit(&wrong, &[1], 0.9).unwrap_err().to_string().contains("train: found 1, expected 4"));
    }

    #[test]
    fn hubs_copies_and_norms_of_one_split() {
        // Row 0 is the middle of everything.
        let rows = 60;
        let mut values: Vec<f32> =
            random(rows, 3).iter().enumerate().map(|(at, value)| value + if at % 6 == 0 { 1.0 } else { 0.0 }).collect();
        values[..6].copy_from_slice(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let copy: Vec<f32> = values[6..12].to_vec();
        values[12..18].copy_from_slice(&copy);
        let labels: Vec<usize> = (0..rows).map(|row| row % 7).collect();
        let task = task(values, labels);
        let names: Vec<String> = (0..rows).map(|row| row.to_string()).collect();
        let norms: Vec<f64> = (0..rows).map(|row| if row == 3 { 4.0 } else { 2.0 }).collect();
        let classes = names[..7].to_vec();
        let split = AuditedSplit { name: "all", task: &task, classes: &classes, names: &names, norms: Some(&norms), contents: None };
        let found = &audit(&[split], &[1], 0.9).unwrap().splits[0];
        assert_eq!((found.rows, found.classes, found.singletons, found.copies), (60, 7, 0, [0, 2]));
        assert_eq!(found.hubs.most[0].0, "0");
        assert!(found.hubs.skewness > 0.3, "{}", found.hubs.skewness);
        let norms = found.norms.as_ref().unwrap();
        assert!((norms.least, norms.most) == (2.0, 4.0) && norms.spread > 0.1);
        let ours = &found.ceilings[0].1;
        assert!(ours[0].0 == "recall@1" && (ours[0].1 - 58.0 / 60.0).abs() < 1e-12, "copies in two classes: {ours:?}");
        assert!((skewness(&[0, 0, 0, 4]) - 1.1547).abs() < 1e-4 && skewness(&[3, 3]) == 0.0);
    }
}
