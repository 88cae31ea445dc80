//! What is measured: embeddings with all that is known about each row.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;

use crate::data::Dataset;
use crate::data::pictures::decode::decode;
use crate::data::sources::vectors::VectorDataset;
use crate::device::DeviceKind;
use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::evaluate::Task;
use crate::formats::vectors::VectorFile;
use crate::measure::embedding::embed_dataset;
use crate::measure::items::Items;
use crate::progress::Observer;
use crate::roles::Roles;

/// Embeddings with all that is known about them.
pub struct Subject {
    /// Embeddings, classes and roles.
    pub task: Task,
    /// Class names; labels index them.
    pub classes: Vec<String>,
    /// What each row is called.
    pub names: Vec<String>,
    /// What was measured, on what.
    pub about: String,
    /// Where the embeddings come from.
    pub origin: Origin,
}

/// Where embeddings come from.
pub enum Origin {
    /// A model made them.
    Model {
        /// Its run folder or model directory.
        folder: PathBuf,
        /// Where they were computed.
        device: DeviceKind,
        /// What they were made of.
        pictures: Arc<Dataset>,
    },
    /// They were read from a file.
    File {
        /// The file.
        path: PathBuf,
        /// The folder from which the rows' names lead to pictures, where there is one.
        pictures: Option<PathBuf>,
    },
}

impl Subject {
    /// The pictures of a data set under the model of a folder.
    ///
    /// # Errors
    /// As [`embed_dataset`] and [`Task::new`].
    pub fn embedded(
        folder: &Path,
        pictures: &Arc<Dataset>,
        roles: Option<Roles>,
        on: &str,
        device: DeviceKind,
        observer: Observer,
    ) -> Result<Self> {
        let embeddings = embed_dataset(folder, pictures, device, observer)?;
        Ok(Self {
            task: Task::new(embeddings, pictures.labels(), roles)?,
            classes: pictures.classes.clone(),
            names: pictures.samples.iter().map(|sample| sample.name.clone()).collect(),
            about: format!("{} on {on}", folder.display()),
            origin: Origin::Model { folder: folder.to_owned(), device, pictures: pictures.clone() },
        })
    }

    /// The vectors of a file; `roles` are put in the place of those that the file names.
    ///
    /// # Errors
    /// As [`Embeddings::new`] and [`Task::new`].
    pub fn from_vectors(path: &Path, found: VectorDataset, roles: Option<Roles>) -> Result<Self> {
        let embeddings = Embeddings::new(found.values, found.labels.len(), found.dim)?;
        let pictures = folder_of_pictures(path, &found.names);
        Ok(Self {
            task: Task::new(embeddings, found.labels, roles.or(found.roles))?,
            classes: found.classes,
            names: found.names,
            about: path.display().to_string(),
            origin: Origin::File { path: path.to_owned(), pictures },
        })
    }

    /// The run folder, model directory or file that the embeddings come from.
    pub fn path(&self) -> &Path {
        match &self.origin {
            Origin::Model { folder, .. } => folder,
            Origin::File { path, .. } => path,
        }
    }

    /// What is ranked, for comparison with what another subject ranks.
    pub fn items(&self) -> Items<'_> {
        Items {
            names: self.names.iter().map(String::as_str).collect(),
            classes: self.task.labels().iter().map(|&label| self.classes[label].as_str()).collect(),
            roles: self.task.roles(),
        }
    }

    /// Whether pictures can be shown.
    pub fn has_pictures(&self) -> bool {
        !matches!(self.origin, Origin::File { pictures: None, .. })
    }

    /// The picture of a row.
    ///
    /// # Errors
    /// When there are no pictures, or this one cannot be read.
    pub fn picture(&self, row: usize) -> Result<Arc<RgbImage>> {
        match &self.origin {
            Origin::Model { pictures, .. } => pictures.samples[row].picture(),
            Origin::File { pictures: Some(folder), .. } => decode(&folder.join(&self.names[row])).map(Arc::new),
            Origin::File { pictures: None, .. } => Err(Error::Data("only vectors are here".into())),
        }
    }

    /// The same items under another model, or under the embeddings of a file with the same rows.
    ///
    /// # Errors
    /// For another number of rows, for a model where there are only vectors, and as [`embed_dataset`].
    pub fn under(&self, other: &Path, observer: Observer) -> Result<Task> {
        if !other.is_dir() {
            let VectorFile { values, shape: [rows, dim], .. } = VectorFile::read(other)?;
            return self.task.with(Embeddings::new(values, rows, dim)?);
        }
        match &self.origin {
            Origin::Model { device, pictures, .. } => self.task.with(embed_dataset(other, pictures, *device, observer)?),
            Origin::File { .. } => Err(Error::format(other, "a model needs pictures to be compared on, and only vectors are here")),
        }
    }
}

/// Names of rows may be paths of pictures: from the working directory, or from the file that lists them.
fn folder_of_pictures(file: &Path, names: &[String]) -> Option<PathBuf> {
    let first = names.first()?;
    let beside = file.parent().unwrap_or(Path::new("")).to_owned();
    [PathBuf::new(), beside].into_iter().find(|folder| folder.join(first).is_file())
}

/// Thirty rows of three classes, on three arcs that overlap; `turn` says how.
#[cfg(test)]
pub(super) fn overlapping_arcs(name: &str, turn: f32) -> Subject {
    let angle = |row: usize| (row % 3) as f32 * 0.8 + (row as f32 * turn).sin();
    let found = VectorDataset {
        values: (0..30).flat_map(|row| [angle(row).cos(), angle(row).sin()]).collect(),
        dim: 2,
        labels: (0..30).map(|row| row % 3).collect(),
        classes: ["a", "b", "c"].map(str::to_owned).to_vec(),
        names: (0..30).map(|row| row.to_string()).collect(),
        roles: None,
    };
    Subject::from_vectors(Path::new(name), found, None).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::UNOBSERVED;

    fn vectors(path: &Path, names: [&str; 3]) -> Subject {
        let found = VectorDataset {
            values: vec![1.0, 0.0, 1.0, 0.1, 0.0, 1.0],
            dim: 2,
            labels: vec![0, 0, 1],
            classes: vec!["a".into(), "b".into()],
            names: names.map(str::to_owned).to_vec(),
            roles: Some(Roles { query: vec![0], gallery: vec![1, 2] }),
        };
        Subject::from_vectors(path, found, None).unwrap()
    }

    #[test]
    fn names_that_are_pictures_are_found_beside_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        RgbImage::from_pixel(2, 2, image::Rgb([9; 3])).save(folder.path().join("0.png")).unwrap();
        let subject = vectors(&path, ["0.png", "1.png", "2.png"]);
        assert!(subject.has_pictures() && subject.picture(0).unwrap().width() == 2 && subject.picture(1).is_err());
        assert!(!vectors(&path, ["0", "1", "2"]).has_pictures());
        assert_eq!(subject.items().classes, ["a", "a", "b"]);
        assert_eq!(subject.items().roles.unwrap().gallery, [1, 2]);
    }

    #[test]
    fn vectors_are_not_compared_with_a_model() {
        let folder = tempfile::tempdir().unwrap();
        let subject = vectors(&folder.path().join("x.npy"), ["0", "1", "2"]);
        let problem = subject.under(folder.path(), UNOBSERVED).unwrap_err().to_string();
        assert!(problem.ends_with("a model needs pictures to be compared on, and only vectors are here"), "{problem}");
    }
}
