//! What would spoil a result: items in two splits, embeddings that use few directions, items that are near everything, and labels that
//! no model can satisfy.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::evaluate::definitions::ceilings;
use crate::evaluate::spectrum::Spectrum;
use crate::evaluate::task::Task;
use crate::search::nearest::nearest;

/// How many nearest items make somebody a neighbour.
pub const K: usize = 10;
/// How many of a long list a report keeps.
const KEPT: usize = 10;

/// One split, or all there is.
pub struct Part<'a> {
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

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Each part by itself.
    pub parts: Vec<PartReport>,
    /// What two parts have in common, for each two.
    pub crossings: Vec<Crossing>,
}

/// One part by itself.
#[derive(Clone, Debug, Serialize)]
pub struct PartReport {
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
    pub spectrum: Directions,
    /// Lengths of the vectors as they were given, where that is known.
    pub norms: Option<Norms>,
    /// How unevenly rows are found.
    pub hubs: Hubs,
    /// Rows whose vector another row of the same class has too, and of another class.
    pub copies: [usize; 2],
    /// What a perfect model would score: definitions, metrics, values. Nothing when no query has anything to find.
    pub ceilings: Vec<(String, Vec<(String, f64)>)>,
}

/// In how many directions embeddings spread; see [`Spectrum`] for the figures.
#[derive(Clone, Debug, Serialize)]
pub struct Directions {
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

/// What two parts have in common.
#[derive(Clone, Debug, Serialize)]
pub struct Crossing {
    /// The parts' names.
    pub parts: [String; 2],
    /// Names of classes in both; at most ten of `class_count`.
    pub classes: Vec<String>,
    /// How many there are.
    pub class_count: usize,
    /// Rows of the second part with a name that the first part has; none counted where rows are numbers.
    pub names: usize,
    /// Rows of the second part with a content that the first part has.
    pub contents: usize,
    /// Rows of the second part with a vector that the first part has, to the bit.
    pub vectors: usize,
    /// Rows of the second part that are nearer to some row of the first than `threshold`.
    pub near: usize,
    /// The cosine from which on two rows count as near.
    pub threshold: f64,
    /// The nearest pairs: row of the first part, row of the second, cosine.
    pub nearest: Vec<(String, String, f64)>,
}

impl Crossing {
    /// Whether the parts share anything that would let a model have seen what it is tested on.
    pub fn is_clean(&self) -> bool {
        self.class_count == 0 && self.names == 0 && self.contents == 0 && self.vectors == 0 && self.near == 0
    }
}

/// Audits parts by themselves and two by two. Time: that of searching every part in itself and in each other part.
///
/// # Errors
/// Parts of different dimension, or lists that do not fit their rows.
pub fn audit(parts: &[Part], ks: &[usize], threshold: f64) -> Result<Report> {
    for part in parts {
        let lengths = [Some(part.names.len()), part.norms.map(<[_]>::len), part.contents.map(<[_]>::len)];
        let rows = part.task.embeddings().rows();
        if let Some(found) = lengths.into_iter().flatten().find(|&length| length != rows) {
            return Err(Error::mismatch(format!("names, norms or contents of {}", part.name), found, rows));
        }
    }
    let reports = parts.iter().map(|part| describe(part, ks)).collect::<Result<_>>()?;
    let pairs = (0..parts.len()).flat_map(|a| (a + 1..parts.len()).map(move |b| (a, b)));
    let crossings = pairs.map(|(a, b)| cross(&parts[a], &parts[b], threshold)).collect::<Result<_>>()?;
    Ok(Report { parts: reports, crossings })
}

fn describe(part: &Part, ks: &[usize]) -> Result<PartReport> {
    let (embeddings, labels) = (part.task.embeddings(), part.task.labels());
    let mut sizes = HashMap::<usize, usize>::new();
    labels.iter().for_each(|&label| *sizes.entry(label).or_default() += 1);
    let vectors = numbered((0..embeddings.rows()).map(|row| bits(embeddings.row(row))));
    let contents = part.contents.map_or_else(|| vectors.clone(), |contents| numbered(contents.iter().copied()));
    let mut of_vector = HashMap::<usize, Vec<usize>>::new();
    vectors.iter().zip(labels).for_each(|(&vector, &label)| of_vector.entry(vector).or_default().push(label));
    let mut copies = [0; 2];
    for (vector, &label) in vectors.iter().zip(labels) {
        let all = &of_vector[vector];
        let same = all.iter().filter(|&&other| other == label).count();
        copies[0] += usize::from(same > 1);
        copies[1] += usize::from(same < all.len());
    }
    let spectrum = Spectrum::of(embeddings.values(), embeddings.dim())?;
    // Without anything to find there is no ceiling, and that is no error here.
    let ceilings = ceilings(labels, &contents, part.task.roles(), ks).unwrap_or_default();
    Ok(PartReport {
        name: part.name.to_owned(),
        rows: embeddings.rows(),
        dim: embeddings.dim(),
        classes: sizes.len(),
        singletons: sizes.values().filter(|&&size| size == 1).count(),
        spectrum: Directions {
            effective_rank: spectrum.effective_rank(),
            rho: spectrum.rho(),
            for_90_percent: spectrum.directions_for(0.9),
            collapsed: spectrum.collapsed(),
        },
        norms: part.norms.map(spread),
        hubs: hubs(part)?,
        copies,
        ceilings: ceilings.into_iter().map(|scored| (scored.definitions.name().to_owned(), scored.means)).collect(),
    })
}

fn bits(row: &[f32]) -> Vec<u32> {
    row.iter().map(|value| value.to_bits()).collect()
}

/// Equal items get equal numbers.
fn numbered<T: Eq + std::hash::Hash>(items: impl Iterator<Item = T>) -> Vec<usize> {
    let mut known = HashMap::new();
    items
        .map(|item| {
            let next = known.len();
            *known.entry(item).or_insert(next)
        })
        .collect()
}

fn spread(norms: &[f64]) -> Norms {
    let count = norms.len() as f64;
    let mean = norms.iter().sum::<f64>() / count;
    let deviation = (norms.iter().map(|norm| (norm - mean).powi(2)).sum::<f64>() / count).sqrt();
    let ends = norms.iter().fold((f64::INFINITY, 0.0f64), |(least, most), &norm| (least.min(norm), most.max(norm)));
    Norms { least: ends.0, mean, most: ends.1, spread: deviation / mean }
}

fn hubs(part: &Part) -> Result<Hubs> {
    let mut counts = vec![0usize; part.names.len()];
    for found in nearest(part.task.embeddings(), part.task.embeddings(), K, true)?.iter().flatten() {
        counts[found.index] += 1;
    }
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by(|&a, &b| counts[b].cmp(&counts[a]).then(a.cmp(&b)));
    let most = order.iter().take(KEPT).map(|&row| (part.names[row].clone(), counts[row])).collect();
    Ok(Hubs { skewness: skewness(&counts), never: counts.iter().filter(|&&count| count == 0).count(), most })
}

fn skewness(counts: &[usize]) -> f64 {
    let total = counts.len() as f64;
    let mean = counts.iter().sum::<usize>() as f64 / total;
    let moment = |power: i32| counts.iter().map(|&count| (count as f64 - mean).powi(power)).sum::<f64>() / total;
    let variance = moment(2);
    if variance > 0.0 { moment(3) / variance.powf(1.5) } else { 0.0 }
}

fn cross(first: &Part, second: &Part, threshold: f64) -> Result<Crossing> {
    let present = |part: &Part| -> HashSet<usize> { part.task.labels().iter().copied().collect() };
    let names_of =
        |part: &Part| -> HashSet<String> { present(part).into_iter().filter_map(|label| part.classes.get(label).cloned()).collect() };
    let (of_first, of_second) = (names_of(first), names_of(second));
    let mut classes: Vec<String> = of_first.intersection(&of_second).cloned().collect();
    classes.sort_unstable();
    let class_count = classes.len();
    classes.truncate(KEPT);
    let known: HashSet<&String> = first.names.iter().collect();
    // Rows that are called by their number have no name of their own.
    let numbered = |part: &Part| part.names.iter().enumerate().all(|(row, name)| *name == row.to_string());
    let names = if numbered(first) || numbered(second) { 0 } else { second.names.iter().filter(|name| known.contains(name)).count() };
    let contents = match (first.contents, second.contents) {
        (Some(a), Some(b)) => {
            let known: HashSet<u64> = a.iter().copied().collect();
            b.iter().filter(|content| known.contains(content)).count()
        }
        _ => 0,
    };
    let (a, b) = (first.task.embeddings(), second.task.embeddings());
    let known: HashSet<Vec<u32>> = (0..a.rows()).map(|row| bits(a.row(row))).collect();
    let vectors = (0..b.rows()).filter(|&row| known.contains(&bits(b.row(row)))).count();
    let found = nearest(b, a, 1, false)?;
    let mut pairs: Vec<(usize, usize, f64)> = found
        .iter()
        .enumerate()
        .filter_map(|(row, found)| found.first().map(|found| (found.index, row, f64::from(found.similarity))))
        .collect();
    let near = pairs.iter().filter(|pair| pair.2 >= threshold).count();
    pairs.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.1.cmp(&b.1)));
    pairs.truncate(KEPT);
    Ok(Crossing {
        parts: [first, second].map(|part| part.name.to_owned()),
        classes,
        class_count,
        names,
        contents,
        vectors,
        near,
        threshold,
        nearest: pairs.into_iter().map(|(a, b, cosine)| (first.names[a].clone(), second.names[b].clone(), cosine)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embeddings::Embeddings;
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
    fn what_two_parts_share_is_found() {
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
        let part = |name, task, classes, names| Part { name, task, classes, names, norms: None, contents: None };
        let parts = [part("train", &first, &classes, &names), part("test", &second, &others, &other_names)];
        let report = audit(&parts, &[1], 0.999).unwrap();
        let found = &report.crossings[0];
        assert_eq!((found.classes.as_slice(), found.names, found.contents, found.vectors, found.near), (&words(&["dog"])[..], 1, 0, 1, 2));
        assert!(!found.is_clean());
        assert_eq!((found.nearest[0].0.as_str(), found.nearest[0].1.as_str()), ("r", "q"));
        let parts = [
            Part { contents: Some(&[1, 2, 3, 4]), ..part("train", &first, &classes, &names) },
            Part { contents: Some(&[9, 4, 4]), ..part("test", &second, &others, &other_names) },
        ];
        assert_eq!(audit(&parts, &[1], 0.999).unwrap().crossings[0].contents, 2);
        let wrong = [Part { norms: Some(&[1.0]), ..part("train", &first, &classes, &names) }];
        assert!(audit(&wrong, &[1], 0.9).unwrap_err().to_string().contains("train: found 1, expected 4"));
    }

    #[test]
    fn hubs_copies_and_norms_of_one_part() {
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
        let part = Part { name: "all", task: &task, classes: &classes, names: &names, norms: Some(&norms), contents: None };
        let report = &audit(&[part], &[1], 0.9).unwrap().parts[0];
        assert_eq!((report.rows, report.classes, report.singletons, report.copies), (60, 7, 0, [0, 2]));
        assert_eq!(report.hubs.most[0].0, "0");
        assert!(report.hubs.skewness > 0.3, "{}", report.hubs.skewness);
        let norms = report.norms.as_ref().unwrap();
        assert!((norms.least, norms.most) == (2.0, 4.0) && norms.spread > 0.1);
        let ours = &report.ceilings[0].1;
        assert!(ours[0].0 == "recall@1" && (ours[0].1 - 58.0 / 60.0).abs() < 1e-12, "copies in two classes: {ours:?}");
        assert!((skewness(&[0, 0, 0, 4]) - 1.1547).abs() < 1e-4 && skewness(&[3, 3]) == 0.0);
    }
}
