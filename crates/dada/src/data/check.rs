//! What is in a data set, and what is wrong with it, before anybody trains on it.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use crate::data::ceiling::{Ceiling, ceiling};
use crate::data::pictures::decode::{MAX_FILE_BYTES, decode_bytes};
use crate::data::sources::{DataConfig, read};
use crate::data::split::Parts;
use crate::data::{Dataset, Pixels, Sample};
use crate::error::Result;
use crate::formats::file::read_bounded;
use crate::roles::Roles;

/// How many of a long list a printed report shows.
const SHOWN: usize = 8;

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The parts that the data set names, or everything as one.
    pub parts: Vec<Part>,
    /// Classes that are in more than one part.
    pub overlaps: Vec<Overlap>,
    /// Groups of identical pictures.
    pub duplicates: Vec<Duplicates>,
    /// What the reader said.
    pub notes: Vec<String>,
}

/// One part of the data set.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// `train`, `validation`, `test` or `all`.
    pub name: String,
    /// How many classes.
    pub classes: usize,
    /// How many pictures.
    pub pictures: usize,
    /// Pictures of the smallest and of the largest class.
    pub class_sizes: [usize; 2],
    /// Classes with one picture.
    pub singletons: Vec<String>,
    /// Pictures that cannot be read, and why.
    pub unreadable: Vec<Unreadable>,
    /// Why ranking its pictures would say nothing, if it would not.
    pub unrankable: Option<String>,
    /// The best figures that any model can reach on it.
    pub best: Ceiling,
}

/// A picture that cannot be read.
#[derive(Clone, Debug, Serialize)]
pub struct Unreadable {
    /// The picture.
    pub name: String,
    /// The error.
    pub problem: String,
}

/// Classes in two parts.
#[derive(Clone, Debug, Serialize)]
pub struct Overlap {
    /// The parts' names.
    pub parts: [String; 2],
    /// The classes' names.
    pub classes: Vec<String>,
}

/// Pictures with the same content.
#[derive(Clone, Debug, Serialize)]
pub struct Duplicates {
    /// Part, class and name of each.
    pub pictures: Vec<[String; 3]>,
    /// Whether they are in more than one part.
    pub across_parts: bool,
    /// Whether they are in more than one class.
    pub across_classes: bool,
}

/// Reads every picture of a data set and looks for what would spoil a result. Nothing about a single picture is an error.
///
/// `progress` is told, from any thread, how many pictures are done and how many there are.
///
/// # Errors
/// Those of the configuration and of the source's reader.
pub fn check(config: &DataConfig, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Report> {
    config.check()?;
    let (parts, roles, notes) = read(config)?;
    let parts = match parts {
        Parts::Whole(dataset) => vec![("all", dataset)],
        Parts::Given { train, validation, test } => {
            vec![("train", train), ("validation", validation.unwrap_or_default()), ("test", test)]
        }
    };
    let parts: Vec<(&str, Dataset)> = parts.into_iter().filter(|(_, dataset)| !dataset.samples.is_empty()).collect();
    let total = parts.iter().map(|(_, dataset)| dataset.samples.len()).sum();
    let done = std::sync::atomic::AtomicUsize::new(0);
    let inspect_and_tell = |sample: &Sample| {
        let inspected = inspect(&sample.pixels);
        progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1, total);
        inspected
    };
    let inspected: Vec<Vec<Inspected>> = parts.iter().map(|(_, part)| part.samples.par_iter().map(inspect_and_tell).collect()).collect();
    let contents = number_contents(&inspected);
    let described = parts.iter().zip(&inspected).zip(&contents).map(|(((name, dataset), inspected), contents)| {
        let roles = roles.as_ref().filter(|_| ["test", "all"].contains(name));
        describe(name, dataset, inspected, contents, roles)
    });
    Ok(Report { parts: described.collect(), overlaps: overlaps(&parts), duplicates: duplicates(&parts, &contents), notes })
}

/// A picture's checksum, and what is wrong with it.
struct Inspected {
    hash: Option<blake3::Hash>,
    problem: Option<String>,
}

fn inspect(pixels: &Pixels) -> Inspected {
    match pixels {
        Pixels::Turned(pixels, _) => inspect(pixels),
        Pixels::Memory(picture) => {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&picture.width().to_le_bytes()).update(picture.as_raw());
            Inspected { hash: Some(hasher.finalize()), problem: None }
        }
        Pixels::Bytes { name, bytes } => inspect_bytes(bytes, name),
        Pixels::File(path) => match read_bounded(path, MAX_FILE_BYTES) {
            Ok(bytes) => inspect_bytes(&bytes, path),
            Err(error) => Inspected { hash: None, problem: Some(error.to_string()) },
        },
    }
}

fn inspect_bytes(bytes: &[u8], name: &Path) -> Inspected {
    Inspected { hash: Some(blake3::hash(bytes)), problem: decode_bytes(bytes, name).err().map(|error| error.to_string()) }
}

/// One number for each different content; a file that cannot be opened is like no other.
fn number_contents(inspected: &[Vec<Inspected>]) -> Vec<Vec<usize>> {
    let mut numbers = HashMap::new();
    let mut next = 0;
    let mut number = |Inspected { hash, .. }: &Inspected| {
        next += 1;
        hash.map_or(next, |hash| *numbers.entry(hash).or_insert(next))
    };
    inspected.iter().map(|part| part.iter().map(&mut number).collect()).collect()
}

fn describe(name: &str, dataset: &Dataset, inspected: &[Inspected], contents: &[usize], roles: Option<&Roles>) -> Part {
    let sizes = dataset.class_sizes();
    let singletons = dataset.classes.iter().zip(&sizes).filter(|(_, size)| **size == 1).map(|(class, _)| class.clone());
    let unreadable = dataset.samples.iter().zip(inspected).filter_map(|(sample, inspected)| {
        inspected.problem.as_ref().map(|problem| Unreadable { name: sample.name.clone(), problem: problem.clone() })
    });
    Part {
        name: name.to_owned(),
        classes: dataset.classes.len(),
        pictures: dataset.samples.len(),
        class_sizes: [sizes.iter().min(), sizes.iter().max()].map(|size| size.copied().unwrap_or_default()),
        singletons: singletons.collect(),
        unreadable: unreadable.collect(),
        unrankable: dataset.cannot_be_ranked().filter(|_| roles.is_none()),
        best: ceiling(&dataset.labels(), contents, roles),
    }
}

fn overlaps(parts: &[(&str, Dataset)]) -> Vec<Overlap> {
    let mut found = Vec::new();
    for (second, (name, dataset)) in parts.iter().enumerate() {
        for (earlier, other) in &parts[..second] {
            let known: BTreeSet<&String> = other.classes.iter().collect();
            let classes: Vec<String> = dataset.classes.iter().filter(|class| known.contains(class)).cloned().collect();
            if !classes.is_empty() {
                found.push(Overlap { parts: [(*earlier).to_owned(), (*name).to_owned()], classes });
            }
        }
    }
    found
}

fn duplicates(parts: &[(&str, Dataset)], contents: &[Vec<usize>]) -> Vec<Duplicates> {
    let mut groups = HashMap::<usize, Vec<[String; 3]>>::new();
    for ((name, dataset), contents) in parts.iter().zip(contents) {
        for (sample, content) in dataset.samples.iter().zip(contents) {
            groups.entry(*content).or_default().push([(*name).to_owned(), dataset.classes[sample.label].clone(), sample.name.clone()]);
        }
    }
    let differ = |pictures: &[[String; 3]], field: usize| pictures.iter().any(|picture| picture[field] != pictures[0][field]);
    let mut found: Vec<Duplicates> = groups
        .into_values()
        .filter(|pictures| pictures.len() > 1)
        .map(|pictures| Duplicates { across_parts: differ(&pictures, 0), across_classes: differ(&pictures, 1), pictures })
        .collect();
    found.sort_by(|a, b| a.pictures.cmp(&b.pictures));
    found
}

impl Report {
    /// Whether anything was found that spoils results: unreadable pictures, a part without two classes or without two pictures of one, classes
    /// in two parts, pictures in two parts or classes.
    pub fn is_sound(&self) -> bool {
        let usable = self.parts.iter().all(|part| part.unreadable.is_empty() && part.unrankable.is_none());
        usable && self.overlaps.is_empty() && self.duplicates.iter().all(|group| !group.across_parts && !group.across_classes)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Part { name, classes, pictures, class_sizes: [least, most], singletons, unreadable, unrankable, best } in &self.parts {
            writeln!(out, "{name}: {classes} classes, {pictures} pictures, {least} to {most} a class")?;
            list(out, "classes with a single picture", singletons.iter().cloned())?;
            list(out, "pictures that cannot be read", unreadable.iter().map(|Unreadable { problem, .. }| problem.clone()))?;
            match unrankable {
                Some(why) => writeln!(out, "  it can neither be trained nor measured on: {why}")?,
                None => {
                    let figures: Vec<String> = best.figures.iter().map(|(metric, value)| format!("{metric} {value:.3}")).collect();
                    writeln!(out, "  best reachable over {} queries: {}", best.scored, figures.join(", "))?;
                }
            }
            if best.without_partner > 0 {
                writeln!(out, "  {} queries have no partner to find and count in no figure", best.without_partner)?;
            }
        }
        for Overlap { parts: [first, second], classes } in &self.overlaps {
            list(out, &format!("classes in both {first} and {second}"), classes.iter().cloned())?;
        }
        let describe = |group: &Duplicates| {
            group.pictures.iter().map(|[part, class, name]| format!("{part} {class} {name}")).collect::<Vec<_>>().join(" = ")
        };
        let kinds: [(&str, Belongs); 3] = [
            ("identical pictures in different parts", |group| group.across_parts),
            ("identical pictures in different classes", |group| group.across_classes && !group.across_parts),
            ("identical pictures in one class", |group| !group.across_classes && !group.across_parts),
        ];
        for (what, belongs) in kinds {
            list(out, &format!("groups of {what}"), self.duplicates.iter().filter(|group| belongs(group)).map(describe))?;
        }
        self.notes.iter().try_for_each(|note| writeln!(out, "{note}"))?;
        writeln!(out, "{}", if self.is_sound() { "Nothing here spoils a result." } else { "Some of this spoils results: see above." })
    }
}

/// Chooses groups of duplicates.
type Belongs = fn(&Duplicates) -> bool;

fn list(out: &mut fmt::Formatter<'_>, what: &str, items: impl Iterator<Item = String>) -> fmt::Result {
    let items: Vec<String> = items.collect();
    if items.is_empty() {
        return Ok(());
    }
    writeln!(out, "  {} {what}:", items.len())?;
    items.iter().take(SHOWN).try_for_each(|item| writeln!(out, "    {item}"))?;
    if items.len() > SHOWN { writeln!(out, "    and {} more", items.len() - SHOWN) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Source;
    use image::{Rgb, RgbImage};
    use std::path::Path;

    fn save(root: &Path, name: &str, value: u8) {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_pixel(4, 4, Rgb([value; 3])).save(path).unwrap();
    }

    fn report(root: &Path) -> Report {
        check(&DataConfig { source: Source::Folder, path: root.to_owned(), ..DataConfig::default() }, &|_, _| {}).unwrap()
    }

    #[test]
    fn everything_that_is_wrong_is_found() {
        let root = tempfile::tempdir().unwrap();
        for (number, name) in
            ["train/a/1.png", "train/a/2.png", "train/b/1.png", "train/b/2.png", "test/c/1.png", "test/c/2.png"].iter().enumerate()
        {
            save(root.path(), name, 10 * number as u8);
        }
        let single = report(root.path());
        assert!(!single.is_sound());
        assert!(single.to_string().contains("neither be trained nor measured on: all 2 are of the class \"c\""), "{single}");
        [70, 80].iter().for_each(|&value| save(root.path(), &format!("test/d/{value}.png"), value));
        let sound = report(root.path());
        assert!(sound.is_sound() && sound.duplicates.is_empty(), "{sound}");
        assert!(sound.to_string().contains("train: 2 classes, 4 pictures, 2 to 2 a class"));
        assert!(sound.to_string().contains("over 4 queries: recall@1 1.000"));

        save(root.path(), "train/a/copy.png", 10);
        save(root.path(), "train/b/copy-of-a.png", 0);
        save(root.path(), "test/c/seen.png", 30);
        save(root.path(), "test/a/1.png", 99);
        std::fs::write(root.path().join("train/b/broken.jpg"), b"\xff\xd8\xff").unwrap();
        let report = report(root.path());
        assert!(!report.is_sound());
        let [train, test] = &report.parts[..] else { panic!("two parts, found {}", report.parts.len()) };
        assert_eq!((test.singletons.clone(), test.best.without_partner), (vec!["a".to_owned()], 1));
        assert!(train.unreadable[0].name == "b/broken.jpg" && train.unreadable[0].problem.contains("truncated"));
        assert_eq!(report.overlaps[0].classes, ["a"]);
        let kinds: Vec<_> = report.duplicates.iter().map(|group| (group.across_parts, group.across_classes)).collect();
        assert_eq!(kinds, [(false, true), (false, false), (true, true)]);
        assert!(train.best.figures[0].1 < 1.0);
        let text = report.to_string();
        assert!(text.contains("1 groups of identical pictures in different parts:\n    train b b/2.png = test c c/seen.png"), "{text}");
    }

    #[test]
    fn long_lists_are_cut_and_reports_are_json() {
        let root = tempfile::tempdir().unwrap();
        (0..12).for_each(|class| save(root.path(), &format!("{class:02}/1.png"), class));
        let report = report(root.path());
        assert!(report.to_string().contains("none of the 12 has another of its class") && !report.to_string().contains("NaN"));
        assert!(report.to_string().contains("12 classes with a single picture:\n    00\n") && report.to_string().contains("and 4 more"));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["parts"][0]["name"], &json["parts"][0]["best"]["without_partner"]), (&"all".into(), &12.into()));
        assert!(json["parts"][0]["best"]["recall@1"].is_null());
    }
}
