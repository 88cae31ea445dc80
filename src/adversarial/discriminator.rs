//! The multi-layer perceptron behind both discriminators.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation::relu};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::compute::{Activation, batch_norm_rows};
use crate::layers::{Initializer, Linear, dropout, layer_norm};

/// What follows a discriminator's linear layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// Batch norm over all domains together, so that they are seen side by side.
    #[default]
    BatchJoint,
    /// Batch norm within each domain, which hides the differences of mean and scale between them: the released code.
    BatchPerDomain,
    /// Layer norm.
    Layer,
    /// Nothing.
    None,
}

/// Shape of a discriminator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiscriminatorConfig {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Normalisation of the hidden layers.
    pub norm: Norm,
    /// Whether the output is normalised too.
    pub output_norm: bool,
    /// Dropout rate of the hidden layers.
    pub dropout: f64,
}

impl Default for DiscriminatorConfig {
    fn default() -> Self {
        Self { hidden: vec![512], norm: Norm::BatchJoint, output_norm: false, dropout: 0.0 }
    }
}

impl DiscriminatorConfig {
    /// A discriminator from `inputs` dimensions to `outputs` logits.
    pub fn init(&self, inputs: usize, outputs: usize, init: &mut Initializer) -> Discriminator {
        let mut layers = Vec::new();
        let mut norms = Vec::new();
        let mut width = inputs;
        for (index, &next) in self.hidden.iter().chain([&outputs]).enumerate() {
            layers.push(Linear::new(width, next, init));
            let normalised = index < self.hidden.len() || self.output_norm;
            if normalised && self.norm != Norm::None {
                norms.push(Affine { weight: init.constant([next], 1.0), bias: init.constant([next], 0.0) });
            }
            width = next;
        }
        Discriminator { layers, norms, norm: self.norm, dropout: self.dropout }
    }
}

/// Scale and shift after a normalisation.
#[derive(Module, Debug)]
pub struct Affine {
    /// γ, `[width]`
    pub weight: Param<Tensor<1>>,
    /// β, `[width]`
    pub bias: Param<Tensor<1>>,
}

/// Linear layers, each hidden one followed by norm, ReLU and dropout.
///
/// A discriminator only ever works while training: its batch norm uses the batch's statistics and keeps no averages.
#[derive(Module, Debug)]
pub struct Discriminator {
    /// Hidden layers, then the output.
    pub layers: Vec<Linear>,
    /// One for each normalised layer.
    pub norms: Vec<Affine>,
    #[module(skip)]
    norm: Norm,
    #[module(skip)]
    dropout: f64,
}

impl Discriminator {
    /// Logits `[rows, outputs]` of each domain `[rows, inputs]`; domains have as many rows as they like.
    pub fn forward<const N: usize>(&self, domains: [Tensor<2>; N], generator: &mut ChaCha8Rng) -> [Tensor<2>; N] {
        // All domains together in either case: a linear layer does not mind, and its gradient is then one product.
        let rows = domains.each_ref().map(|domain| domain.dims()[0]);
        let groups = if self.norm == Norm::BatchPerDomain { rows.to_vec() } else { vec![rows.iter().sum()] };
        let logits = self.pass(Tensor::cat(domains.into(), 0), &groups, generator);
        let mut start = 0;
        rows.map(|rows| {
            start += rows;
            logits.clone().narrow(0, start - rows, rows)
        })
    }

    fn pass(&self, mut x: Tensor<2>, groups: &[usize], generator: &mut ChaCha8Rng) -> Tensor<2> {
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x);
            let is_hidden = index + 1 < self.layers.len();
            let activation = if is_hidden { Activation::Relu } else { Activation::Identity };
            x = match self.norms.get(index).map(|affine| (affine.weight.val(), affine.bias.val())) {
                None if is_hidden => relu(x),
                None => x,
                Some((weight, bias)) if self.norm == Norm::Layer => {
                    let x = layer_norm(x) * weight.unsqueeze() + bias.unsqueeze();
                    if is_hidden { relu(x) } else { x }
                }
                Some((weight, bias)) => batch_norm_rows(x, weight, bias, groups, activation),
            };
            if is_hidden {
                x = dropout(x, self.dropout, generator);
            }
        }
        x
    }
}
