//! The terms that both sides of the game are built from, and the two objectives made of them.

use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;

use crate::adversarial::category::class_indices;
use crate::adversarial::gradients::scale_gradient;
use crate::adversarial::{
    CategoryConfig, DadaConfig, Discrepancy, Discriminator, Discriminators, GradientScale, MixConfig, MixMode, Mixer, RampUp,
    cross_entropy, domain_accuracy, domain_loss,
};
use crate::model::layers::normalize;
use crate::random::Purpose;

/// The randomness of one pass: each discriminator sees mixtures of its own.
pub struct Randomness {
    /// Mixing coefficients for D_u, one a row.
    pub domain: Vec<f64>,
    /// Mixing coefficients for D_c, one a row.
    pub category: Vec<f64>,
    /// Draws the classes that D_c tells apart.
    pub classes: ChaCha8Rng,
    /// Draws dropout masks.
    pub dropout: ChaCha8Rng,
}

impl Randomness {
    /// What a pass over `rows` rows draws from the generators that `random` makes.
    pub fn new(config: &MixConfig, rows: usize, random: impl Fn(Purpose) -> ChaCha8Rng) -> Self {
        let mut mixing = random(Purpose::DomainMix);
        let domain = config.coefficients(rows, &mut mixing);
        let category = config.coefficients(rows, &mut mixing);
        Self { domain, category, classes: random(Purpose::Classes), dropout: random(Purpose::Dropout) }
    }
}

/// The terms of one pass; those of a level that is switched off are absent.
#[derive(Default)]
pub struct Terms {
    /// L_u, `[1]`
    pub domain: Option<Tensor<1>>,
    /// What encoder and proxies minimise on the domain level, `[1]`: -L_u, or what `dada.domain.confusion` puts in its place.
    pub confusion: Option<Tensor<1>>,
    /// Share of domains recognised, `[1]`
    pub domain_accuracy: Option<Tensor<1>>,
    /// L_s, `[1]`
    pub risk: Option<Tensor<1>>,
    /// L_dis, `[1]`
    pub discrepancy: Option<Tensor<1>>,
    /// Logits of the mixtures that L_dis is of, without gradients, and the indices of their classes.
    mixtures: Option<(Tensor<2>, Vec<usize>)>,
}

impl Terms {
    /// Of embeddings x `[rows, dim]` and the proxy of each row `[rows, dim]`.
    pub fn new(
        discriminators: &Discriminators,
        config: &DadaConfig,
        x: Tensor<2>,
        proxies: Tensor<2>,
        labels: &[usize],
        random: &mut Randomness,
        scale: GradientScale,
    ) -> Self {
        let vectors = Vectors {
            mix: &config.mix,
            mixer: discriminators.mixer.as_ref(),
            samples: normalize(x.clone()),
            directions: normalize(proxies.clone()),
            x,
            proxies,
        };
        let mut terms = Self::default();
        if let Some(discriminator) = &discriminators.domain {
            let logits = vectors.domain_logits(discriminator, random, scale.domain);
            terms.domain = Some(domain_loss(&logits));
            terms.confusion = Some(config.domain.confusion.loss(&logits));
            terms.domain_accuracy = Some(domain_accuracy(&logits));
        }
        if let Some(discriminator) = &discriminators.category {
            terms.add_category_level(discriminator, &config.category, &vectors, labels, random, scale);
        }
        terms
    }

    fn add_category_level(
        &mut self,
        discriminator: &Discriminator,
        config: &CategoryConfig,
        vectors: &Vectors,
        labels: &[usize],
        random: &mut Randomness,
        scale: GradientScale,
    ) {
        let sampled = config.sample_classes(labels, discriminator.outputs(), &mut random.classes);
        let sampled = sampled.as_deref();
        let labels = class_indices(labels, sampled);
        if config.discrepancy == Discrepancy::None {
            let samples = scale_gradient(vectors.samples.clone(), scale.risk);
            let [logits] = discriminator.forward([samples], sampled, &mut random.dropout);
            self.risk = Some(labelling_risk(logits, &labels));
            return;
        }
        let mixtures = vectors.mixtures(&random.category).unwrap_or_else(|| vectors.directions.clone());
        let domains = [vectors.samples.clone(), mixtures];
        let mut same_dropout = random.dropout.clone();
        let scaled = domains.clone().map(|domain| scale_gradient(domain, scale.risk));
        let [mut samples, mut mixtures] = discriminator.forward(scaled, sampled, &mut random.dropout);
        self.risk = Some(labelling_risk(samples.clone(), &labels));
        if scale.discrepancy != scale.risk && config.discrepancy_weight != 0.0 {
            // The same logits, by the same masks, with other gradients.
            let scaled = domains.map(|domain| scale_gradient(domain, scale.discrepancy));
            [samples, mixtures] = discriminator.forward(scaled, sampled, &mut same_dropout);
        }
        let mut classes = labels;
        if vectors.has_appended_proxies() {
            // Each sample against its mixture, and against its proxy.
            samples = Tensor::cat(vec![samples.clone(), samples], 0);
            classes.extend_from_within(..);
        }
        self.mixtures = Some((mixtures.clone().detach(), classes));
        self.discrepancy = config.discrepancy.measure(samples, mixtures);
    }

    /// The labelling risk on mixtures, as L_s is that on samples, `[1]`: what L_s and the discrepancy bound, up to the least risk that one
    /// classifier has on both. Nothing learns by it.
    pub fn mixture_risk(&self) -> Option<Tensor<1>> {
        self.mixtures.as_ref().map(|(logits, labels)| labelling_risk(logits.clone(), labels))
    }

    /// What the discriminators minimise, `[1]`; nothing if both levels are off.
    pub fn for_discriminators(&self, config: &DadaConfig) -> Option<Tensor<1>> {
        weighted_sum([
            (&self.domain, config.domain.weight),
            (&self.risk, config.category.weight),
            (&self.discrepancy, -config.category.discrepancy_weight),
        ])
    }

    /// What encoder and proxies minimise beside the proxy loss, `[1]`; nothing if both levels are off.
    pub fn for_encoder(&self, config: &DadaConfig, ramp_up: RampUp) -> Option<Tensor<1>> {
        weighted_sum([
            (&self.confusion, config.domain.generator_weight * ramp_up.domain),
            (&self.risk, config.category.weight * ramp_up.category),
            (&self.discrepancy, config.category.discrepancy_weight * ramp_up.category),
        ])
    }
}

/// What the discriminators look at in one pass.
struct Vectors<'a> {
    mix: &'a MixConfig,
    mixer: Option<&'a Mixer>,
    /// Embeddings as they are, `[rows, dim]`.
    x: Tensor<2>,
    /// The proxy of each, as it is, `[rows, dim]`.
    proxies: Tensor<2>,
    /// Embeddings of length one.
    samples: Tensor<2>,
    /// Proxies of length one.
    directions: Tensor<2>,
}

impl Vectors<'_> {
    /// The mixed domain, of length one: a mixture for each row, and its proxy behind them where proxies are appended. Nothing where there is no
    /// mixed domain.
    fn mixtures(&self, coefficients: &[f64]) -> Option<Tensor<2>> {
        if self.mix.mode == MixMode::Nothing {
            return None;
        }
        let mixtures = normalize(self.mix.mix(self.mixer, self.x.clone(), self.proxies.clone(), coefficients));
        if self.mix.append_proxies {
            return Some(Tensor::cat(vec![mixtures, self.directions.clone()], 0));
        }
        Some(mixtures)
    }

    fn has_appended_proxies(&self) -> bool {
        self.mix.append_proxies && self.mix.mode != MixMode::Nothing
    }

    /// The domain discriminator's logits for samples, mixtures if there are any, and proxies.
    fn domain_logits(&self, discriminator: &Discriminator, random: &mut Randomness, scale: f64) -> Vec<Tensor<2>> {
        let samples = scale_gradient(self.samples.clone(), scale);
        let directions = scale_gradient(self.directions.clone(), scale);
        match self.mixtures(&random.domain) {
            None => discriminator.forward([samples, directions], None, &mut random.dropout).into(),
            Some(mixtures) => {
                let mixtures = scale_gradient(mixtures, scale);
                discriminator.forward([samples, mixtures, directions], None, &mut random.dropout).into()
            }
        }
    }
}

/// Twice the cross-entropy, `[1]`, of logits `[rows, classes]`.
fn labelling_risk(logits: Tensor<2>, labels: &[usize]) -> Tensor<1> {
    cross_entropy(logits, labels) * 2.0
}

fn weighted_sum(terms: [(&Option<Tensor<1>>, f64); 3]) -> Option<Tensor<1>> {
    let present = terms.into_iter().filter(|(_, weight)| *weight != 0.0);
    present.filter_map(|(term, weight)| term.clone().map(|term| term * weight)).reduce(|sum, term| sum + term)
}
