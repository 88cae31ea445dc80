//! `dada.mode`: which set of defaults a configuration starts from.

use dada_compute::Decay;

use crate::adversarial::config::{DadaConfig, Recipe, Update};
use crate::adversarial::discriminator::{DiscriminatorConfig, Norm};
use crate::adversarial::mix::Draw;
use crate::loss::{PositiveMean, ProxyLossConfig};

/// What a recipe asks of the optimizers.
pub struct OptimizerDefaults {
    /// How weight decay enters.
    pub decay: Decay,
    /// Step size of the discriminators.
    pub discriminator_learning_rate: f64,
}

impl Recipe {
    /// The `[dada]` section of the recipe.
    pub fn dada(self) -> DadaConfig {
        let mut dada = DadaConfig { mode: self, ..DadaConfig::default() };
        if self == Self::Compat {
            dada.update = Update::Alternating;
            dada.d_steps = 3;
            dada.mix.normalize = false;
            dada.mix.draw = Draw::Batch;
            dada.domain.generator_weight = dada.domain.weight;
            release_shape(&mut dada.domain.discriminator);
            release_shape(&mut dada.category.discriminator);
            dada.category.discriminator.hidden = vec![512, 128];
        }
        dada
    }

    /// What the recipe asks of the optimizers, where it differs from their own defaults.
    pub fn optimizer(self) -> Option<OptimizerDefaults> {
        match self {
            Self::Corrected => None,
            Self::Compat => Some(OptimizerDefaults { decay: Decay::Coupled, discriminator_learning_rate: 5e-4 }),
        }
    }

    /// Lets Proxy-Anchor average its positive term over rows, where the recipe does; other losses stay as they are.
    pub fn adjust(self, loss: &mut ProxyLossConfig) {
        if let (Self::Compat, ProxyLossConfig::ProxyAnchor(config)) = (self, loss) {
            config.positive_mean = PositiveMean::Rows;
        }
    }
}

fn release_shape(discriminator: &mut DiscriminatorConfig) {
    discriminator.norm = Norm::BatchPerDomain;
    discriminator.output_norm = true;
}
