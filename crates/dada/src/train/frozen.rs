//! The network as training starts from it, and what its frozen part makes of pictures.

use burn::tensor::{Device, Tensor};

use crate::config::RunConfig;
use crate::embed::Embedder;
use crate::model::backbones::Features;
use crate::model::encoder::{Boundary, Encoder, EncoderInput};
use crate::model::parameters;
use crate::train::cache_file;

/// The network as training starts from it: what its frozen part makes of pictures, and what its features are worth as they are.
#[derive(Clone)]
pub struct FrozenNetwork<'a> {
    /// Without autodiff.
    pub encoder: Encoder,
    /// Where the frozen part ends, if any part is frozen.
    pub boundary: Option<Boundary>,
    /// BLAKE3 of the backbone's weights.
    pub weights: String,
    /// The run's.
    pub config: &'a RunConfig,
    /// Where to compute, without autodiff.
    pub device: Device,
}

impl<'a> FrozenNetwork<'a> {
    /// Of an `encoder` without autodiff.
    pub fn new(encoder: Encoder, config: &'a RunConfig, device: &Device) -> Self {
        let weights = cache_file::checksum_of_weights(&parameters::tensors(&encoder.backbone));
        let boundary = config.train.tune.boundary(encoder.backbone.stages());
        Self { encoder, boundary, weights, config, device: device.clone() }
    }

    /// Its pictures-to-vectors engine.
    pub fn embedder(&self) -> Embedder<'_> {
        Embedder::new(&self.encoder, self.config.preparation(), self.config.train.loader_threads, &self.device)
    }

    /// What a step goes on from: pictures `[batch, 3, size, size]` on the device without autodiff, gone through the frozen part, on the device
    /// with it.
    pub fn advance(&self, images: Tensor<4>) -> EncoderInput {
        let Some(boundary) = self.boundary else { return EncoderInput::Images(Tensor::from_inner(images)) };
        match self.encoder.up_to(images, boundary) {
            EncoderInput::Images(images) => EncoderInput::Images(Tensor::from_inner(images)),
            EncoderInput::Pooled(features) => EncoderInput::Pooled(Tensor::from_inner(features)),
            EncoderInput::Staged { features: Features::Map(map), stages } => {
                EncoderInput::Staged { features: Features::Map(Tensor::from_inner(map)), stages }
            }
            EncoderInput::Staged { features: Features::Tokens(tokens), stages } => {
                EncoderInput::Staged { features: Features::Tokens(Tensor::from_inner(tokens)), stages }
            }
        }
    }
}
