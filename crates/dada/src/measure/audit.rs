//! Looks for what would spoil a result in a run's own splits, in pictures under a model, or in anybody's embeddings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::data::sources::load_everything;
use crate::data::{DataConfig, Dataset};
use crate::device::DeviceKind;
use crate::embeddings::Embeddings;
use crate::error::Result;
use crate::evaluate::Task;
use crate::evaluate::audit::{self, Audit, AuditedSplit};
use crate::measure::embedding::embed_dataset;
use crate::measure::input::read_vectors;
use crate::measure::run::expect_run_data;
use crate::progress::{Message, Observer};

/// What is looked at.
#[derive(Clone, Debug)]
pub enum AuditInput {
    /// A run's own splits, or pictures under a model.
    Model {
        /// Run folder or model directory.
        folder: PathBuf,
        /// The pictures; without it, the splits of the run.
        data: Option<DataConfig>,
        /// Where to compute embeddings.
        device: DeviceKind,
    },
    /// The splits of one data set, each a file of embeddings.
    Vectors(Vec<LabelledVectors>),
}

/// A file of embeddings, with labels.
#[derive(Clone, Debug)]
pub struct LabelledVectors {
    /// `.npy`, `.safetensors` or `.parquet`.
    pub embeddings: PathBuf,
    /// Labels of its rows; without it, those beside the embeddings.
    pub labels: Option<PathBuf>,
}

/// One split.
struct Part {
    name: String,
    task: Task,
    classes: Vec<String>,
    names: Vec<String>,
    /// Lengths of the vectors, where they are not all 1.
    norms: Option<Vec<f64>>,
    /// What equal pictures have in common.
    contents: Option<Vec<u64>>,
}

/// Audits: `ks` are those of recall@k in ceilings, `threshold` is the cosine from which on items of two splits are nearly the same.
///
/// # Errors
/// When something cannot be read or embedded, and as [`audit::audit`].
pub fn audit(input: &AuditInput, ks: &[usize], threshold: f64, observer: Observer) -> Result<Audit> {
    let parts = match input {
        AuditInput::Vectors(files) => files.iter().map(vectors).collect::<Result<Vec<Part>>>()?,
        AuditInput::Model { folder, data, device } => pictures(folder, data.as_ref(), *device, observer)?,
    };
    let views: Vec<AuditedSplit> = parts
        .iter()
        .map(|part| AuditedSplit {
            name: &part.name,
            task: &part.task,
            classes: &part.classes,
            names: &part.names,
            norms: part.norms.as_deref(),
            contents: part.contents.as_deref(),
        })
        .collect();
    audit::audit(&views, ks, threshold)
}

fn vectors(file: &LabelledVectors) -> Result<Part> {
    let path = &file.embeddings;
    let found = read_vectors(path, file.labels.as_deref())?;
    let norm = |row: &[f32]| row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    let norms = found.values.chunks_exact(found.dim.max(1)).map(norm).collect();
    let rows = found.labels.len();
    Ok(Part {
        name: path.file_stem().map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned()),
        task: Task::new(Embeddings::new(found.values, rows, found.dim)?, found.labels, None)?,
        classes: found.classes,
        names: found.names,
        norms: Some(norms),
        contents: None,
    })
}

fn pictures(folder: &Path, data: Option<&DataConfig>, device: DeviceKind, observer: Observer) -> Result<Vec<Part>> {
    let splits = match data {
        Some(config) => {
            let (dataset, _, notes) = load_everything(config)?;
            notes.into_iter().for_each(|note| observer(Message::Note(note)));
            vec![("all", dataset)]
        }
        None => {
            let splits = expect_run_data(folder)?.splits;
            vec![("train", splits.train), ("validation", splits.validation), ("test", splits.test)]
        }
    };
    let mut parts = Vec::new();
    for (name, dataset) in splits {
        if !dataset.samples.is_empty() {
            parts.push(split(name, dataset, folder, device, observer)?);
        }
    }
    Ok(parts)
}

fn split(name: &str, dataset: Dataset, folder: &Path, device: DeviceKind, observer: Observer) -> Result<Part> {
    let contents = dataset.samples.iter().map(|sample| sample.pixels.content()).collect::<Result<_>>()?;
    let dataset = Arc::new(dataset);
    Ok(Part {
        name: name.to_owned(),
        // The encoder's last step scales to length 1: there are no other lengths to report.
        task: Task::new(embed_dataset(folder, &dataset, device, observer)?, dataset.labels(), None)?,
        classes: dataset.classes.clone(),
        names: dataset.samples.iter().map(|sample| sample.name.clone()).collect(),
        norms: None,
        contents: Some(contents),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::vectors::Writer;
    use crate::progress::UNOBSERVED;

    #[test]
    fn files_are_splits_with_lengths_and_names_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, values: &[f32], rows: &[(&str, &str)]| {
            let embeddings = folder.path().join(name);
            let mut writer = Writer::create(&embeddings).unwrap();
            writer.write(values, rows).unwrap();
            writer.finish().unwrap();
            LabelledVectors { embeddings, labels: None }
        };
        let train = file("train.npy", &[3.0, 0.0, 0.0, 1.0, 1.0, 1.0], &[("p", "a"), ("q", "a"), ("r", "b")]);
        let test = file("test.npy", &[-1.0, 0.0, 0.0, 2.0], &[("s", "c"), ("q", "c")]);
        let report = audit(&AuditInput::Vectors(vec![train, test]), &[1], 0.98, UNOBSERVED).unwrap();
        assert_eq!((report.splits[0].name.as_str(), report.splits[1].name.as_str()), ("train", "test"));
        assert_eq!(report.splits[0].norms.as_ref().unwrap().most, 3.0);
        let crossing = &report.leakages[0];
        assert_eq!((crossing.names, crossing.contents, crossing.vectors, crossing.class_count), (1, 0, 1, 0));
    }
}
