//! Both discriminators together.

use burn::module::Module;

use crate::adversarial::ablation::Mixer;
use crate::adversarial::category::CategoryConfig;
use crate::adversarial::config::DadaConfig;
use crate::adversarial::discriminator::Discriminator;
use crate::model::layers::Initializer;

/// Both discriminators, and what a learned mode of mixing has learned.
#[derive(Module, Debug)]
pub struct Discriminators {
    /// D_u: `[rows, dim]` to `[rows, domains]`.
    pub domain: Option<Discriminator>,
    /// D_c: `[rows, dim]` to `[rows, classes]`.
    pub category: Option<Discriminator>,
    /// Learned mixtures, if `dada.mix.mode` is a learned one.
    pub mixer: Option<Mixer>,
}

impl Discriminators {
    /// As the encoder's step sees them: their weights are frozen, while mixtures still learn.
    pub fn frozen(&self) -> Self {
        Self {
            domain: self.domain.clone().map(Module::no_grad),
            category: self.category.clone().map(Module::no_grad),
            mixer: self.mixer.clone(),
        }
    }
}

impl DadaConfig {
    /// Discriminators for embeddings of `dim` dimensions and `classes` classes; a level that is switched off has none.
    pub fn init(&self, dim: usize, classes: usize, init: &mut Initializer) -> Discriminators {
        let CategoryConfig { rank, discriminator, .. } = &self.category;
        Discriminators {
            domain: self.domain.is_on().then(|| self.domain.discriminator.init(dim, self.mix.domains(), 0, init)),
            category: self.category.is_on().then(|| discriminator.init(dim, classes, *rank, init)),
            mixer: self.mix.init(dim, init),
        }
    }
}
