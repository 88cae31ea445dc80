//! Everything that learns, and how gradients change it.

use burn::tensor::{Gradients, Tensor};

use crate::adversarial::Discriminators;
use crate::config::RunConfig;
use crate::loss::ProxyLoss;
use crate::model::encoder::Encoder;
use crate::model::layers::Initializer;
use crate::train::optimizer::{Adam, OptimizerConfig, ParameterGradients};

/// Everything that learns, and the optimizers' memory of it.
pub struct Learner {
    /// Pictures to embeddings.
    pub encoder: Encoder,
    /// The loss with its proxies.
    pub loss: ProxyLoss,
    /// With learned mixtures; none without DADA.
    pub discriminators: Option<Discriminators>,
    /// Optimizer of the encoder.
    pub encoder_adam: Adam,
    /// Optimizer of the proxies.
    pub proxies_adam: Adam,
    /// Optimizer of the discriminators and of learned mixtures.
    pub discriminators_adam: Adam,
}

/// Gradients of what learns in a step, by the path of each parameter. Processes that computed them on parts of a batch may add theirs up
/// before they are applied.
#[derive(Default)]
pub struct LearnerGradients {
    /// Of the encoder; none where it does not learn.
    pub encoder: ParameterGradients,
    /// Of the proxies.
    pub proxies: ParameterGradients,
    /// Of the discriminators and of learned mixtures.
    pub discriminators: ParameterGradients,
}

/// Which parts of a learner a step is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learning {
    /// Everything that has a gradient.
    Everything,
    /// Discriminators and learned mixtures alone.
    Discriminators,
}

impl Learner {
    /// A learner for `classes` classes with fresh proxies and discriminators.
    pub fn new(encoder: Encoder, config: &RunConfig, classes: usize, init: &mut Initializer) -> Self {
        let dim = config.encoder.dim;
        Self {
            encoder,
            loss: config.loss.kind.init(classes, dim, init),
            discriminators: config.dada.enabled.then(|| config.dada.init(dim, classes, init)),
            encoder_adam: Adam::default(),
            proxies_adam: Adam::default(),
            discriminators_adam: Adam::default(),
        }
    }

    /// Sorts what one backward pass gave by parameter.
    pub fn gradients(&self, learning: Learning, mut gradients: Gradients) -> LearnerGradients {
        let mut sorted = LearnerGradients::default();
        if learning == Learning::Everything {
            sorted.encoder = ParameterGradients::take(&self.encoder, &mut gradients);
            sorted.proxies = ParameterGradients::take(&self.loss, &mut gradients);
        }
        if let Some(discriminators) = &self.discriminators {
            sorted.discriminators = ParameterGradients::take(discriminators, &mut gradients);
        }
        sorted
    }

    /// One step of every optimizer on its own gradients; parameters without one stay as they are. `factor` is the schedule's. Where `finite`
    /// (`[1]`) is 0 nothing changes.
    pub fn apply(mut self, gradients: LearnerGradients, config: &OptimizerConfig, factor: f64, finite: &Tensor<1>) -> Self {
        self.encoder = self.encoder_adam.step(self.encoder, gradients.encoder, config, config.encoder, factor, finite);
        self.loss = self.proxies_adam.step(self.loss, gradients.proxies, config, config.proxies, factor, finite);
        if let Some(discriminators) = self.discriminators {
            let rate = config.discriminators;
            let updated = self.discriminators_adam.step(discriminators, gradients.discriminators, config, rate, factor, finite);
            self.discriminators = Some(updated);
        }
        self
    }
}
