//! Pictures and their labels.

pub mod augment;
mod auto_augment;
mod color;
pub mod decode;
pub mod emoji;
pub mod loader;
pub mod preprocess;
pub mod sampler;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

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
