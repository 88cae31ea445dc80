//! The page of an evaluation, with what only a run can add: its training samples and proxies on a map.

use std::collections::BTreeSet;
use std::iter::repeat_n;
use std::path::Path;
use std::sync::Arc;

use crate::data::Dataset;
use crate::device::DeviceKind;
use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::evaluate::Retrieval;
use crate::evaluate::intervals::Bootstrap;
use crate::evaluate::map::sample_classes;
use crate::formats::safetensors::read_safetensors;
use crate::measure::embedding::embed_dataset;
use crate::measure::run::run_data;
use crate::measure::subject::{Origin, Subject};
use crate::progress::{Observer, Stage, begin};
use crate::report::evaluation::{self, Training};
use crate::report::widgets::Page;
use crate::train::checkpoint;

/// Training samples on a map: as many again as there are proxies for them would hide the proxies.
const SAMPLES: usize = 1000;

/// Measures a subject and makes its page; `figures` are further ones for the page's table.
///
/// # Errors
/// As [`evaluation::page`], and when the data or the checkpoint of a run cannot be read.
pub fn evaluation_page(
    subject: &Subject,
    ks: &[usize],
    figures: &[(String, f64)],
    bootstrap: Bootstrap,
    observer: Observer,
) -> Result<(Page, Retrieval)> {
    let map = match &subject.origin {
        Origin::Model { folder, device, .. } => training_map(folder, *device, bootstrap.seed, observer)?,
        Origin::File { .. } => None,
    };
    let training = map.as_ref().map(|map| Training {
        embeddings: map.embeddings.clone(),
        samples: map.samples,
        labels: map.labels.clone(),
        classes: &map.classes,
    });
    let picture = |row: usize| subject.picture(row);
    let shown = evaluation::Content {
        title: "Evaluation",
        about: &subject.about,
        classes: &subject.classes,
        names: &subject.names,
        pictures: if subject.has_pictures() { Some(&picture) } else { None },
        figures,
        bootstrap,
        training,
    };
    evaluation::page(&subject.task, &shown, ks, &begin(observer, Stage::Ranking))
}

/// Samples of some training classes of a run, and the proxies of these classes.
struct TrainingMap {
    /// Samples first, then proxies.
    embeddings: Embeddings,
    /// How many rows are samples.
    samples: usize,
    /// The class of each row.
    labels: Vec<usize>,
    /// Class names; labels index them.
    classes: Vec<String>,
}

/// Nothing for a folder without a run's best checkpoint, and where its proxies do not belong to the data or the model.
fn training_map(folder: &Path, device: DeviceKind, seed: u64, observer: Observer) -> Result<Option<TrainingMap>> {
    let (Some(directory), Some(loaded)) = (checkpoint::find(folder, "best"), run_data(folder)?) else {
        return Ok(None);
    };
    let classes = checkpoint::header(&directory)?.classes;
    let Some((values, [rows, dim])) = read_proxies(&directory)? else {
        return Ok(None);
    };
    if classes.is_empty() || !rows.is_multiple_of(classes.len()) {
        return Ok(None);
    }
    let train = loaded.splits.train;
    let drawn = sample_classes(&train.labels(), SAMPLES, seed);
    let samples = Dataset { samples: drawn.iter().map(|&row| train.samples[row].clone()).collect(), classes: train.classes };
    let (mut labels, samples) = (samples.labels(), Arc::new(samples));
    let embeddings = embed_dataset(folder, &samples, device, observer)?;
    // The order of the proxies is that of the checkpoint's classes, which has to be that of the data.
    if embeddings.dim() != dim || samples.classes != classes {
        return Ok(None);
    }
    let (count, proxies_each) = (labels.len(), rows / classes.len());
    let mut joined = embeddings.values().to_vec();
    for class in labels.iter().copied().collect::<BTreeSet<usize>>() {
        joined.extend_from_slice(&values[class * proxies_each * dim..][..proxies_each * dim]);
        labels.extend(repeat_n(class, proxies_each));
    }
    Ok(Some(TrainingMap { embeddings: Embeddings::new(joined, labels.len(), dim)?, samples: count, labels, classes }))
}

/// The proxies of a checkpoint, `[rows, dim]`; nothing where a loss keeps none of this shape.
fn read_proxies(directory: &Path) -> Result<Option<(Vec<f32>, [usize; 2])>> {
    let path = directory.join("proxies.safetensors");
    let Some(tensor) = read_safetensors(&path)?.remove("proxies") else {
        return Ok(None);
    };
    let [rows, dim] = tensor.shape()[..] else { return Ok(None) };
    match tensor.try_into_vec_as::<f32>() {
        Ok(values) => Ok(Some((values, [rows, dim]))),
        Err(_) => Err(Error::format(path, "proxies that are not numbers")),
    }
}
