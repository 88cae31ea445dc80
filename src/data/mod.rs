//! Pictures and their labels.

pub mod augment;
mod auto_augment;
pub mod cars196;
pub mod ceiling;
pub mod check;
mod color;
pub mod csv;
pub mod cub200;
pub mod decode;
pub mod emoji;
pub mod features;
pub mod fetch;
pub mod folder;
pub mod inputs;
pub mod inshop;
pub mod labels;
pub mod loader;
mod mat;
mod npy;
pub mod omniglot;
mod parquet;
pub mod preprocess;
pub mod sampler;
pub mod sop;
pub mod source;
pub mod split;
mod table;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Result;

pub use source::{DataConfig, Source, load};
pub use split::HoldOut;

/// One of the three parts of a data set; classes never cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// What the network learns from.
    Train,
    /// What chooses between epochs and settings.
    Validation,
    /// What is looked at once, at the end.
    Test,
}

/// Where a picture's pixels come from.
#[derive(Clone, Debug)]
pub enum Pixels {
    /// A picture file, decoded when it is needed.
    File(PathBuf),
    /// Decoded already.
    Memory(Arc<image::RgbImage>),
}

/// A labelled picture.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The picture.
    pub pixels: Pixels,
    /// Index into [`Dataset::classes`].
    pub label: usize,
    /// What reports call this picture, e.g. `grinning-face/noto` or a path.
    pub name: String,
}

/// One part of a data set.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    /// Class names; labels index them.
    pub classes: Vec<String>,
    /// The pictures.
    pub samples: Vec<Sample>,
}

/// The three parts of a data set; each counts its labels from 0.
#[derive(Clone, Debug, Default)]
pub struct Splits {
    /// What the network learns from.
    pub train: Dataset,
    /// What chooses between epochs and settings.
    pub validation: Dataset,
    /// What is looked at once, at the end.
    pub test: Dataset,
}

impl Dataset {
    /// A data set from pictures with class names; classes are numbered in the order in which they first come.
    pub fn from_pictures(pictures: impl IntoIterator<Item = Picture>) -> Self {
        let mut dataset = Self::default();
        let mut labels = HashMap::new();
        for Picture { class, pixels, name } in pictures {
            let label = *labels.entry(class).or_insert_with_key(|class| {
                dataset.classes.push(class.clone());
                dataset.classes.len() - 1
            });
            dataset.samples.push(Sample { pixels, label, name });
        }
        dataset
    }

    /// How many pictures each class has.
    pub fn class_sizes(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.classes.len()];
        for sample in &self.samples {
            sizes[sample.label] += 1;
        }
        sizes
    }

    /// The label of each picture.
    pub fn labels(&self) -> Vec<usize> {
        self.samples.iter().map(|sample| sample.label).collect()
    }

    /// The pictures of both; a class of the same name is one class.
    pub fn joined(self, other: Self) -> Self {
        let pictures = |dataset: Self| {
            let Self { classes, samples } = dataset;
            samples.into_iter().map(move |Sample { pixels, label, name }| Picture { class: classes[label].clone(), pixels, name })
        };
        Self::from_pictures(pictures(self).chain(pictures(other)))
    }

    /// The classes whose number passes, and the others.
    pub fn divided(self, passes: impl Fn(usize) -> bool) -> (Self, Self) {
        let (mut yes, mut no) = (Self::default(), Self::default());
        let mut places = Vec::with_capacity(self.classes.len());
        for (label, class) in self.classes.into_iter().enumerate() {
            let part = if passes(label) { &mut yes } else { &mut no };
            places.push((passes(label), part.classes.len()));
            part.classes.push(class);
        }
        for sample in self.samples {
            let (passed, label) = places[sample.label];
            let part = if passed { &mut yes } else { &mut no };
            part.samples.push(Sample { label, ..sample });
        }
        (yes, no)
    }

    /// The data set without classes of a single picture, and how many there were.
    pub fn without_singletons(self) -> (Self, usize) {
        let sizes = self.class_sizes();
        let (kept, left_out) = self.divided(|class| sizes[class] >= 2);
        (kept, left_out.classes.len())
    }
}

/// A picture whose class still goes by its name.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The class.
    pub class: String,
    /// The picture.
    pub pixels: Pixels,
    /// What reports call it.
    pub name: String,
}

impl Picture {
    /// A picture in a file below `root`; reports leave the root out.
    pub fn below(root: &Path, path: &str, class: impl Into<String>) -> Self {
        Self { class: class.into(), pixels: Pixels::File(root.join(path)), name: path.to_owned() }
    }
}

/// Which test pictures ask and which answer, where a data set says so. Otherwise every picture does both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Whether each test picture is a query.
    pub query: Vec<bool>,
    /// Whether each test picture is in the gallery.
    pub gallery: Vec<bool>,
}

/// A data set as its reader understood it.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The parts.
    pub splits: Splits,
    /// Roles of the test pictures, in their order.
    pub roles: Option<Roles>,
    /// What the user should know, as whole sentences.
    pub notes: Vec<String>,
}

impl Splits {
    /// The part that a split names.
    pub fn part_mut(&mut self, split: Split) -> &mut Dataset {
        match split {
            Split::Train => &mut self.train,
            Split::Validation => &mut self.validation,
            Split::Test => &mut self.test,
        }
    }
}

impl Sample {
    /// The decoded picture.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn picture(&self) -> Result<Arc<image::RgbImage>> {
        match &self.pixels {
            Pixels::File(path) => decode::decode(path).map(Arc::new),
            Pixels::Memory(picture) => Ok(picture.clone()),
        }
    }
}
