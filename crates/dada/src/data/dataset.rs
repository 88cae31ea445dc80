//! Labelled pictures, and the parts that a data set is divided into.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::imageops::{rotate90, rotate180, rotate270};
use serde::{Deserialize, Serialize};
use strum::EnumString;

use crate::data::pictures::decode::{MAX_FILE_BYTES, decode, decode_bytes};
use crate::error::Result;
use crate::formats::file::read_bounded;
use crate::roles::Roles;

/// One of the three parts of a data set; classes never cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumString)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
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
    /// A picture file's content, decoded when it is needed.
    Bytes {
        /// What errors call it.
        name: PathBuf,
        /// As the file would have them.
        bytes: Arc<[u8]>,
    },
    /// Decoded already.
    Memory(Arc<image::RgbImage>),
    /// Others, turned clockwise by so many quarters.
    Turned(Box<Pixels>, u8),
}

impl Pixels {
    /// The decoded picture.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn picture(&self) -> Result<Arc<image::RgbImage>> {
        Ok(match self {
            Self::File(path) => Arc::new(decode(path)?),
            Self::Bytes { name, bytes } => Arc::new(decode_bytes(bytes, name)?),
            Self::Memory(picture) => picture.clone(),
            Self::Turned(pixels, quarters) => {
                let picture = pixels.picture()?;
                match quarters % 4 {
                    0 => picture,
                    1 => Arc::new(rotate90(&*picture)),
                    2 => Arc::new(rotate180(&*picture)),
                    _ => Arc::new(rotate270(&*picture)),
                }
            }
        })
    }

    /// The file, or what stands for it; none for a picture in memory.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Bytes { name: path, .. } => Some(path),
            Self::Turned(pixels, _) => pixels.path(),
            Self::Memory(_) => None,
        }
    }

    /// A number that pictures of equal content share, and next to no others do: eight bytes of a checksum of the file or, for a picture in
    /// memory, of its pixels. A turned picture has the number of the one that is turned.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn content(&self) -> Result<u64> {
        let hash = match self {
            Self::File(path) => blake3::hash(&read_bounded(path, MAX_FILE_BYTES)?),
            Self::Bytes { bytes, .. } => blake3::hash(bytes),
            Self::Memory(picture) => blake3::hash(picture.as_raw()),
            Self::Turned(pixels, _) => return pixels.content(),
        };
        Ok(u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight of thirty-two bytes")))
    }
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

    /// Why a ranking of these pictures would say nothing, if it would not: they are of one class, or none has another of its class. No pictures
    /// at all are no such case.
    pub fn cannot_be_ranked(&self) -> Option<String> {
        let sizes = self.class_sizes();
        let most = sizes.iter().copied().max().unwrap_or(0);
        if most > 1 && most == self.samples.len() {
            let class = sizes.iter().position(|&size| size == most).map_or("", |class| &self.classes[class]);
            Some(format!("all {most} are of the class {class:?}"))
        } else if most == 1 {
            Some(format!("none of the {} has another of its class", self.samples.len()))
        } else {
            None
        }
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

    /// The data set with each class four times: as it is, and turned by one, two and three quarters, each a class of its own.
    pub fn with_turned_classes(self) -> Self {
        let turned = |quarters: u8| {
            let suffix = if quarters == 0 { String::new() } else { format!(" turned by {}°", 90 * u16::from(quarters)) };
            let (classes, samples) = (&self.classes, &self.samples);
            samples.iter().map(move |Sample { pixels, label, name }| Picture {
                class: format!("{}{suffix}", classes[*label]),
                pixels: if quarters == 0 { pixels.clone() } else { Pixels::Turned(Box::new(pixels.clone()), quarters) },
                name: format!("{name}{suffix}"),
            })
        };
        Self::from_pictures((0..4).flat_map(turned))
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

/// A data set as its reader understood it.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The parts.
    pub splits: Splits,
    /// Roles of the test pictures, where the data set names queries and gallery.
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
        self.pixels.picture()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    #[test]
    fn turned_classes_are_classes_of_their_own() {
        let picture = RgbImage::from_fn(2, 2, |x, y| Rgb([(2 * y + x) as u8; 3]));
        let pixels = Pixels::Memory(Arc::new(picture));
        let pictures = ["a", "b", "a"].map(|class| Picture { class: class.to_owned(), pixels: pixels.clone(), name: "p".to_owned() });
        let turned = Dataset::from_pictures(pictures).with_turned_classes();
        assert_eq!(
            turned.classes,
            [
                "a",
                "b",
                "a turned by 90°",
                "b turned by 90°",
                "a turned by 180°",
                "b turned by 180°",
                "a turned by 270°",
                "b turned by 270°"
            ]
        );
        assert_eq!(turned.class_sizes(), [2, 1, 2, 1, 2, 1, 2, 1]);
        let corners = |sample: &Sample| sample.picture().unwrap().pixels().map(|pixel| pixel[0]).collect::<Vec<_>>();
        let seen: Vec<Vec<u8>> = turned.samples.iter().step_by(3).map(corners).collect();
        assert_eq!(seen, [[0, 1, 2, 3], [2, 0, 3, 1], [3, 2, 1, 0], [1, 3, 0, 2]]);
        assert_eq!(turned.samples[3].name, "p turned by 90°");
    }

    #[test]
    fn equal_pictures_have_equal_content() {
        let folder = tempfile::tempdir().unwrap();
        let save = |name: &str, value: u8| {
            let path = folder.path().join(name);
            RgbImage::from_pixel(2, 2, Rgb([value; 3])).save(&path).unwrap();
            Pixels::File(path).content().unwrap()
        };
        assert!(save("a.png", 1) == save("b.png", 1) && save("c.png", 1) != save("d.png", 2));
        let memory = |value: u8| Pixels::Memory(Arc::new(RgbImage::from_pixel(2, 2, Rgb([value; 3]))));
        let turned = Pixels::Turned(Box::new(memory(1)), 1);
        assert_eq!(memory(1).content().unwrap(), turned.content().unwrap());
        assert_ne!(memory(1).content().unwrap(), memory(2).content().unwrap());
        assert!(Pixels::File(folder.path().join("none.png")).content().is_err());
    }
}
