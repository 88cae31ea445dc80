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

use crate::error::Result;

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

impl Dataset {
    /// The data set without classes of a single picture, and how many there were.
    pub fn without_singletons(self) -> (Self, usize) {
        let mut counts = vec![0; self.classes.len()];
        for sample in &self.samples {
            counts[sample.label] += 1;
        }
        let mut renumbered = Vec::new();
        let mut kept = 0;
        for &count in &counts {
            renumbered.push(kept);
            kept += usize::from(count > 1);
        }
        let left_out = counts.iter().filter(|&&count| count == 1).count();
        let classes = self.classes.into_iter().zip(&counts).filter(|(_, count)| **count > 1).map(|(class, _)| class).collect();
        let samples = self.samples.into_iter().filter(|sample| counts[sample.label] > 1);
        let samples = samples.map(|sample| Sample { label: renumbered[sample.label], ..sample }).collect();
        (Self { classes, samples }, left_out)
    }
}

/// Which pictures, and how their classes are split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "kebab-case")]
pub enum DataConfig {
    /// The embedded emoji.
    Emoji,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self::Emoji
    }
}

/// What was loaded, and what the user should know about it.
pub struct Loaded {
    /// The three parts.
    pub splits: Splits,
    /// Sentences for the user.
    pub notes: Vec<String>,
}

/// Loads the pictures of a configuration.
///
/// # Errors
/// When they cannot be read.
pub fn load(config: &DataConfig, _seed: u64) -> Result<Loaded> {
    match config {
        DataConfig::Emoji => Ok(Loaded { splits: emoji::load()?, notes: Vec::new() }),
    }
}
