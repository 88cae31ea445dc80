//! One update: gradients, and what they change.

use burn::tensor::Tensor;
use serde::Serialize;

use crate::adversarial::{Discriminators, GradientScale, RampUp, Terms, Update};
use crate::config::RunConfig;
use crate::model::encoder::EncoderInput;
use crate::model::layers::{Mode, normalize};
use crate::train::gradient_norms::GradientNorms;
use crate::train::learner::{Learner, LearnerGradients, Learning};
use crate::train::losses::LossMonitor;
use crate::train::mixed_batch::MixedBatch;
use crate::train::schedule::{At, Clock};

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
    #[serde(rename = "pulls", skip_serializing_if = "Option::is_none")]
    pub gradient_norms: Option<GradientNorms>,
}

/// Where in a run a step is taken.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The run's.
    pub config: &'a RunConfig,
    /// How long the run is.
    pub clock: Clock,
    /// The step.
    pub at: At,
    /// Bring the terms to the host, for the journal. A step that is not recorded does not wait for the device.
    pub recording: bool,
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

/// Learns from one batch: pictures, or what a frozen part of the backbone made of them, with a class each. Nothing is updated from the first
/// loss on that is not finite, which `losses` finds when somebody looks.
pub fn update(
    mut learner: Learner,
    input: EncoderInput,
    labels: &[usize],
    context: Context,
    losses: &mut LossMonitor,
) -> (Learner, Option<Record>) {
    let optimizer = &context.config.optimizer;
    let factor = context.clock.step_size_factor(&optimizer.schedule, context.at);
    // One backbone pass serves both sides.
    let x = embed(&learner, input, context);
    for pass in 0..context.config.dada.d_steps {
        let Some(gradients) = discriminator_gradients(&learner, x.clone(), labels, context, pass, losses) else { break };
        learner = learner.apply(gradients, optimizer, factor);
    }
    let (gradients, record) = gradients(&learner, x, labels, context, losses);
    if let Some(gradients) = gradients {
        learner = learner.apply(gradients, optimizer, factor);
    }
    (learner, record)
}

/// Embeddings `[batch, dim]`, not normalised; their gradient reaches as far as the encoder learns in this epoch.
pub fn embed(learner: &Learner, input: EncoderInput, context: Context) -> Tensor<2> {
    let features = learner.encoder.pooled(input, Mode::Train);
    let is_whole = Phase::of(context.config, context.at.epoch) == Phase::Everything;
    learner.encoder.project(if is_whole { features } else { features.detach() })
}

/// Gradients of the discriminators in a step of their own, by embeddings x `[batch, dim]` and proxies that are fixed; nothing if both levels are
/// off. `pass` counts such steps within the step.
pub fn discriminator_gradients(
    learner: &Learner,
    x: Tensor<2>,
    labels: &[usize],
    context: Context,
    pass: usize,
    losses: &mut LossMonitor,
) -> Option<LearnerGradients> {
    let (config, dada) = (context.config, &context.config.dada);
    let discriminators = learner.discriminators.as_ref()?;
    let MixedBatch { x, labels, mut randomness } = MixedBatch::new(x.detach(), labels, config, context.at, pass);
    let rows = Tensor::from_inner(learner.loss.proxy_rows(x.clone(), &labels).inner());
    let terms = Terms::new(discriminators, dada, x, rows, &labels, &mut randomness, GradientScale::ZERO);
    let total = terms.for_discriminators(dada)?;
    let finite = losses.note(&total, "discriminator loss", context.at);
    Some(learner.gradients(Learning::Discriminators, total.backward(), finite))
}

/// Gradients of encoder and proxies and, under reversal, of the discriminators, from embeddings `[batch, dim]` with a class each. There are none in a
/// warm-up of discriminators that learn in steps of their own.
pub fn gradients(
    learner: &Learner,
    embeddings: Tensor<2>,
    labels: &[usize],
    context: Context,
    losses: &mut LossMonitor,
) -> (Option<LearnerGradients>, Option<Record>) {
    let Objective { total, learning, record } = objective(learner, embeddings, labels, context);
    let gradients = total.map(|total| {
        let finite = losses.note(&total, "loss", context.at);
        learner.gradients(learning, total.backward(), finite)
    });
    (gradients, record)
}

/// What one backward pass of a step is over.
struct Objective {
    /// Nothing in a warm-up of discriminators that learn in steps of their own.
    total: Option<Tensor<1>>,
    /// Whom its gradients are for.
    learning: Learning,
    record: Option<Record>,
}

fn objective(learner: &Learner, embeddings: Tensor<2>, labels: &[usize], context: Context) -> Objective {
    let Context { config, clock, at, recording } = context;
    let dada = &config.dada;
    let phase = Phase::of(config, at.epoch);
    let ramp_up = RampUp { domain: clock.ramp(dada.domain.ramp_epochs, at), category: clock.ramp(dada.category.ramp_epochs, at) };
    let mut record = Record::default();
    if recording && at.step == 0 && phase != Phase::DiscriminatorsOnly {
        record.gradient_norms = Some(GradientNorms::measure(learner, &embeddings, labels, config, at, ramp_up));
    }

    let MixedBatch { x, labels, mut randomness } = MixedBatch::new(embeddings, labels, config, at, dada.d_steps);
    let rows = learner.loss.proxy_rows(x.clone(), &labels);
    if recording {
        record.proxy_cosine = Some(scalar((normalize(x.clone()) * normalize(rows.clone())).sum_dim(1).mean()));
    }
    // In alternation the discriminators' own gradients are nobody's business here, so they are not computed.
    let (discriminators, scale) = match (dada.update, phase) {
        (Update::Alternating, _) => (learner.discriminators.as_ref().map(Discriminators::frozen), GradientScale::ONE),
        (Update::Reversal, Phase::DiscriminatorsOnly) => (learner.discriminators.clone(), GradientScale::ZERO),
        (Update::Reversal, _) => (learner.discriminators.clone(), GradientScale::reversed(dada, ramp_up)),
    };
    let mut adversarial = None;
    if let Some(discriminators) = discriminators {
        let terms = Terms::new(&discriminators, dada, x.clone(), rows, &labels, &mut randomness, scale);
        if recording {
            record.terms(&terms);
        }
        adversarial = match dada.update {
            Update::Alternating => terms.for_encoder(dada, ramp_up),
            Update::Reversal => terms.for_discriminators(dada),
        };
    }
    if phase == Phase::DiscriminatorsOnly {
        let total = adversarial.filter(|_| dada.update == Update::Reversal);
        return Objective { total, learning: Learning::Discriminators, record: recording.then_some(record) };
    }
    let loss = learner.loss.forward(x, &labels);
    if recording {
        record.proxy_loss = Some(scalar(loss.clone()));
    }
    let loss = loss * config.loss.weight;
    let total = if let Some(adversarial) = adversarial { loss + adversarial } else { loss };
    Objective { total: Some(total), learning: Learning::Everything, record: recording.then_some(record) }
}

impl Record {
    fn terms(&mut self, terms: &Terms) {
        self.domain = terms.domain.clone().map(scalar);
        self.risk = terms.risk.clone().map(scalar);
        self.discrepancy = terms.discrepancy.clone().map(scalar);
        self.mixture_risk = terms.mixture_risk().map(scalar);
        self.domain_accuracy = terms.domain_accuracy.clone().map(scalar);
    }
}

fn scalar(value: Tensor<1>) -> f64 {
    value.into_scalar::<f64>()
}
