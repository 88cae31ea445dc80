//! DADA: samples and proxies as two domains, a mixed domain between them, and two discriminators that judge all three.
//!
//! Both sides of the game are built from the same three terms, computed on embeddings x and on the proxy of each row:
//!
//! | term | what |
//! |---|---|
//! | L_u | the domain discriminator's cross-entropy over samples, mixtures and proxies |
//! | L_s | the category discriminator's labelling risk on samples, twice the cross-entropy |
//! | L_dis | the discrepancy of its predictions between samples and mixtures |
//!
//! The discriminators minimise `a L_u + b L_s - c L_dis`; encoder and proxies minimise `w L_proxy + b L_s + c L_dis - g L_u`
//! (Ren et al., AAAI 2024; each letter is a key of `[dada.domain]`, `[dada.category]` or `[loss]`).

mod discrepancy;
mod discriminator;
mod domain;
mod mix;

use burn::module::Module;
use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub use discrepancy::Discrepancy;
pub use discriminator::{Affine, Discriminator, DiscriminatorConfig, Norm};
pub use domain::{DOMAINS, cross_entropy, domain_accuracy, domain_loss};
pub use mix::{Draw, MixConfig, append_class_mixtures, class_coefficient};

use crate::layers::{Initializer, normalize};

/// Which set of defaults the configuration starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// The method with the released code's defects mended.
    #[default]
    Corrected,
    /// The released code, term by term.
    Compat,
}

/// The `[dada]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DadaConfig {
    /// Off: the plain proxy loss, everything else equal.
    pub enabled: bool,
    /// Which defaults hold where nothing is given.
    pub mode: Recipe,
    /// Discriminator updates before each update of encoder and proxies.
    pub d_steps: usize,
    /// Epochs at the start in which only the discriminators learn.
    pub d_warmup_epochs: usize,
    /// Epochs, after that, over which the encoder's adversarial weights rise from zero.
    pub ramp_epochs: usize,
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
    /// Weight of L_u when the discriminator learns; 0 switches the domain level off.
    pub weight: f64,
    /// Weight of -L_u when encoder and proxies learn.
    pub generator_weight: f64,
    /// Shape of the discriminator.
    #[serde(flatten)]
    pub discriminator: DiscriminatorConfig,
}

/// The `[dada.category]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CategoryConfig {
    /// Weight of the labelling risk L_s for both sides; 0, with `discrepancy_weight` 0, switches the category level off.
    pub weight: f64,
    /// Weight of the discrepancy L_dis, which the discriminator maximises and encoder and proxies minimise.
    pub discrepancy_weight: f64,
    /// How the discrepancy is measured.
    pub discrepancy: Discrepancy,
    /// Shape of the discriminator.
    #[serde(flatten)]
    pub discriminator: DiscriminatorConfig,
}

impl Default for DadaConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            mode: Recipe::Corrected,
            d_steps: 3,
            d_warmup_epochs: 1,
            ramp_epochs: 0,
            mix: MixConfig::default(),
            domain: DomainConfig::default(),
            category: CategoryConfig::default(),
        }
    }
}

impl Default for DomainConfig {
    fn default() -> Self {
        Self { weight: 0.99, generator_weight: 0.00297, discriminator: DiscriminatorConfig::default() }
    }
}

impl Default for CategoryConfig {
    fn default() -> Self {
        let discriminator = DiscriminatorConfig { hidden: vec![512, 128], dropout: 0.5, ..Default::default() };
        Self { weight: 0.01, discrepancy_weight: 0.01, discrepancy: Discrepancy::NuclearNorm, discriminator }
    }
}

impl DomainConfig {
    fn is_on(&self) -> bool {
        self.weight != 0.0
    }
}

impl CategoryConfig {
    fn is_on(&self) -> bool {
        self.weight != 0.0 || self.discrepancy_weight != 0.0
    }
}

impl DadaConfig {
    /// Discriminators for embeddings of `dim` dimensions and `classes` classes; a level that is switched off has none.
    pub fn init(&self, dim: usize, classes: usize, init: &mut Initializer) -> Discriminators {
        Discriminators {
            domain: self.domain.is_on().then(|| self.domain.discriminator.init(dim, DOMAINS, init)),
            category: self.category.is_on().then(|| self.category.discriminator.init(dim, classes, init)),
        }
    }
}

/// Both discriminators.
#[derive(Module, Debug)]
pub struct Discriminators {
    /// D_u: `[rows, dim]` to `[rows, 3]`.
    pub domain: Option<Discriminator>,
    /// D_c: `[rows, dim]` to `[rows, classes]`.
    pub category: Option<Discriminator>,
}

/// The randomness of one pass: each discriminator sees mixtures of its own.
pub struct Draws {
    /// Coefficients for D_u, one a row.
    pub domain: Vec<f64>,
    /// Coefficients for D_c, one a row.
    pub category: Vec<f64>,
    /// Dropout masks.
    pub dropout: ChaCha8Rng,
}

impl Draws {
    /// Coefficients from `mixing` for `rows` rows.
    pub fn new(config: &MixConfig, rows: usize, mixing: &mut ChaCha8Rng, dropout: ChaCha8Rng) -> Self {
        Self { domain: config.coefficients(rows, mixing), category: config.coefficients(rows, mixing), dropout }
    }
}

/// The terms of one pass; those of a level that is switched off are absent.
pub struct Terms {
    /// L_u, `[1]`
    pub domain: Option<Tensor<1>>,
    /// Share of domains recognised, `[1]`
    pub domain_accuracy: Option<Tensor<1>>,
    /// L_s, `[1]`
    pub risk: Option<Tensor<1>>,
    /// L_dis, `[1]`
    pub discrepancy: Option<Tensor<1>>,
}

impl Terms {
    /// Judges embeddings x `[rows, dim]` and the proxy of each row `[rows, dim]`.
    pub fn new(
        discriminators: &Discriminators,
        config: &DadaConfig,
        x: Tensor<2>,
        proxies: Tensor<2>,
        labels: &[usize],
        draws: &mut Draws,
    ) -> Self {
        let mixed = |coefficients: &[f64]| normalize(config.mix.mix(x.clone(), proxies.clone(), coefficients));
        let samples = normalize(x.clone());
        let mut terms = Self { domain: None, domain_accuracy: None, risk: None, discrepancy: None };
        if let Some(judge) = &discriminators.domain {
            let domains = [samples.clone(), mixed(&draws.domain), normalize(proxies.clone())];
            let logits = judge.forward(domains, &mut draws.dropout);
            terms.domain = Some(domain_loss(&logits));
            terms.domain_accuracy = Some(domain_accuracy(&logits));
        }
        if let Some(judge) = &discriminators.category {
            let [samples, mixtures] = judge.forward([samples, mixed(&draws.category)], &mut draws.dropout);
            terms.risk = Some(cross_entropy(samples.clone(), labels) * 2.0);
            terms.discrepancy = Some(config.category.discrepancy.measure(samples, mixtures));
        }
        terms
    }

    /// What the discriminators minimise, `[1]`; nothing if both levels are off.
    pub fn for_discriminators(&self, config: &DadaConfig) -> Option<Tensor<1>> {
        weighted([
            (&self.domain, config.domain.weight),
            (&self.risk, config.category.weight),
            (&self.discrepancy, -config.category.discrepancy_weight),
        ])
    }

    /// What encoder and proxies minimise beside the proxy loss, `[1]`; nothing if both levels are off.
    pub fn for_encoder(&self, config: &DadaConfig) -> Option<Tensor<1>> {
        weighted([
            (&self.domain, -config.domain.generator_weight),
            (&self.risk, config.category.weight),
            (&self.discrepancy, config.category.discrepancy_weight),
        ])
    }
}

fn weighted(terms: [(&Option<Tensor<1>>, f64); 3]) -> Option<Tensor<1>> {
    let present = terms.into_iter().filter(|(_, weight)| *weight != 0.0);
    present.filter_map(|(term, weight)| term.clone().map(|term| term * weight)).reduce(|sum, term| sum + term)
}
