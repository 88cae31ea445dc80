//! How strongly each term pulls: the norm of its weighted gradient at the embeddings and at the proxies.

use burn::tensor::{Gradients, Tensor};
use serde::{Deserialize, Serialize};

use crate::adversarial::{Discriminators, RampUp, GradientScale, Terms};
use crate::config::RunConfig;
use crate::train::step::{Learner, Pass};

/// Euclidean norms of one term's gradient, with the term's weight in the encoder's objective.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pull {
    /// At all embeddings of the batch together.
    pub embeddings: f64,
    /// At all proxies together.
    pub proxies: f64,
}

/// Of every term; absent where the term is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pulls {
    /// The proxy loss.
    pub proxy_loss: Pull,
    /// What confuses the domain discriminator.
    pub domain: Option<Pull>,
    /// L_s
    pub risk: Option<Pull>,
    /// L_dis
    pub discrepancy: Option<Pull>,
}

/// Measures, on the batch that `pass` makes afresh for each term, with its draws.
pub(super) fn pulls(learner: &Learner, config: &RunConfig, ramps: RampUp, pass: impl Fn() -> Pass) -> Pulls {
    let (dada, judges) = (&config.dada, learner.discriminators.as_ref().map(Discriminators::frozen));
    let adversarial = |weight: f64, term: fn(Terms) -> Option<Tensor<1>>| -> Option<Pull> {
        let Pass { x, labels, mut draws } = pass();
        let x = x.detach().require_grad();
        let rows = learner.loss.proxy_rows(x.clone(), &labels);
        let term = term(Terms::new(judges.as_ref()?, dada, x.clone(), rows, &labels, &mut draws, GradientScale::ONE))?;
        Some(pull(learner, &x, &(term * weight).backward()))
    };
    let Pass { x, labels, .. } = pass();
    let x = x.detach().require_grad();
    let proxy_loss = (learner.loss.forward(x.clone(), &labels) * config.loss.weight).backward();
    Pulls {
        proxy_loss: pull(learner, &x, &proxy_loss),
        domain: adversarial(dada.domain.generator_weight * ramps.domain, |terms| terms.confusion),
        risk: adversarial(dada.category.weight * ramps.category, |terms| terms.risk),
        discrepancy: adversarial(dada.category.discrepancy_weight * ramps.category, |terms| terms.discrepancy),
    }
}

fn pull(learner: &Learner, x: &Tensor<2>, gradients: &Gradients) -> Pull {
    let norm = |gradient: Option<Tensor<2>>| gradient.map_or(0.0, |gradient| gradient.square().sum().into_scalar::<f64>().sqrt());
    Pull { embeddings: norm(x.grad(gradients)), proxies: norm(learner.loss.proxies().grad(gradients)) }
}
