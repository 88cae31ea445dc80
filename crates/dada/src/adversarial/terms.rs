//! The terms that both sides of the game are built from, and the two objectives made of them.

use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;

use crate::adversarial::category::places;
use crate::adversarial::{
    DadaConfig, Discrepancy, Discriminators, MixConfig, MixMode, constant, cross_entropy, domain_accuracy, domain_loss,
};
use crate::model::layers::normalize;
use crate::random::Purpose;

/// The randomness of one pass: each discriminator sees mixtures of its own.
pub struct Draws {
    /// Coefficients for D_u, one a row.
    pub domain: Vec<f64>,
    /// Coefficients for D_c, one a row.
    pub category: Vec<f64>,
    /// The classes that D_c judges.
    pub classes: ChaCha8Rng,
    /// Dropout masks.
    pub dropout: ChaCha8Rng,
}

impl Draws {
    /// What a pass over `rows` rows draws from the generators that `random` makes.
    pub fn new(config: &MixConfig, rows: usize, random: impl Fn(Purpose) -> ChaCha8Rng) -> Self {
        let mut mixing = random(Purpose::DomainMix);
        let [domain, category] = std::array::from_fn(|_| config.coefficients(rows, &mut mixing));
        Self { domain, category, classes: random(Purpose::Classes), dropout: random(Purpose::Dropout) }
    }
}

/// How much of each weight holds for encoder and proxies: from 0 to 1, over the ramps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramps {
    /// Of the domain level.
    pub domain: f64,
    /// Of the category level.
    pub category: f64,
}

impl Ramps {
    /// After the ramps.
    pub const PASSED: Self = Self { domain: 1.0, category: 1.0 };
}

/// The factor of each term's gradient where it leaves the discriminators for samples, proxies and a learned mixture. Values are the
/// same whatever the factor; the discriminators' own gradients are whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    /// Of L_u.
    pub domain: f64,
    /// Of L_s.
    pub risk: f64,
    /// Of L_dis.
    pub discrepancy: f64,
}

impl Reach {
    /// Gradients pass as they are: for the encoder's own step.
    pub const WHOLE: Self = Self { domain: 1.0, risk: 1.0, discrepancy: 1.0 };
    /// Gradients stay within the discriminators: for their own step.
    pub const NONE: Self = Self { domain: 0.0, risk: 0.0, discrepancy: 0.0 };

    /// Gradient reversal (Ganin and Lempitsky, *Unsupervised Domain Adaptation by Backpropagation*, ICML 2015): one backward pass over
    /// [`Terms::for_discriminators`] then gives encoder and proxies the gradient of [`Terms::for_encoder`].
    pub fn reversed(config: &DadaConfig, ramps: Ramps) -> Self {
        let share = if config.domain.weight == 0.0 { 0.0 } else { config.domain.generator_weight / config.domain.weight };
        Self { domain: -share * ramps.domain, risk: ramps.category, discrepancy: -ramps.category }
    }
}

/// The same values, with gradients multiplied by `factor`.
fn pass_on(x: Tensor<2>, factor: f64) -> Tensor<2> {
    if factor == 1.0 {
        return x;
    }
    let fixed = constant(x.clone());
    // The difference is exactly zero, so that values do not change by rounding.
    if factor == 0.0 { fixed } else { (x - fixed.clone()) * factor + fixed }
}

/// The terms of one pass; those of a level that is switched off are absent.
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
    /// Logits of the mixtures that L_dis is of, without gradients, and their classes among the judged ones.
    mixtures: Option<(Tensor<2>, Vec<usize>)>,
}

impl Terms {
    /// Judges embeddings x `[rows, dim]` and the proxy of each row `[rows, dim]`.
    pub fn new(
        judges: &Discriminators,
        config: &DadaConfig,
        x: Tensor<2>,
        proxies: Tensor<2>,
        labels: &[usize],
        draws: &mut Draws,
        reach: Reach,
    ) -> Self {
        let mixed = |coefficients: &[f64]| normalize(config.mix.mix(judges.mixer.as_ref(), x.clone(), proxies.clone(), coefficients));
        let samples = normalize(x.clone());
        let directions = normalize(proxies.clone());
        let extended = |mixtures: Tensor<2>| match config.mix.append_proxies {
            true => Tensor::cat(vec![mixtures, directions.clone()], 0),
            false => mixtures,
        };
        let mut terms = Self { domain: None, confusion: None, domain_accuracy: None, risk: None, discrepancy: None, mixtures: None };
        if let Some(judge) = &judges.domain {
            let [samples, directions] = [&samples, &directions].map(|domain| pass_on(domain.clone(), reach.domain));
            let logits = match config.mix.mode {
                MixMode::Nothing => judge.forward([samples, directions], None, &mut draws.dropout).to_vec(),
                _ => {
                    let mixtures = pass_on(extended(mixed(&draws.domain)), reach.domain);
                    judge.forward([samples, mixtures, directions], None, &mut draws.dropout).to_vec()
                }
            };
            terms.domain = Some(domain_loss(&logits));
            terms.confusion = Some(config.domain.confusion.loss(&logits));
            terms.domain_accuracy = Some(domain_accuracy(&logits));
        }
        if let Some(judge) = &judges.category {
            let chosen = config.category.judged(labels, judge.outputs(), &mut draws.classes);
            let labels = places(labels, chosen.as_deref());
            if config.category.discrepancy == Discrepancy::None {
                let [logits] = judge.forward([pass_on(samples, reach.risk)], chosen.as_deref(), &mut draws.dropout);
                terms.risk = Some(cross_entropy(logits, &labels) * 2.0);
                return terms;
            }
            let mixtures = match config.mix.mode {
                MixMode::Nothing => directions.clone(),
                _ => extended(mixed(&draws.category)),
            };
            let mut again = draws.dropout.clone();
            let judged = |factor: f64, dropout: &mut ChaCha8Rng| {
                judge.forward([&samples, &mixtures].map(|vectors| pass_on(vectors.clone(), factor)), chosen.as_deref(), dropout)
            };
            let [mut of_samples, mut of_mixtures] = judged(reach.risk, &mut draws.dropout);
            terms.risk = Some(cross_entropy(of_samples.clone(), &labels) * 2.0);
            if reach.discrepancy != reach.risk && config.category.discrepancy_weight != 0.0 {
                // The same logits, by the same masks, with other gradients.
                [of_samples, of_mixtures] = judged(reach.discrepancy, &mut again);
            }
            let mut of_classes = labels;
            if config.mix.append_proxies && config.mix.mode != MixMode::Nothing {
                // Each sample against its mixture, and against its proxy.
                of_samples = Tensor::cat(vec![of_samples.clone(), of_samples], 0);
                of_classes.extend_from_within(..);
            }
            terms.mixtures = Some((of_mixtures.clone().detach(), of_classes));
            terms.discrepancy = config.category.discrepancy.measure(of_samples, of_mixtures);
        }
        terms
    }

    /// The labelling risk on mixtures, as L_s is that on samples, `[1]`: what L_s and the discrepancy bound, up to the least risk that one
    /// classifier has on both. Nothing learns by it.
    pub fn mixture_risk(&self) -> Option<Tensor<1>> {
        self.mixtures.as_ref().map(|(logits, labels)| cross_entropy(logits.clone(), labels) * 2.0)
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
    pub fn for_encoder(&self, config: &DadaConfig, ramps: Ramps) -> Option<Tensor<1>> {
        weighted([
            (&self.confusion, config.domain.generator_weight * ramps.domain),
            (&self.risk, config.category.weight * ramps.category),
            (&self.discrepancy, config.category.discrepancy_weight * ramps.category),
        ])
    }
}

fn weighted(terms: [(&Option<Tensor<1>>, f64); 3]) -> Option<Tensor<1>> {
    let present = terms.into_iter().filter(|(_, weight)| *weight != 0.0);
    present.filter_map(|(term, weight)| term.clone().map(|term| term * weight)).reduce(|sum, term| sum + term)
}
