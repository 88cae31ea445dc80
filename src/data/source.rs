//! Which data set, where it is, and which of its classes validate: the `data` section of a configuration.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::split::{HoldOut, Parts, divide, everything};
use super::{Dataset, Loaded, Roles, cars196, csv, cub200, emoji, folder, inshop, omniglot, sop};
use crate::error::{Error, Result};

/// Every data set that can be read. A new one is a file of its own, a line here and a line in [`read`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The embedded emoji.
    #[default]
    Emoji,
    /// CUB-200-2011.
    Cub200,
    /// CARS196.
    Cars196,
    /// Stanford Online Products.
    Sop,
    /// In-Shop Clothes Retrieval.
    Inshop,
    /// Omniglot.
    Omniglot,
    /// One folder for each class.
    Folder,
    /// A list of pictures.
    Csv,
    /// Vectors with labels, see [`super::features`].
    Features,
}

/// The names of all sources, as configurations spell them.
pub const SOURCES: [(&str, Source); 9] = [
    ("emoji", Source::Emoji),
    ("cub200", Source::Cub200),
    ("cars196", Source::Cars196),
    ("sop", Source::Sop),
    ("inshop", Source::Inshop),
    ("omniglot", Source::Omniglot),
    ("folder", Source::Folder),
    ("csv", Source::Csv),
    ("features", Source::Features),
];

/// The `data` section. At most one of the `validation_…` keys and `folds` may be given; without any, the data set's own validation
/// classes are used, or a fifth of the training classes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Which data set.
    pub source: Source,
    /// Its folder or list; empty for the emoji.
    pub path: PathBuf,
    /// The last so many training classes validate; 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_classes: Option<usize>,
    /// Training classes from this name or number on validate, such as `071`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_from: Option<String>,
    /// A random share of the training classes validates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_fraction: Option<f32>,
    /// Divide the training classes into so many parts at random; part `fold` validates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folds: Option<usize>,
    /// Which of `folds`, from 0.
    pub fold: usize,
    /// The share of classes that tests, where the data set names no test classes; a fifth when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_fraction: Option<f32>,
}

const DEFAULT_SHARE: f32 = 0.2;

impl FromStr for DataConfig {
    type Err = Error;

    /// Reads `SOURCE` or `SOURCE:PATH`, as on the command line.
    fn from_str(text: &str) -> Result<Self> {
        let (name, path) = text.split_once(':').unwrap_or((text, ""));
        let known = SOURCES.iter().find(|(known, _)| *known == name).map(|&(_, source)| source);
        let source = known.ok_or_else(|| {
            let names = SOURCES.map(|(known, _)| known);
            Error::Config(format!("found the data source {name:?}, expected one of {}, then a colon and the path", names.join(", ")))
        })?;
        let config = Self { source, path: PathBuf::from(path), ..Self::default() };
        config.check()?;
        Ok(config)
    }
}

impl DataConfig {
    /// Refuses combinations that make no sense.
    ///
    /// # Errors
    /// [`Error::Config`] that names the keys.
    pub fn check(&self) -> Result<()> {
        let refuse = |problem: String| Err(Error::Config(problem));
        if (self.source == Source::Emoji) != self.path.as_os_str().is_empty() {
            return refuse(format!("data.path is {:?}: the emoji are embedded, and every other source needs a path", self.path));
        }
        let given = [
            ("validation_classes", self.validation_classes.is_some()),
            ("validation_from", self.validation_from.is_some()),
            ("validation_fraction", self.validation_fraction.is_some()),
            ("folds", self.folds.is_some()),
        ];
        let given: Vec<&str> = given.into_iter().filter_map(|(key, given)| given.then_some(key)).collect();
        if given.len() > 1 {
            return refuse(format!("data.{} exclude each other: give one", given.join(", data.")));
        }
        for (key, share) in [("validation_fraction", self.validation_fraction), ("test_fraction", self.test_fraction)] {
            if share.is_some_and(|share| !(0.0..1.0).contains(&share)) {
                return refuse(format!("data.{key} is {share:?}, expected 0 up to, but without, 1"));
            }
        }
        if let Some(folds) = self.folds
            && (folds < 2 || self.fold >= folds)
        {
            return refuse(format!(
                "data.fold is {} of data.folds = {folds}, expected at least 2 folds and a number below theirs",
                self.fold
            ));
        }
        Ok(())
    }

    fn validation(&self) -> Option<HoldOut> {
        let last = self.validation_classes.map(|last| if last == 0 { HoldOut::Nothing } else { HoldOut::Last(last) });
        last.or_else(|| self.validation_from.clone().map(HoldOut::From))
            .or_else(|| self.validation_fraction.map(HoldOut::Share))
            .or_else(|| self.folds.map(|count| HoldOut::Fold { index: self.fold, count }))
    }
}

fn read(config: &DataConfig) -> Result<(Parts, Option<Roles>, Vec<String>)> {
    let path = &config.path;
    let plain = |(parts, notes): (Parts, Vec<String>)| (parts, None, notes);
    Ok(match config.source {
        Source::Emoji => {
            let splits = emoji::load()?;
            (Parts::Given { train: splits.train, validation: Some(splits.validation), test: splits.test }, None, Vec::new())
        }
        Source::Cub200 => plain(cub200::read(path)?),
        Source::Cars196 => plain(cars196::read(path)?),
        Source::Sop => plain(sop::read(path)?),
        Source::Inshop => {
            let (parts, roles, notes) = inshop::read(path)?;
            (parts, Some(roles), notes)
        }
        Source::Omniglot => plain(omniglot::read(path)?),
        Source::Folder => (folder::read(path)?, None, Vec::new()),
        Source::Csv => {
            let (parts, roles) = csv::read(path)?;
            (parts, roles, Vec::new())
        }
        Source::Features => {
            return Err(Error::Config("data.source is \"features\": vectors can be evaluated, training needs pictures".to_owned()));
        }
    })
}

/// Reads a data set and divides it. No picture is opened.
///
/// # Errors
/// Those of the configuration, of the source's reader and of the division; [`Error::Data`] when no training pictures are left.
pub fn load(config: &DataConfig, seed: u64) -> Result<Loaded> {
    config.check()?;
    let (parts, roles, mut notes) = read(config)?;
    let whole = matches!(parts, Parts::Whole(_));
    let test_share = config.test_fraction.unwrap_or(DEFAULT_SHARE);
    let (splits, said) = divide(parts, config.validation().as_ref(), DEFAULT_SHARE, test_share, seed)?;
    notes.extend(said);
    if whole && roles.is_some() {
        notes.push("The list's queries and gallery are not used, since it names no test pictures.".to_owned());
    }
    if splits.train.samples.is_empty() {
        return Err(Error::Data(format!("{}: no class with at least two training pictures", config.path.display())));
    }
    Ok(Loaded { splits, roles: roles.filter(|_| !whole), notes })
}

/// Reads a data set for evaluation alone: every picture of every part, nothing left out.
///
/// Roles are kept when all pictures are in one part.
///
/// # Errors
/// Those of the configuration and of the source's reader.
pub fn load_everything(config: &DataConfig) -> Result<(Dataset, Option<Roles>, Vec<String>)> {
    config.check()?;
    let (parts, roles, notes) = read(config)?;
    let dataset = match parts {
        Parts::Whole(dataset) => dataset,
        Parts::Given { train, validation, test } => {
            let validation = validation.unwrap_or_default();
            everything(super::Splits { train, validation, test })
        }
    };
    let roles = roles.filter(|roles| roles.query.len() == dataset.samples.len());
    Ok((dataset, roles, notes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::folder::touch;

    #[test]
    fn every_source_has_its_name() {
        for (name, source) in SOURCES {
            assert_eq!(serde_json::to_value(source).unwrap(), name);
            let argument = if source == Source::Emoji { name.to_owned() } else { format!("{name}:/a:b") };
            let config: DataConfig = argument.parse().unwrap();
            assert_eq!(config.source, source);
            assert!(source == Source::Emoji || config.path == PathBuf::from("/a:b"));
        }
        assert!("birds:/a".parse::<DataConfig>().unwrap_err().to_string().contains("expected one of emoji, cub200"));
        assert!("folder".parse::<DataConfig>().is_err());
    }

    #[test]
    fn a_section_round_trips_and_contradictions_are_refused() {
        let text = "source = \"cub200\"\npath = \"birds\"\nvalidation_from = \"071\"\nfold = 0\n";
        let config: DataConfig = toml::from_str(text).unwrap();
        assert_eq!(toml::to_string(&config).unwrap(), text);
        assert!(toml::from_str::<DataConfig>("paht = \"x\"").is_err());
        let refused = |text: &str| toml::from_str::<DataConfig>(text).unwrap().check().unwrap_err().to_string();
        assert!(refused("path = \"x\"").contains("embedded"));
        assert!(refused("source = \"folder\"").contains("data.path"));
        assert!(refused("validation_classes = 3\nfolds = 2").contains("data.validation_classes, data.folds exclude each other"));
        assert!(refused("validation_fraction = 1.0").contains("validation_fraction"));
        assert!(refused("folds = 3\nfold = 3").contains("data.fold is 3"));
    }

    #[test]
    fn a_numbered_tree_validates_from_a_number() {
        let root = tempfile::tempdir().unwrap();
        let files: Vec<String> = (1..=6).flat_map(|class| (0..2).map(move |picture| format!("{class:03}.Bird/{picture}.jpg"))).collect();
        touch(root.path(), &files.iter().map(String::as_str).collect::<Vec<_>>());
        let config = DataConfig { source: Source::Cub200, path: root.path().to_owned(), ..DataConfig::default() };
        for config in [
            DataConfig { validation_from: Some("005".into()), ..config.clone() },
            DataConfig { validation_classes: Some(2), ..config.clone() },
        ] {
            let loaded = load(&config, 0).unwrap();
            assert_eq!(loaded.splits.validation.classes, ["005.Bird", "006.Bird"]);
            assert_eq!((loaded.splits.train.classes.len(), loaded.splits.test.classes.len()), (4, 0));
            assert!(loaded.notes[0].contains("6 of 100 train classes"));
        }
        let folds = |fold| load(&DataConfig { folds: Some(3), fold, ..config.clone() }, 7).unwrap().splits.validation.classes;
        assert_eq!((0..3).flat_map(folds).collect::<std::collections::BTreeSet<_>>().len(), 6);
        let none = load(&DataConfig { validation_classes: Some(0), ..config.clone() }, 0).unwrap();
        assert_eq!((none.splits.train.samples.len(), none.splits.validation.samples.len()), (12, 0));
        assert_eq!(load_everything(&config).unwrap().0.samples.len(), 12);
    }

    #[test]
    fn emoji_keep_their_parts_unless_told() {
        let own = load(&DataConfig::default(), 0).unwrap().splits;
        let expected = emoji::load().unwrap();
        assert_eq!((own.train.classes, own.validation.classes), (expected.train.classes.clone(), expected.validation.classes.clone()));
        let fold = load(&DataConfig { folds: Some(5), ..DataConfig::default() }, 0).unwrap().splits;
        assert_eq!(
            fold.train.classes.len() + fold.validation.classes.len(),
            expected.train.classes.len() + expected.validation.classes.len()
        );
        assert_eq!(fold.test.classes, expected.test.classes);
    }
}
