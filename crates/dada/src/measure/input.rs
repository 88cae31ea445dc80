//! What somebody names to be measured: models on labelled pictures, or embeddings in files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::data::sources::load_everything;
use crate::data::sources::vectors::VectorDataset;
use crate::data::{DataConfig, Dataset, Source};
use crate::device::DeviceKind;
use crate::error::{Error, Result};
use crate::formats::labels;
use crate::formats::vectors::VectorFile;
use crate::measure::items::{Items, check_same};
use crate::measure::run::expect_run_data;
use crate::measure::subject::Subject;
use crate::progress::{Message, Observer};
use crate::roles::Roles;

/// What is to be measured.
#[derive(Clone, Debug)]
pub enum Input {
    /// Models, on the same pictures.
    Models(Models),
    /// Files of embeddings, of the same rows.
    Vectors(Vectors),
}

/// Models and the pictures that they are measured on.
#[derive(Clone, Debug)]
pub struct Models {
    /// Run folders or model directories. None are needed where `data` are vectors.
    pub folders: Vec<PathBuf>,
    /// The pictures, all of them as one test set, or their queries and gallery; without it, the test classes of the runs, which have to be
    /// the same ones.
    pub data: Option<DataConfig>,
    /// Where to compute embeddings.
    pub device: DeviceKind,
}

/// Embeddings that somebody made, in `.npy`, `.safetensors` or `.parquet` files.
#[derive(Clone, Debug)]
pub struct Vectors {
    /// The files.
    pub embeddings: Vec<PathBuf>,
    /// Labels of the rows of each file; without it, those beside the embeddings.
    pub labels: Option<PathBuf>,
    /// Queries and gallery; without them, those that the file names, or every row in all others.
    pub roles: Option<RoleFiles>,
}

/// Row numbers from 0, in `.npy` or `.txt` files.
#[derive(Clone, Debug)]
pub struct RoleFiles {
    /// Rows that are searched for.
    pub query: PathBuf,
    /// Rows that are searched.
    pub gallery: PathBuf,
}

impl Input {
    /// The models or files that were named.
    pub fn named(&self) -> &[PathBuf] {
        match self {
            Self::Models(models) => &models.folders,
            Self::Vectors(vectors) => &vectors.embeddings,
        }
    }

    /// Reads, and embeds where there are only pictures: at least one subject, in the order in which they were named, all of the same items.
    ///
    /// # Errors
    /// [`Error::Request`] without a model or pictures to measure, [`Error::Format`] for a model or file of other items than the first, and what
    /// reading and embedding refuse.
    pub fn subjects(&self, observer: Observer) -> Result<Vec<Subject>> {
        match self {
            Self::Vectors(vectors) => vectors.subjects(),
            Self::Models(models) => models.subjects(observer),
        }
    }
}

impl Models {
    fn subjects(&self, observer: Observer) -> Result<Vec<Subject>> {
        if let Some(config) = self.data.as_ref().filter(|config| config.source == Source::Features) {
            return Ok(vec![self.vectors(&config.path, observer)?]);
        }
        let Some(first) = self.folders.first() else {
            return Err(Error::Request("name a run folder or model directory: only vectors are measured without one".to_owned()));
        };
        let (pictures, roles) = self.test_set(first, observer)?;
        if self.data.is_none() {
            for other in &self.folders[1..] {
                let (found, found_roles) = self.test_set(other, observer)?;
                let wanted = Items::of_dataset(&pictures, roles.as_ref());
                check_same((first, &wanted), (other, &Items::of_dataset(&found, found_roles.as_ref())))?;
            }
        }
        let (pictures, on) = (Arc::new(pictures), self.place());
        let embedded = |folder: &PathBuf| Subject::embedded(folder, &pictures, roles.clone(), &on, self.device, observer);
        self.folders.iter().map(embedded).collect()
    }

    /// A data source of vectors needs no model.
    fn vectors(&self, path: &Path, observer: Observer) -> Result<Subject> {
        match self.folders.len() {
            0 => {}
            1 => observer(Message::Note(format!("the vectors of {} are measured as they are: the model is not used", path.display()))),
            several => {
                let problem = format!("{several} models need pictures to be measured on, and only vectors are here");
                return Err(Error::format(path, problem));
            }
        }
        Subject::from_vectors(path, VectorDataset::read(path)?, None)
    }

    /// What is measured where this model is.
    fn test_set(&self, folder: &Path, observer: Observer) -> Result<(Dataset, Option<Roles>)> {
        if let Some(config) = &self.data {
            let (pictures, roles, notes) = load_everything(config)?;
            notes.into_iter().for_each(|note| observer(Message::Note(note)));
            return Ok((pictures, roles));
        }
        let loaded = expect_run_data(folder)?;
        if loaded.splits.test.samples.is_empty() {
            let problem = "the run's data have no test classes: --data names the pictures to measure on";
            return Err(Error::Request(problem.to_owned()));
        }
        Ok((loaded.splits.test, loaded.roles))
    }

    /// The pictures, for a heading.
    fn place(&self) -> String {
        match &self.data {
            None => "its test classes".to_owned(),
            Some(config) if config.source == Source::Emoji => "the emoji".to_owned(),
            Some(config) => config.path.display().to_string(),
        }
    }
}

impl Vectors {
    fn subjects(&self) -> Result<Vec<Subject>> {
        let mut subjects: Vec<Subject> = Vec::new();
        for path in &self.embeddings {
            let subject = self.subject(path)?;
            if let Some(first) = subjects.first() {
                check_same((first.path(), &first.items()), (path, &subject.items()))?;
            }
            subjects.push(subject);
        }
        Ok(subjects)
    }

    fn subject(&self, path: &Path) -> Result<Subject> {
        let found = read_vectors(path, self.labels.as_deref())?;
        let roles = match &self.roles {
            None => None,
            Some(files) => Some(Roles { query: labels::read_indices(&files.query)?, gallery: labels::read_indices(&files.gallery)? }),
        };
        Subject::from_vectors(path, found, roles)
    }
}

/// Vectors with the labels of a file of their own, or without one with those beside them.
///
/// # Errors
/// As [`VectorDataset::read`] and [`labels::read_labels`], and for another number of labels than of rows.
pub fn read_vectors(path: &Path, given: Option<&Path>) -> Result<VectorDataset> {
    let Some(given) = given else { return VectorDataset::read(path) };
    let VectorFile { values, shape: [rows, dim], .. } = VectorFile::read(path)?;
    let found = labels::read_labels(given)?;
    if found.len() != rows {
        let problem = format!("found {} labels, expected {rows}, one for each row of {}", found.len(), path.display());
        return Err(Error::format(given, problem));
    }
    let (classes, labels) = labels::number_classes(found);
    let names = (0..rows).map(|row| row.to_string()).collect();
    Ok(VectorDataset { values, dim, labels, classes, names, roles: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::vectors::Writer;
    use crate::progress::UNOBSERVED;

    fn write(path: &Path, classes: [&str; 3]) {
        let mut writer = Writer::create(path).unwrap();
        let rows = [("x", classes[0]), ("y", classes[1]), ("z", classes[2])];
        writer.write(&[1.0, 0.0, 0.9, 0.1, 0.0, 1.0], &rows).unwrap();
        writer.finish().unwrap();
    }

    #[test]
    fn files_are_measured_with_their_own_or_other_labels_and_roles() {
        let folder = tempfile::tempdir().unwrap();
        let [x, y, labels, query, gallery] = ["x.npy", "y.npy", "y.txt", "q.txt", "g.txt"].map(|name| folder.path().join(name));
        write(&x, ["a", "a", "b"]);
        write(&y, ["a", "b", "b"]);
        let mut input = Vectors { embeddings: vec![x.clone()], labels: None, roles: None };
        let own = Input::Vectors(input.clone()).subjects(UNOBSERVED).unwrap();
        assert_eq!((own[0].task.labels(), own[0].task.roles()), ([0, 0, 1].as_slice(), None));
        input.embeddings.push(y.clone());
        let problem = input.subjects().err().unwrap().to_string();
        assert!(problem.contains("item 1 to be \"y\" of class \"b\", expected \"y\" of class \"a\""), "{problem}");
        std::fs::write(&labels, "c\nd\nd\n").unwrap();
        std::fs::write(&query, "2\n").unwrap();
        std::fs::write(&gallery, "0\n1\n").unwrap();
        input.labels = Some(labels.clone());
        input.roles = Some(RoleFiles { query, gallery });
        let same = input.subjects().unwrap();
        assert_eq!((same.len(), same[1].task.labels(), same[1].task.queries()), (2, [0, 1, 1].as_slice(), vec![2]));
        std::fs::write(&labels, "c\n").unwrap();
        let problem = input.subjects().err().unwrap().to_string();
        assert!(problem.starts_with(&labels.display().to_string()) && problem.contains("found 1 labels, expected 3"), "{problem}");
    }

    #[test]
    fn a_model_is_asked_for_unless_vectors_are_the_data() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        write(&path, ["a", "a", "b"]);
        let models = |count: usize, data: Option<DataConfig>| {
            Input::Models(Models { folders: vec![folder.path().to_owned(); count], data, device: DeviceKind::default() })
        };
        let vectors = DataConfig { source: Source::Features, path, ..DataConfig::default() };
        assert_eq!(models(0, Some(vectors.clone())).subjects(UNOBSERVED).unwrap()[0].names, ["x", "y", "z"]);
        let told = std::sync::Mutex::new(Vec::new());
        models(1, Some(vectors.clone())).subjects(&|message| told.lock().unwrap().push(message)).unwrap();
        assert!(matches!(&told.lock().unwrap()[..], [Message::Note(note)] if note.ends_with("the model is not used")));
        let problem = |input: Input| input.subjects(UNOBSERVED).err().unwrap().to_string();
        assert!(problem(models(2, Some(vectors))).ends_with("2 models need pictures to be measured on, and only vectors are here"));
        assert!(problem(models(0, None)).starts_with("name a run folder"));
        assert!(problem(models(1, None)).contains("is no run folder"));
    }
}
