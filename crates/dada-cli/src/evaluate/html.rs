//! The page of `dada evaluate`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use dada::data::Dataset;
use dada::device::DeviceKind;
use dada::embeddings::Embeddings;
use dada::evaluate::Retrieval;
use dada::evaluate::intervals::Bootstrap;
use dada::evaluate::map::sample_classes;
use dada::formats::safetensors::read_safetensors;
use dada::progress::Progress;
use dada::report::evaluation::{self, Subject, Training};
use dada::train::checkpoint;

use super::measured::{Measured, embedded, run_data};

/// Training samples on a map: as many again as there are proxies for them would hide the proxies.
const SAMPLES: usize = 1000;

/// Measures and writes the page.
pub fn write(
    path: &Path,
    measured: &Measured,
    ks: &[usize],
    figures: &[(String, f64)],
    bootstrap: Bootstrap,
    progress: Progress,
) -> Result<Retrieval> {
    let picture = |row: usize| measured.picture(row);
    let made = match &measured.folder {
        Some(folder) => training(folder, measured.device, bootstrap.seed)?,
        None => None,
    };
    let training = made.as_ref().map(|(embeddings, samples, labels, classes)| Training {
        embeddings: embeddings.clone(),
        samples: *samples,
        labels: labels.clone(),
        classes,
    });
    let subject = Subject {
        title: "Evaluation",
        about: &measured.about,
        classes: &measured.classes,
        names: &measured.names,
        pictures: if measured.has_pictures() { Some(&picture) } else { None },
        figures,
        bootstrap,
        training,
    };
    let (page, retrieval) = evaluation::page(&measured.task, &subject, ks, progress)?;
    page.write(path)?;
    Ok(retrieval)
}

type Made = (Embeddings, usize, Vec<usize>, Vec<String>);

/// Samples of some training classes of a run, and the proxies of these classes: embeddings, number of samples, labels, class names.
fn training(folder: &Path, device: DeviceKind, seed: u64) -> Result<Option<Made>> {
    let (Some(directory), Some(loaded)) = (checkpoint::find(folder, "best"), run_data(folder)?) else {
        return Ok(None);
    };
    let header = checkpoint::header(&directory)?;
    let path = directory.join("proxies.safetensors");
    let Some(tensor) = read_safetensors(&path)?.remove("proxies") else {
        return Ok(None);
    };
    let (shape, classes) = (tensor.shape().to_vec(), header.classes);
    let values = tensor.try_into_vec_as::<f32>().ok().with_context(|| format!("{}: proxies that are not numbers", path.display()))?;
    let [rows, dim] = shape[..] else { return Ok(None) };
    if classes.is_empty() || !rows.is_multiple_of(classes.len()) {
        return Ok(None);
    }
    let train = loaded.splits.train;
    let drawn = sample_classes(&train.labels(), SAMPLES, seed);
    let samples = Dataset { samples: drawn.iter().map(|&row| train.samples[row].clone()).collect(), classes: train.classes };
    let (labels, samples) = (samples.labels(), Arc::new(samples));
    let embeddings = embedded(folder, &samples, device)?;
    let each = rows / classes.len();
    let wanted: std::collections::BTreeSet<usize> = labels.iter().copied().collect();
    // The order of the proxies is that of the checkpoint's classes, which has to be that of the data.
    if embeddings.dim() != dim || samples.classes != classes {
        return Ok(None);
    }
    let proxies = wanted.iter().flat_map(|&class| class * each..(class + 1) * each);
    let joined = embeddings.values().iter().copied().chain(proxies.flat_map(|row| values[row * dim..][..dim].iter().copied())).collect();
    let count = labels.len();
    let labels: Vec<usize> = labels.into_iter().chain(wanted.iter().flat_map(|&class| std::iter::repeat_n(class, each))).collect();
    Ok(Some((Embeddings::new(joined, labels.len(), dim)?, count, labels, classes)))
}
