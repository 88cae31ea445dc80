//! Which data set, where it is, and which of its classes validate: the `data` section of a configuration.

pub mod cars196;
pub mod cub200;
pub mod emoji;
pub mod folder;
pub mod inshop;
pub mod list;
pub mod omniglot;
pub mod sop;
pub mod vectors;

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::{EnumIter, EnumString, IntoStaticStr, VariantNames};

use crate::data::fetch::offer;
use crate::data::split::{DEFAULT_SHARE, HoldOut, Parts, divide, everything};
use crate::data::{Dataset, Loaded};
use crate::error::{Error, Result};
use crate::roles::Roles;

/// Every data set that can be read. A new one is a file of its own, a line here and a line in `read`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, EnumIter, EnumString, IntoStaticStr, VariantNames)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = Error, parse_err_fn = unknown)]
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
    /// Vectors with labels, see [`vectors`].
    Features,
}

/// The `data` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Which data set.
    pub source: Source,
    /// Its folder or list; empty for the emoji.
    pub path: PathBuf,
    /// The share of classes that tests, where the data set names no test classes.
    pub test_share: f64,
    /// Which training classes validate.
    pub validation: HoldOut,
    /// Train on each class four times: as it is, and turned by each number of quarters, as a class of its own. For characters and signs,
    /// which mean something else when they are turned (Santoro et al., *Meta-Learning with Memory-Augmented Neural Networks*, ICML 2016).
    pub turned_classes: bool,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self { source: Source::Emoji, path: PathBuf::new(), test_share: DEFAULT_SHARE, validation: HoldOut::Own, turned_classes: false }
    }
}

fn unknown(name: &str) -> Error {
    let names = Source::VARIANTS.join(", ");
    Error::Config(format!("found the data source {name:?}, expected one of {names}, then a colon and the path"))
}

impl FromStr for DataConfig {
    type Err = Error;

    /// Reads `SOURCE` or `SOURCE:PATH`, as on the command line.
    fn from_str(text: &str) -> Result<Self> {
        let (name, path) = text.split_once(':').unwrap_or((text, ""));
        let config = Self { source: name.parse()?, path: PathBuf::from(path), ..Self::default() };
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
        for (key, share) in [("test_share", Some(self.test_share)), ("validation.share", self.validation.share())] {
            if let Some(share) = share.filter(|share| !(0.0..1.0).contains(share)) {
                return refuse(format!("data.{key} is {share}, expected 0 up to, but without, 1"));
            }
        }
        match self.validation {
            HoldOut::Fold { index, count } if count < 2 || index >= count => {
                refuse(format!("data.validation is fold {index} of {count}, expected at least 2 folds and an index below their number"))
            }
            HoldOut::Last { classes: 0 } => refuse("data.validation.classes is 0: say data.validation.name = \"nothing\"".to_owned()),
            _ => Ok(()),
        }
    }
}

/// What the source's reader found, before anything is divided or left out.
pub(super) fn read(config: &DataConfig) -> Result<(Parts, Option<Roles>, Vec<String>)> {
    let path = &config.path;
    if config.source != Source::Emoji && !path.exists() {
        let name: &str = config.source.into();
        let is_public = offer(name).is_ok();
        let remedy = if is_public { format!(": `dada data fetch {name}` gets the data or says how") } else { String::new() };
        return Err(Error::Config(format!("data.path is {}, which does not exist{remedy}", path.display())));
    }
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
            let (parts, roles) = list::read(path)?;
            (parts, roles, Vec::new())
        }
        Source::Features => {
            return Err(Error::Config("data.source is \"features\": vectors can be evaluated, training needs pictures".to_owned()));
        }
    })
}

/// Reads a data set and divides it; a part that no ranking can be measured on is empty, and a note says why. No picture is opened.
///
/// # Errors
/// Those of the configuration, of the source's reader and of the division; [`Error::Data`] when no training pictures are left.
pub fn load(config: &DataConfig, seed: u64) -> Result<Loaded> {
    config.check()?;
    let (parts, roles, mut notes) = read(config)?;
    let whole = matches!(parts, Parts::Whole(_));
    let (mut splits, said) = divide(parts, &config.validation, config.test_share, seed)?;
    notes.extend(said);
    if whole && roles.is_some() {
        notes.push("The list's queries and gallery are not used, since it names no test pictures.".to_owned());
    }
    if splits.train.samples.is_empty() {
        return Err(Error::Data(format!("{}: no class with at least two training pictures", config.path.display())));
    }
    let roles = roles.filter(|_| !whole);
    let is_asked = roles.is_some();
    for (name, is_asked, part) in [("validation", false, &mut splits.validation), ("test", is_asked, &mut splits.test)] {
        if let Some(problem) = part.cannot_be_ranked().filter(|_| !is_asked) {
            notes.push(format!("The {name} pictures are not used: {problem}."));
            *part = Dataset::default();
        }
    }
    Ok(Loaded { splits, roles, notes })
}

/// Reads a data set for evaluation alone: every picture of every part, nothing left out; where it says which test pictures ask and which
/// answer, its test part.
///
/// # Errors
/// Those of the configuration and of the source's reader.
pub fn load_everything(config: &DataConfig) -> Result<(Dataset, Option<Roles>, Vec<String>)> {
    config.check()?;
    let (parts, roles, mut notes) = read(config)?;
    let (dataset, roles) = match parts {
        Parts::Whole(dataset) => (dataset, roles),
        Parts::Given { train, validation, test } if roles.is_some() && !test.samples.is_empty() => {
            let others = train.samples.len() + validation.map_or(0, |validation| validation.samples.len());
            notes.push(format!("Queries are searched in the gallery of the test part; its {others} other pictures are not measured."));
            (test, roles)
        }
        Parts::Given { train, validation, test } => {
            let validation = validation.unwrap_or_default();
            (everything(crate::data::Splits { train, validation, test }), None)
        }
    };
    Ok((dataset, roles, notes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::sources::folder::touch;
    use strum::IntoEnumIterator;

    #[test]
    fn every_source_has_its_name() {
        for source in Source::iter() {
            let name: &str = source.into();
            assert_eq!(serde_json::to_value(source).unwrap(), name);
            let argument = if source == Source::Emoji { name.to_owned() } else { format!("{name}:/a:b") };
            let config: DataConfig = argument.parse().unwrap();
            assert_eq!(config.source, source);
            assert!(source == Source::Emoji || config.path == std::path::Path::new("/a:b"));
        }
        assert!("birds:/a".parse::<DataConfig>().unwrap_err().to_string().contains("expected one of emoji, cub200, cars196, sop, inshop"));
        assert!("folder".parse::<DataConfig>().is_err());
    }

    #[test]
    fn a_section_round_trips_and_contradictions_are_refused() {
        let text = "source = \"cub200\"\npath = \"birds\"\ntest_share = 0.2\nturned_classes = false\n\n[validation]\nname = \"from\"\nclass = \"071\"\n";
        let config: DataConfig = toml::from_str(text).unwrap();
        assert_eq!(toml::to_string(&config).unwrap(), text);
        assert!(toml::from_str::<DataConfig>("paht = \"x\"").is_err());
        let refused = |text: &str| toml::from_str::<DataConfig>(text).unwrap().check().unwrap_err().to_string();
        assert!(refused("path = \"x\"").contains("embedded"));
        assert!(refused("source = \"folder\"").contains("data.path"));
        assert!(refused("validation = { name = \"share\", share = 1.0 }").contains("validation.share is 1"));
        assert!(refused("test_share = -0.1").contains("test_share"));
        assert!(refused("validation = { name = \"fold\", index = 3, count = 3 }").contains("fold 3 of 3"));
        assert!(refused("validation = { name = \"last\", classes = 0 }").contains("nothing"));
        assert!(toml::from_str::<DataConfig>("validation = { name = \"last\", class = 1 }").is_err());
    }

    #[test]
    fn a_numbered_tree_validates_from_a_number() {
        let root = tempfile::tempdir().unwrap();
        let files: Vec<String> = (1..=6).flat_map(|class| (0..2).map(move |picture| format!("{class:03}.Bird/{picture}.jpg"))).collect();
        touch(root.path(), &files.iter().map(String::as_str).collect::<Vec<_>>());
        let config = DataConfig { source: Source::Cub200, path: root.path().to_owned(), ..DataConfig::default() };
        for validation in [HoldOut::From { class: "005".into() }, HoldOut::Last { classes: 2 }] {
            let loaded = load(&DataConfig { validation, ..config.clone() }, 0).unwrap();
            assert_eq!(loaded.splits.validation.classes, ["005.Bird", "006.Bird"]);
            assert_eq!((loaded.splits.train.classes.len(), loaded.splits.test.classes.len()), (4, 0));
            assert!(loaded.notes[0].contains("6 of 100 train classes"));
        }
        let folds = |index| {
            load(&DataConfig { validation: HoldOut::Fold { index, count: 3 }, ..config.clone() }, 7).unwrap().splits.validation.classes
        };
        assert_eq!((0..3).flat_map(folds).collect::<std::collections::BTreeSet<_>>().len(), 6);
        let none = load(&DataConfig { validation: HoldOut::Nothing, ..config.clone() }, 0).unwrap();
        assert_eq!((none.splits.train.samples.len(), none.splits.validation.samples.len()), (12, 0));
        assert_eq!(load_everything(&config).unwrap().0.samples.len(), 12);
    }

    #[test]
    fn missing_data_are_named_with_what_helps() {
        let told = |source| {
            let config = DataConfig { source, path: "no/such/place".into(), ..DataConfig::default() };
            let told = load(&config, 0).unwrap_err().to_string();
            assert_eq!(load_everything(&config).unwrap_err().to_string(), told);
            told
        };
        assert!(told(Source::Cub200).ends_with("no/such/place, which does not exist: `dada data fetch cub200` gets the data or says how"));
        assert!(told(Source::Folder).ends_with("data.path is no/such/place, which does not exist"));
    }

    #[test]
    fn emoji_keep_their_parts_unless_told() {
        let own = load(&DataConfig::default(), 0).unwrap().splits;
        let expected = emoji::load().unwrap();
        assert_eq!((own.train.classes, own.validation.classes), (expected.train.classes.clone(), expected.validation.classes.clone()));
        let fold = load(&DataConfig { validation: HoldOut::Fold { index: 0, count: 5 }, ..DataConfig::default() }, 0).unwrap().splits;
        assert_eq!(
            fold.train.classes.len() + fold.validation.classes.len(),
            expected.train.classes.len() + expected.validation.classes.len()
        );
        assert_eq!(fold.test.classes, expected.test.classes);
    }

    #[test]
    #[ignore = "needs pictures that are not in the repository: DADA_SHARED=FOLDER cargo test --release -- --ignored shared_subsets"]
    fn shared_subsets_have_their_published_counts() {
        let shared = PathBuf::from(std::env::var_os("DADA_SHARED").expect("DADA_SHARED names the folder that has data/*.tar"));
        let cases = [
            ("cub_bbox_128_cls001-100.tar", Source::Cub200, "071", [3_786, 1_196]),
            ("cars_bbox_128_cls001-098.tar", Source::Cars196, "069", [2_777, 1_275]),
        ];
        for (archive, source, first, counts) in cases {
            let root = tempfile::tempdir().unwrap();
            tar::Archive::new(std::fs::File::open(shared.join("data").join(archive)).unwrap()).unpack(root.path()).unwrap();
            let validation = HoldOut::From { class: first.into() };
            let config = DataConfig { source, path: root.path().to_owned(), validation, ..DataConfig::default() };
            let splits = load(&config, 0).unwrap().splits;
            assert_eq!([splits.train.samples.len(), splits.validation.samples.len()], counts, "{archive}");
        }
    }
}
