//! How strongly each term of the objective pulls: the norm of its weighted gradient at the embeddings and at the proxies.

use burn::tensor::{Gradients, Tensor};
use serde::{Deserialize, Serialize};

use crate::adversarial::{Discriminators, GradientScale, RampUp, Terms};
use crate::config::RunConfig;
use crate::train::learner::Learner;
use crate::train::mixed_batch::MixedBatch;
use crate::train::schedule::At;

/// Euclidean norms of one term's gradient, with the term's weight in the encoder's objective.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradientNorm {
    /// At all embeddings of the batch together.
    pub embeddings: f64,
    /// At all proxies together.
    pub proxies: f64,
}

/// Of every term; absent where the term is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradientNorms {
    /// The proxy loss.
    pub proxy_loss: GradientNorm,
    /// What confuses the domain discriminator.
    pub domain: Option<GradientNorm>,
    /// L_s
    pub risk: Option<GradientNorm>,
    /// L_dis
    pub discrepancy: Option<GradientNorm>,
}

impl GradientNorms {
    /// Measures on embeddings x `[batch, dim]`, with what the step's last pass randomness.
    pub fn measure(learner: &Learner, x: &Tensor<2>, labels: &[usize], config: &RunConfig, at: At, ramp_up: RampUp) -> Self {
        let dada = &config.dada;
        let mixed = || MixedBatch::new(x.clone().detach(), labels, config, at, dada.d_steps);
        let discriminators = learner.discriminators.as_ref().map(Discriminators::frozen);
        let adversarial = |weight: f64, term: fn(Terms) -> Option<Tensor<1>>| -> Option<GradientNorm> {
            let MixedBatch { x, labels, mut randomness } = mixed();
            let x = x.detach().require_grad();
            let rows = learner.loss.proxy_rows(x.clone(), &labels);
            let terms = Terms::new(discriminators.as_ref()?, dada, x.clone(), rows, &labels, &mut randomness, GradientScale::ONE);
            Some(norms(learner, &x, &(term(terms)? * weight).backward()))
        };
        let MixedBatch { x, labels, .. } = mixed();
        let x = x.detach().require_grad();
        let proxy_loss = (learner.loss.forward(x.clone(), &labels) * config.loss.weight).backward();
        Self {
            proxy_loss: norms(learner, &x, &proxy_loss),
            domain: adversarial(dada.domain.generator_weight * ramp_up.domain, |terms| terms.confusion),
            risk: adversarial(dada.category.weight * ramp_up.category, |terms| terms.risk),
            discrepancy: adversarial(dada.category.discrepancy_weight * ramp_up.category, |terms| terms.discrepancy),
        }
    }
}

fn norms(learner: &Learner, x: &Tensor<2>, gradients: &Gradients) -> GradientNorm {
    GradientNorm { embeddings: norm(x.grad(gradients)), proxies: norm(learner.loss.proxies().grad(gradients)) }
}

fn norm(gradient: Option<Tensor<2>>) -> f64 {
    gradient.map_or(0.0, |gradient| gradient.square().sum().into_scalar::<f64>().sqrt())
}
