//! Proxy losses: one or several trainable vectors per class, and embeddings drawn to the vector of theirs.
//!
//! A loss knows nothing of the adversarial part. That part asks for one plain tensor, the proxy of each row, and therefore works with every
//! loss in this list. Equations, defaults and sources are in `docs/losses.md`.

#[macro_use]
mod list;
mod rows;
mod settings;
mod softmax;

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

pub use proxy_anchor::PositiveMean;
pub use proxy_nca::Sum;
pub use settings::{Loss, LossSettings};
pub use softmax::{Margin, Softmax};

use crate::error::Result;
use crate::model::layers::Initializer;

// The list of losses: the `match` arms, the names that an error offers, the arms of `--preset losses` and the tests come from it.
proxy_losses! {
    proxy_anchor: ProxyAnchorConfig => ProxyAnchor = "proxy-anchor";
    proxy_nca: ProxyNcaConfig => ProxyNca = "proxy-nca";
    proxy_nca_plus_plus: ProxyNcaPlusPlusConfig => ProxyNcaPlusPlus = "proxy-nca++";
    normalized_softmax: NormalizedSoftmaxConfig => NormalizedSoftmax = "normalized-softmax";
    cosface: CosFaceConfig => CosFace = "cosface";
    arcface: ArcFaceConfig => ArcFace = "arcface";
    soft_triple: SoftTripleConfig => SoftTriple = "soft-triple";
    potential_field: PotentialFieldConfig => PotentialField = "potential-field";
}

/// The `[loss]` section: which loss, its parameters, and its weight in the total.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LossConfig {
    /// Factor of the proxy loss in the encoder's objective; its default is the loss's own, [`LossSettings::DEFAULT_WEIGHT`].
    pub weight: f64,
    /// Which loss.
    #[serde(flatten)]
    pub kind: ProxyLossConfig,
}

impl Default for LossConfig {
    fn default() -> Self {
        let kind = ProxyLossConfig::ProxyAnchor(ProxyAnchorConfig::default());
        Self { weight: kind.default_weight(), kind }
    }
}

impl ProxyLoss {
    /// The loss `[1]` of embeddings `[batch, dim]`, which need not be normalised, with a class each.
    pub fn forward(&self, embeddings: Tensor<2>, labels: &[usize]) -> Tensor<1> {
        self.loss().forward(embeddings, labels)
    }

    /// All proxies; see [`Loss::proxies`].
    pub fn proxies(&self) -> Tensor<2> {
        self.loss().proxies()
    }

    /// The proxy of each row `[batch, dim]`; see [`Loss::proxy_rows`].
    pub fn proxy_rows(&self, embeddings: Tensor<2>, labels: &[usize]) -> Tensor<2> {
        self.loss().proxy_rows(embeddings, labels)
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        let [rows, _] = self.proxies().dims();
        rows / self.loss().centres()
    }
}

#[cfg(test)]
mod tests;
