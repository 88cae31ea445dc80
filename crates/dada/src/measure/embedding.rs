//! Pictures to embeddings, by the model in a folder.

use std::path::Path;

use crate::data::Dataset;
use crate::device::DeviceKind;
use crate::embed::Embedder;
use crate::embeddings::Embeddings;
use crate::error::Result;
use crate::model::Model;
use crate::model::export::model_folder;
use crate::progress::{Observer, Stage, begin};

/// Embeddings `[pictures, dim]` of a data set, in order, by the model of a run folder or model directory.
///
/// # Errors
/// When the model cannot be loaded, and for a picture that cannot be read.
pub fn embed_dataset(folder: &Path, dataset: &Dataset, device: DeviceKind, observer: Observer) -> Result<Embeddings> {
    let device = device.open();
    let model = Model::load(&model_folder(folder), &device)?;
    Embedder::of(&model, &device).dataset(dataset, &begin(observer, Stage::Embedding))
}
