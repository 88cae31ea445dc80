//! One update: the only place where the proxy loss and the adversarial part meet.

use burn::tensor::Tensor;
use serde::Serialize;

use crate::adversarial::{Discriminators, Randomness, GradientScale, Terms, Update, append_class_mixtures, class_coefficient};
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::loss::ProxyLoss;
use crate::model::encoder::{Encoder, Input};
use crate::model::layers::{Initializer, Mode, normalize};
use crate::random::{Purpose, generator};
use crate::train::At;
use crate::train::optimizer::Adam;
use crate::train::pull::{Pulls, pulls};

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
}

/// What the journal says of a step; terms that were not computed are absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Record {
    /// The proxy loss, unweighted.
    pub proxy_loss: Option<f64>,
    /// L_u as encoder and proxies see it.
    pub domain: Option<f64>,
    /// L_s
    pub risk: Option<f64>,
    /// L_dis
    pub discrepancy: Option<f64>,
    /// The labelling risk on mixtures.
    pub mixture_risk: Option<f64>,
    /// Share of domains that the discriminator recognises; 1/3 at chance.
    pub domain_accuracy: Option<f64>,
    /// Mean cosine of a sample and its proxy.
    pub proxy_cosine: Option<f64>,
    /// How strongly each term pulls; of the first step of an epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pulls: Option<Pulls>,
}

/// Which parts learn in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    DiscriminatorsOnly,
    FrozenBackbone,
    Everything,
}

impl Phase {
    fn of(config: &RunConfig, epoch: usize) -> Self {
        if config.dada.enabled && epoch < config.dada.d_warmup_epochs {
            Self::DiscriminatorsOnly
        } else if epoch < config.train.warmup_epochs {
            Self::FrozenBackbone
        } else {
            Self::Everything
        }
    }
}

/// Learns from one batch: pictures, or what a frozen part of the backbone made of them, with a class each. `steps` is the number of steps in an epoch;
/// with `recording`, the terms are brought to the host for the journal.
///
/// # Errors
/// [`Error::NonFinite`], before anything is updated by the term that is not finite.
pub fn update(
    mut learner: Learner,
    input: Input,
    labels: &[usize],
    config: &RunConfig,
    at: At,
    steps: usize,
    recording: bool,
) -> Result<(Learner, Record)> {
    let phase = Phase::of(config, at.epoch);
    let factor = config.schedule_factor(at, steps);
    let (optimizer, dada) = (&config.optimizer, &config.dada);

    // One backbone pass serves both sides.
    let x = match phase {
        Phase::Everything => learner.encoder.project(learner.encoder.pooled(input, Mode::Train)),
        _ => learner.encoder.project(learner.encoder.pooled(input, Mode::Train).detach()),
    };
    let pass = |x: Tensor<2>, index: usize| Pass::new(x, labels, config, at, index);

    if let Some(mut discriminators) = learner.discriminators.take() {
        let x = x.clone().detach();
        for index in 0..dada.d_steps {
            let Pass { x, labels, mut draws } = pass(x.clone(), index);
            let rows = Tensor::from_inner(learner.loss.proxy_rows(x.clone(), &labels).inner());
            let terms = Terms::new(&discriminators, dada, x, rows, &labels, &mut draws, GradientScale::ZERO);
            let Some(total) = terms.for_discriminators(dada) else { break };
            let mut gradients = finite(total, "discriminator loss", at)?.backward();
            let adam = &mut learner.discriminators_adam;
            discriminators = adam.step(discriminators, &mut gradients, optimizer, optimizer.discriminators, factor);
        }
        learner.discriminators = Some(discriminators);
    }

    let mut record = Record::default();
    let before_mixing = x.clone();
    let Pass { x, labels, mut draws } = pass(x, dada.d_steps);
    let rows = learner.loss.proxy_rows(x.clone(), &labels);
    if recording {
        record.proxy_cosine = Some(scalar((normalize(x.clone()) * normalize(rows.clone())).sum_dim(1).mean()));
    }
    let ramps = config.ramps(at, steps);
    if recording && at.step == 0 && phase != Phase::DiscriminatorsOnly {
        record.pulls = Some(pulls(&learner, config, ramps, || pass(before_mixing.clone(), dada.d_steps)));
    }
    // In alternation the discriminators' own gradients are nobody's business here, so they are not computed.
    let (judges, reach) = match (dada.update, phase) {
        (Update::Alternating, _) => (learner.discriminators.as_ref().map(Discriminators::frozen), GradientScale::ONE),
        (Update::Reversal, Phase::DiscriminatorsOnly) => (learner.discriminators.clone(), GradientScale::ZERO),
        (Update::Reversal, _) => (learner.discriminators.clone(), GradientScale::reversed(dada, ramps)),
    };
    let terms = judges.map(|judges| Terms::new(&judges, dada, x.clone(), rows, &labels, &mut draws, reach));
    if let (true, Some(terms)) = (recording, &terms) {
        let value = |term: &Option<Tensor<1>>| term.clone().map(scalar);
        record.domain = value(&terms.domain);
        record.risk = value(&terms.risk);
        record.discrepancy = value(&terms.discrepancy);
        record.mixture_risk = value(&terms.mixture_risk());
        record.domain_accuracy = value(&terms.domain_accuracy);
    }
    let adversarial = terms.and_then(|terms| match dada.update {
        Update::Alternating => terms.for_encoder(dada, ramps),
        Update::Reversal => terms.for_discriminators(dada),
    });

    let total = match phase {
        Phase::DiscriminatorsOnly => adversarial.filter(|_| dada.update == Update::Reversal),
        Phase::FrozenBackbone | Phase::Everything => {
            let loss = learner.loss.forward(x, &labels);
            if recording {
                record.proxy_loss = Some(scalar(loss.clone()));
            }
            let loss = loss * config.loss.weight;
            Some(if let Some(adversarial) = adversarial { loss + adversarial } else { loss })
        }
    };
    let Some(total) = total else { return Ok((learner, record)) };
    let mut gradients = finite(total, "loss", at)?.backward();
    if phase != Phase::DiscriminatorsOnly {
        learner.encoder = learner.encoder_adam.step(learner.encoder, &mut gradients, optimizer, optimizer.encoder, factor);
        learner.loss = learner.proxies_adam.step(learner.loss, &mut gradients, optimizer, optimizer.proxies, factor);
    }
    // In alternation only what mixes has a gradient here.
    if let Some(discriminators) = learner.discriminators.take() {
        let adam = &mut learner.discriminators_adam;
        learner.discriminators = Some(adam.step(discriminators, &mut gradients, optimizer, optimizer.discriminators, factor));
    }
    Ok((learner, record))
}

/// The batch as one pass through the discriminators sees it: class mixtures and mixing coefficients are drawn anew in each.
pub(super) struct Pass {
    pub(super) x: Tensor<2>,
    pub(super) labels: Vec<usize>,
    pub(super) draws: Randomness,
}

impl Pass {
    fn new(x: Tensor<2>, labels: &[usize], config: &RunConfig, at: At, index: usize) -> Self {
        let random = |purpose| generator(config.seed, purpose, at.epoch, at.step, index);
        let (x, labels) = match config.train.class_mixup {
            true => append_class_mixtures(x, labels, class_coefficient(&mut random(Purpose::ClassMix))),
            false => (x, labels.to_vec()),
        };
        let draws = Randomness::new(&config.dada.mix, labels.len(), random);
        Self { x, labels, draws }
    }
}

fn scalar(value: Tensor<1>) -> f64 {
    value.into_scalar::<f64>()
}

fn finite(total: Tensor<1>, term: &str, at: At) -> Result<Tensor<1>> {
    let value = scalar(total.clone());
    match value.is_finite() {
        true => Ok(total),
        false => Err(Error::NonFinite { term: term.to_owned(), value, epoch: at.epoch, step: at.step }),
    }
}
