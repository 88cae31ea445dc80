//! Embeddings of picture files in a stream: bounded memory for any number of files, and one that is damaged stops nothing.

use burn::tensor::Device;

use crate::data::Pixels;
use crate::data::inputs::Input;
use crate::embed::Embedder;
use crate::error::{Error, Result};
use crate::model::Model;

const BATCH: usize = 64;

/// What became of some consecutive inputs.
pub struct Part {
    /// The inputs that have embeddings, ascending.
    pub indices: Vec<usize>,
    /// Their embeddings, `[indices, dim]`, row-major, L2-normalised.
    pub values: Vec<f32>,
    /// The inputs that could not be read, and why.
    pub unreadable: Vec<(usize, Error)>,
}

/// Embeds all inputs and hands the results to `receive` in order, a batch at a time. While the network works on one batch, the next is
/// decoded.
///
/// # Errors
/// Those of `receive`, which end the work, and an embedding that is not finite.
pub fn embed_files(model: &Model, inputs: &[Input], device: &Device, mut receive: impl FnMut(Part) -> Result<()>) -> Result<()> {
    let embedder = Embedder::of(model, device);
    let mut vectors = embedder.vectors(inputs.iter().map(|input| Pixels::File(input.path.clone())));
    for first in (0..inputs.len()).step_by(BATCH) {
        let mut part = Part { indices: Vec::new(), values: Vec::new(), unreadable: Vec::new() };
        for (index, vector) in (first..).zip(vectors.by_ref().take(BATCH)) {
            match vector {
                Ok(vector) => {
                    part.indices.push(index);
                    part.values.extend_from_slice(&vector);
                }
                Err(error) => part.unreadable.push((index, error)),
            }
        }
        receive(part)?;
    }
    Ok(())
}
