//! The `[dada]` section.

use serde::{Deserialize, Serialize};

use crate::adversarial::ablation::Confusion;
use crate::adversarial::category::CategoryConfig;
use crate::adversarial::discriminator::{DiscriminatorConfig, Norm};
use crate::adversarial::mix::{MixConfig, MixMode};
use crate::error::{Error, Result};
use crate::validate::not_negative;

/// Which set of defaults the configuration starts from. It is nothing but that: each value can be set by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// The method with the released code's defects mended.
    #[default]
    Corrected,
    /// The released code, term by term.
    Compat,
}

/// How the two sides take turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Update {
    /// Both from one backward pass, in which gradients change sign between discriminators and encoder.
    #[default]
    Reversal,
    /// The discriminators learn in their `d_steps` alone, encoder and proxies against discriminators that are then frozen: the released code.
    Alternating,
}

/// The `[dada]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DadaConfig {
    /// Off: the plain proxy loss, everything else equal.
    pub enabled: bool,
    /// Which defaults hold where nothing is given.
    pub mode: Recipe,
    /// How the two sides take turns.
    pub update: Update,
    /// Updates of the discriminators by themselves before each update of encoder and proxies; at least one where the sides alternate.
    pub d_steps: usize,
    /// Epochs at the start in which only the discriminators learn. Without DADA the plain loss learns in them too, with the same step sizes.
    pub d_warmup_epochs: usize,
    /// The mixed domain.
    pub mix: MixConfig,
    /// The domain-level discriminator.
    pub domain: DomainConfig,
    /// The category-level discriminator.
    pub category: CategoryConfig,
}

/// The `[dada.domain]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DomainConfig {
    /// Weight of L_u when the discriminator learns; 0 switches the domain level off. It is the only term that D_u learns by, so its size is
    /// lost on Adam but for ε and coupled decay.
    pub weight: f64,
    /// Weight of the confusion when encoder and proxies learn.
    pub generator_weight: f64,
    /// What encoder and proxies minimise: -L_u, or another measure of confusion.
    pub confusion: Confusion,
    /// Epochs, after the warm-ups, over which `generator_weight` rises from zero.
    pub ramp_epochs: usize,
    /// Shape of the discriminator.
    #[serde(flatten)]
    pub discriminator: DiscriminatorConfig,
}

impl Default for DadaConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            mode: Recipe::Corrected,
            update: Update::Reversal,
            d_steps: 0,
            d_warmup_epochs: 1,
            mix: MixConfig::default(),
            domain: DomainConfig::default(),
            category: CategoryConfig::default(),
        }
    }
}

impl Default for DomainConfig {
    fn default() -> Self {
        Self {
            weight: 0.99,
            generator_weight: 0.00297,
            confusion: Confusion::Saturating,
            ramp_epochs: 0,
            discriminator: DiscriminatorConfig::default(),
        }
    }
}

impl DomainConfig {
    pub(super) fn is_on(&self) -> bool {
        self.weight != 0.0
    }
}

impl DadaConfig {
    /// # Errors
    /// For values that make no sense, or not together.
    pub fn check(&self) -> Result<()> {
        self.mix.check()?;
        not_negative("dada.domain.weight", self.domain.weight)?;
        not_negative("dada.domain.generator_weight", self.domain.generator_weight)?;
        not_negative("dada.category.weight", self.category.weight)?;
        not_negative("dada.category.discrepancy_weight", self.category.discrepancy_weight)?;
        for (level, shape) in [("domain", &self.domain.discriminator), ("category", &self.category.discriminator)] {
            if !(0.0..1.0).contains(&shape.dropout) {
                let problem = format!("dada.{level}.dropout is {}, expected 0 up to, but without, 1", shape.dropout);
                return Err(Error::Config(problem));
            }
            if shape.hidden.contains(&0) {
                return Err(Error::Config(format!("dada.{level}.hidden is {:?}, expected at least one unit in each layer", shape.hidden)));
            }
            if shape.output_norm && shape.norm == Norm::None {
                let problem =
                    format!("dada.{level}.output_norm needs dada.{level}.norm other than \"none\", or there is nothing to normalise by");
                return Err(Error::Config(problem));
            }
        }
        let DiscriminatorConfig { norm, output_norm, .. } = self.category.discriminator;
        if self.category.sampled_classes > 0 && output_norm && norm == Norm::Layer {
            let problem = "dada.category.sampled_classes needs dada.category.norm other than \"layer\", or output_norm = false: a layer norm of the \
                           output is over all classes";
            return Err(Error::Config(problem.into()));
        }
        if self.mix.append_proxies && self.mix.mode == MixMode::Nothing {
            let problem = "dada.mix.append_proxies needs a mixed domain: dada.mix.mode other than \"nothing\"";
            return Err(Error::Config(problem.into()));
        }
        if self.update == Update::Alternating && self.d_steps == 0 {
            let problem =
                "dada.update = \"alternating\" needs dada.d_steps of 1 or more (3 as released), or the discriminators never learn";
            return Err(Error::Config(problem.into()));
        }
        if self.update == Update::Reversal && self.domain.confusion != Confusion::Saturating {
            let problem = "dada.update = \"reversal\" needs dada.domain.confusion = \"saturating\", since a reversed gradient is that of -L_u; \
                           another confusion needs dada.update = \"alternating\"";
            return Err(Error::Config(problem.into()));
        }
        Ok(())
    }
}
