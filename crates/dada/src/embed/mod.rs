//! Embeddings of pictures by a trained encoder.

pub mod files;

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};

use crate::data::Dataset;
use crate::data::loader::{Batch, Loader};
use crate::data::pictures::preprocess::Preprocess;
use crate::embeddings::Embeddings;
use crate::error::Result;
use crate::model::encoder::Encoder;
use crate::model::layers::Mode;

const BATCH: usize = 64;

/// The embeddings, L2-normalised, of all pictures of `dataset`, in order, by an encoder without autodiff on `device`.
///
/// # Errors
/// For an empty data set, a picture that cannot be read, and an embedding that is not finite.
pub fn embed(encoder: &Encoder, dataset: &Arc<Dataset>, preprocess: &Preprocess, threads: usize, device: &Device) -> Result<Embeddings> {
    let mut values = Vec::new();
    let mut dim = 0;
    for batch in Loader::evaluate(dataset.clone(), preprocess.clone(), BATCH, threads) {
        let x = encoder.forward(images(&batch?, preprocess.crop, device), Mode::Infer);
        dim = x.dims()[1];
        values.extend_from_slice(&x.into_data().try_into_vec_as::<f32>().expect("an encoder computes in floating point"));
    }
    Embeddings::new(values, dataset.samples.len(), dim)
}

/// A batch's pictures as a tensor `[batch, 3, size, size]`.
pub fn images(batch: &Batch, size: u32, device: &Device) -> Tensor<4> {
    let shape = [batch.labels.len(), 3, size as usize, size as usize];
    Tensor::from_data(TensorData::new(batch.pixels.clone(), shape), device)
}
