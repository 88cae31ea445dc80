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
pub struct LearnerGradients {
    /// Of the encoder; none where it does not learn.
    pub encoder: ParameterGradients,
    /// Of the proxies.
    pub proxies: ParameterGradients,
    /// Of the discriminators and of learned mixtures.
    pub discriminators: ParameterGradients,
    /// 1 if the loss that they are of, and every one before it, was finite, otherwise 0; `[1]`, without autodiff.
    pub finite: Tensor<1>,
}

impl LearnerGradients {
    /// The sums: the gradients of the sum of two losses, which is finite if both are.
    pub fn sum(self, other: Self) -> Self {
        Self {
            encoder: self.encoder.sum(other.encoder),
            proxies: self.proxies.sum(other.proxies),
            discriminators: self.discriminators.sum(other.discriminators),
            finite: self.finite * other.finite,
        }
    }
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

    /// Sorts what one backward pass gave by parameter; `finite` is [`LearnerGradients::finite`].
    pub fn gradients(&self, learning: Learning, mut gradients: Gradients, finite: Tensor<1>) -> LearnerGradients {
        let (encoder, proxies, discriminators) = Default::default();
        let mut sorted = LearnerGradients { encoder, proxies, discriminators, finite };
        if learning == Learning::Everything {
            sorted.encoder = ParameterGradients::take(&self.encoder, &mut gradients);
            sorted.proxies = ParameterGradients::take(&self.loss, &mut gradients);
        }
        if let Some(discriminators) = &self.discriminators {
            sorted.discriminators = ParameterGradients::take(discriminators, &mut gradients);
        }
        sorted
    }

    /// One step of every optimizer on its own gradients; parameters without one stay as they are. `factor` is the schedule's. Nothing
    /// changes where the gradients are of a loss that is not finite.
    pub fn apply(mut self, gradients: LearnerGradients, config: &OptimizerConfig, factor: f64) -> Self {
        let finite = &gradients.finite;
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
