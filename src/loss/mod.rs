//! Proxy losses: one trainable vector per class, and embeddings drawn to the vector of theirs.
//!
//! A loss knows nothing of the adversarial part. That part asks for two plain tensors, the proxy of each row and all proxies, and
//! therefore works with every loss in this list.

mod proxy_anchor;

use burn::module::Module;
use burn::tensor::{Bool, Tensor, TensorData};
use serde::{Deserialize, Serialize};

pub use proxy_anchor::{PositiveMean, ProxyAnchor, ProxyAnchorConfig};

use crate::layers::Initializer;

/// The `[loss]` section: which loss, its parameters, and its weight in the total.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LossConfig {
    /// Factor of the proxy loss in the encoder's objective.
    pub weight: f64,
    /// Which loss.
    #[serde(flatten)]
    pub kind: ProxyLossConfig,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self { weight: 0.0075, kind: ProxyLossConfig::ProxyAnchor(ProxyAnchorConfig::default()) }
    }
}

/// The list of losses, chosen by `loss.name`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum ProxyLossConfig {
    /// Kim et al., *Proxy Anchor Loss for Deep Metric Learning*, CVPR 2020.
    ProxyAnchor(ProxyAnchorConfig),
}

impl ProxyLossConfig {
    /// A loss with freshly drawn proxies.
    pub fn init(&self, classes: usize, dim: usize, init: &mut Initializer) -> ProxyLoss {
        match self {
            Self::ProxyAnchor(config) => ProxyLoss::ProxyAnchor(config.init(classes, dim, init)),
        }
    }
}

/// A loss with its proxies.
#[derive(Module, Debug)]
pub enum ProxyLoss {
    /// See [`ProxyAnchor`].
    ProxyAnchor(ProxyAnchor),
}

impl ProxyLoss {
    /// The loss `[1]` of embeddings `[batch, dim]`, which need not be normalised, with a class each.
    pub fn forward(&self, embeddings: Tensor<2>, labels: &[usize]) -> Tensor<1> {
        match self {
            Self::ProxyAnchor(loss) => loss.forward(embeddings, labels),
        }
    }

    /// All proxies, `[classes, dim]`.
    pub fn proxies(&self) -> Tensor<2> {
        match self {
            Self::ProxyAnchor(loss) => loss.proxies.val(),
        }
    }
}

/// Marks each row's class: `[batch, classes]`.
fn membership(labels: &[usize], scores: &Tensor<2>) -> Tensor<2, Bool> {
    let [batch, classes] = scores.dims();
    let mut marks = vec![false; batch * classes];
    for (row, &label) in labels.iter().enumerate() {
        marks[row * classes + label] = true;
    }
    Tensor::from_data(TensorData::new(marks, [batch, classes]), &scores.device())
}
