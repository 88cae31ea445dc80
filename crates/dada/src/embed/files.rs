//! Embeddings of picture files in a stream: bounded memory for any number of files, and one that is damaged stops nothing.

use std::thread;

use burn::tensor::{Device, Tensor, TensorData};
use crossbeam_channel::bounded;
use rayon::prelude::*;

use crate::data::inputs::Input;
use crate::data::pictures::decode::decode;
use crate::data::pictures::preprocess::{Preprocess, normalise_into, view};
use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::model::export::Model;
use crate::model::layers::Mode;

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

/// Pictures of a batch, ready for the network.
struct Batch {
    indices: Vec<usize>,
    pixels: Vec<f32>,
    unreadable: Vec<(usize, Error)>,
}

/// Embeds all inputs and hands the results to `receive` in order, a batch at a time. While the network works on one batch, the next is
/// decoded.
///
/// # Errors
/// Those of `receive`, which end the work, and an embedding that is not finite.
pub fn embed_files(model: &Model, inputs: &[Input], device: &Device, mut receive: impl FnMut(Part) -> Result<()>) -> Result<()> {
    let preprocess = &model.preprocess;
    thread::scope(|scope| {
        let (sender, batches) = bounded(1);
        scope.spawn(move || {
            for (number, inputs) in inputs.chunks(BATCH).enumerate() {
                // A closed channel says that nobody waits.
                if sender.send(prepare(inputs, number * BATCH, preprocess)).is_err() {
                    return;
                }
            }
        });
        for Batch { indices, pixels, unreadable } in batches {
            let values = if indices.is_empty() { Vec::new() } else { forward(model, pixels, indices.len(), device)? };
            receive(Part { indices, values, unreadable })?;
        }
        Ok(())
    })
}

fn prepare(inputs: &[Input], first: usize, preprocess: &Preprocess) -> Batch {
    let pixels_each = 3 * (preprocess.crop as usize).pow(2);
    let prepared: Vec<Result<Vec<f32>>> = inputs
        .par_iter()
        .map(|input| {
            let mut pixels = vec![0.0; pixels_each];
            normalise_into(&view(&decode(&input.path)?, preprocess)?, preprocess.mean, preprocess.std, &mut pixels);
            Ok(pixels)
        })
        .collect();
    let mut batch =
        Batch { indices: Vec::with_capacity(inputs.len()), pixels: Vec::with_capacity(inputs.len() * pixels_each), unreadable: Vec::new() };
    for (index, prepared) in (first..).zip(prepared) {
        match prepared {
            Ok(pixels) => {
                batch.indices.push(index);
                batch.pixels.extend_from_slice(&pixels);
            }
            Err(error) => batch.unreadable.push((index, error)),
        }
    }
    batch
}

fn forward(model: &Model, pixels: Vec<f32>, rows: usize, device: &Device) -> Result<Vec<f32>> {
    let size = model.preprocess.crop as usize;
    let x = model.encoder.forward(Tensor::<4>::from_data(TensorData::new(pixels, [rows, 3, size, size]), device), Mode::Infer);
    let [_, dim] = x.dims();
    let values = x.into_data().try_into_vec_as::<f32>().expect("an encoder computes in floating point");
    Ok(Embeddings::new(values, rows, dim)?.values().to_vec())
}
