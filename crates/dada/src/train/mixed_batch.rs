//! A batch as one pass through the discriminators sees it.

use burn::tensor::Tensor;

use crate::adversarial::{Randomness, append_class_mixtures, class_coefficient};
use crate::config::RunConfig;
use crate::random::{Purpose, generator};
use crate::train::schedule::At;

/// Embeddings with class mixtures appended, and mixing coefficients: both are drawn anew for each pass of a step.
pub struct MixedBatch {
    /// `[rows, dim]`, not normalised.
    pub x: Tensor<2>,
    /// The class of each row.
    pub labels: Vec<usize>,
    /// The randomness of the pass.
    pub randomness: Randomness,
}

impl MixedBatch {
    /// The batch of embeddings x `[batch, dim]` in pass number `pass` of the step at `at`.
    pub fn new(x: Tensor<2>, labels: &[usize], config: &RunConfig, at: At, pass: usize) -> Self {
        let random = |purpose| generator(config.seed, purpose, at.epoch, at.step, pass);
        let (x, labels) = if config.train.class_mixup {
            append_class_mixtures(x, labels, class_coefficient(&mut random(Purpose::ClassMix)))
        } else {
            (x, labels.to_vec())
        };
        let randomness = Randomness::new(&config.dada.mix, labels.len(), random);
        Self { x, labels, randomness }
    }
}
