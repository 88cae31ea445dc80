//! Proxy losses: one or several trainable vectors per class, and embeddings drawn to the vector of theirs.
//!
//! A loss knows nothing of the adversarial part. That part asks for two plain tensors, the proxy of each row and all proxies, and
//! therefore works with every loss in this list. Equations, defaults and sources are in `docs/losses.md`.

mod potential_field;
mod proxy_anchor;
mod proxy_nca;
mod soft_triple;
mod softmax;

use burn::module::Module;
use burn::tensor::{Bool, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

pub use potential_field::{PotentialField, PotentialFieldConfig};
pub use proxy_anchor::{PositiveMean, ProxyAnchor, ProxyAnchorConfig};
pub use proxy_nca::{ProxyNca, ProxyNcaConfig, ProxyNcaPlusPlusConfig, Sum};
pub use soft_triple::{SoftTriple, SoftTripleConfig};
pub use softmax::{ArcFaceConfig, CosFaceConfig, Margin, NormalizedSoftmaxConfig, Softmax};

use crate::error::{Error, Result};
use crate::model::layers::{Initializer, normalize};

/// The `[loss]` section: which loss, its parameters, and its weight in the total.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LossConfig {
    /// Factor of the proxy loss in the encoder's objective; its default is the loss's own, [`ProxyLossConfig::default_weight`].
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

/// The list of losses, chosen by `loss.name`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum ProxyLossConfig {
    /// Kim et al., *Proxy Anchor Loss for Deep Metric Learning*, CVPR 2020.
    ProxyAnchor(ProxyAnchorConfig),
    /// Movshovitz-Attias et al., *No Fuss Distance Metric Learning using Proxies*, ICCV 2017.
    ProxyNca(ProxyNcaConfig),
    /// Teh et al., *ProxyNCA++*, ECCV 2020.
    #[serde(rename = "proxy-nca++")]
    ProxyNcaPlusPlus(ProxyNcaPlusPlusConfig),
    /// Zhai and Wu, *Classification is a Strong Baseline for Deep Metric Learning*, BMVC 2019.
    NormalizedSoftmax(NormalizedSoftmaxConfig),
    /// Wang et al., *CosFace: Large Margin Cosine Loss for Deep Face Recognition*, CVPR 2018.
    #[serde(rename = "cosface")]
    CosFace(CosFaceConfig),
    /// Deng et al., *ArcFace: Additive Angular Margin Loss for Deep Face Recognition*, CVPR 2019.
    #[serde(rename = "arcface")]
    ArcFace(ArcFaceConfig),
    /// Qian et al., *SoftTriple Loss: Deep Metric Learning Without Triplet Sampling*, ICCV 2019.
    SoftTriple(SoftTripleConfig),
    /// Bhatnagar and Ahuja, *Potential Field Based Deep Metric Learning*, CVPR 2025.
    PotentialField(PotentialFieldConfig),
}

impl ProxyLossConfig {
    /// The weight beside which `dada`'s default weights are neither lost nor in charge. Proxy-Anchor, a mean over classes of what gathers over the
    /// whole batch, pulls at embeddings about six times as hard as a mean over rows.
    pub fn default_weight(&self) -> f64 {
        match self {
            Self::ProxyAnchor(_) => 0.0075,
            _ => 0.05,
        }
    }

    /// Every loss with its defaults, in the list's order.
    pub fn all() -> [Self; 8] {
        [
            Self::ProxyAnchor(Default::default()),
            Self::ProxyNca(Default::default()),
            Self::ProxyNcaPlusPlus(Default::default()),
            Self::NormalizedSoftmax(Default::default()),
            Self::CosFace(Default::default()),
            Self::ArcFace(Default::default()),
            Self::SoftTriple(Default::default()),
            Self::PotentialField(Default::default()),
        ]
    }

    /// A loss with freshly drawn proxies.
    pub fn init(&self, classes: usize, dim: usize, init: &mut Initializer) -> ProxyLoss {
        match self {
            Self::ProxyAnchor(config) => ProxyLoss::ProxyAnchor(config.init(classes, dim, init)),
            Self::ProxyNca(config) => ProxyLoss::ProxyNca(config.init(classes, dim, init)),
            Self::ProxyNcaPlusPlus(config) => ProxyLoss::ProxyNca(config.init(classes, dim, init)),
            Self::NormalizedSoftmax(config) => ProxyLoss::Softmax(config.init(classes, dim, init)),
            Self::CosFace(config) => ProxyLoss::Softmax(config.init(classes, dim, init)),
            Self::ArcFace(config) => ProxyLoss::Softmax(config.init(classes, dim, init)),
            Self::SoftTriple(config) => ProxyLoss::SoftTriple(config.init(classes, dim, init)),
            Self::PotentialField(config) => ProxyLoss::PotentialField(config.init(classes, dim, init)),
        }
    }

    /// # Errors
    /// For a parameter outside the range in which the loss is defined.
    pub fn check(&self) -> Result<()> {
        let positive = |key: &str, value: f64| match value.is_finite() && value > 0.0 {
            true => Ok(()),
            false => Err(Error::Config(format!("loss.{key} is {value}, expected a number above 0"))),
        };
        let finite = |key: &str, value: f64| match value.is_finite() {
            true => Ok(()),
            false => Err(Error::Config(format!("loss.{key} is {value}, expected a finite number"))),
        };
        let some_centres = |centres: usize| match centres {
            0 => Err(Error::Config("loss.centres is 0, expected at least 1".into())),
            _ => Ok(()),
        };
        match self {
            Self::ProxyAnchor(config) => {
                positive("alpha_positive", config.alpha_positive)?;
                positive("alpha_negative", config.alpha_negative)?;
                finite("delta_positive", config.delta_positive)?;
                finite("delta_negative", config.delta_negative)
            }
            Self::ProxyNca(config) => positive("scale", config.scale),
            Self::ProxyNcaPlusPlus(config) => positive("temperature", config.temperature),
            Self::NormalizedSoftmax(config) => positive("temperature", config.temperature),
            Self::CosFace(config) => {
                finite("margin", config.margin)?;
                positive("scale", config.scale)
            }
            Self::ArcFace(config) => {
                if !(0.0..=std::f64::consts::PI).contains(&config.margin) {
                    return Err(Error::Config(format!("loss.margin is {}, expected an angle of 0 to π radians", config.margin)));
                }
                positive("scale", config.scale)
            }
            Self::SoftTriple(config) => {
                some_centres(config.centres)?;
                if !(config.tau.is_finite() && config.tau >= 0.0) {
                    return Err(Error::Config(format!("loss.tau is {}, expected a number that is not negative", config.tau)));
                }
                finite("margin", config.margin)?;
                positive("lambda", config.lambda)?;
                positive("gamma", config.gamma)
            }
            Self::PotentialField(config) => {
                some_centres(config.centres)?;
                positive("alpha", config.alpha)?;
                positive("delta", config.delta)
            }
        }
    }
}

/// A loss with its proxies.
#[derive(Module, Debug)]
pub enum ProxyLoss {
    /// See [`ProxyAnchor`].
    ProxyAnchor(ProxyAnchor),
    /// Proxy-NCA and ProxyNCA++: see [`ProxyNca`].
    ProxyNca(ProxyNca),
    /// NormalizedSoftmax, CosFace and ArcFace: see [`Softmax`].
    Softmax(Softmax),
    /// See [`SoftTriple`].
    SoftTriple(SoftTriple),
    /// See [`PotentialField`].
    PotentialField(PotentialField),
}

impl ProxyLoss {
    /// The loss `[1]` of embeddings `[batch, dim]`, which need not be normalised, with a class each.
    pub fn forward(&self, embeddings: Tensor<2>, labels: &[usize]) -> Tensor<1> {
        match self {
            Self::ProxyAnchor(loss) => loss.forward(embeddings, labels),
            Self::ProxyNca(loss) => loss.forward(embeddings, labels),
            Self::Softmax(loss) => loss.forward(embeddings, labels),
            Self::SoftTriple(loss) => loss.forward(embeddings, labels),
            Self::PotentialField(loss) => loss.forward(embeddings, labels),
        }
    }

    /// All proxies, `[classes, dim]`; with several centres a class `[classes · centres, dim]`, those of a class side by side.
    pub fn proxies(&self) -> Tensor<2> {
        match self {
            Self::ProxyAnchor(loss) => loss.proxies.val(),
            Self::ProxyNca(loss) => loss.proxies.val(),
            Self::Softmax(loss) => loss.proxies.val(),
            Self::SoftTriple(loss) => loss.proxies.val(),
            Self::PotentialField(loss) => loss.proxies.val(),
        }
    }

    /// "The" proxy of each row `[batch, dim]`: that of its class, or, with several centres a class, the mean of the class's
    /// directions, weighted as the loss weighs them for this embedding. It carries gradients to the proxies, and with several
    /// centres to the embeddings.
    pub fn proxy_rows(&self, embeddings: Tensor<2>, labels: &[usize]) -> Tensor<2> {
        match self {
            Self::SoftTriple(loss) => loss.proxy_rows(embeddings, labels),
            Self::PotentialField(loss) => loss.proxy_rows(embeddings, labels),
            Self::ProxyAnchor(_) | Self::ProxyNca(_) | Self::Softmax(_) => select_rows(self.proxies(), labels),
        }
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        let [rows, _] = self.proxies().dims();
        match self {
            Self::SoftTriple(loss) => rows / loss.centres(),
            Self::PotentialField(loss) => rows / loss.centres(),
            Self::ProxyAnchor(_) | Self::ProxyNca(_) | Self::Softmax(_) => rows,
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

/// The row of each label, `[batch, dim]`, of `[classes, dim]`.
fn select_rows(rows: Tensor<2>, labels: &[usize]) -> Tensor<2> {
    let batch = labels.len();
    let labels = labels.iter().map(|&label| label as i64).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [batch]), &rows.device());
    rows.select(0, labels)
}

/// For each row the mean of the directions of its class's centres, `[batch, dim]`: of `[classes · centres, dim]`, weighted with what `shares`
/// makes of their cosines with the row, `[batch, centres, 1]`.
fn mean_centres(
    proxies: Tensor<2>,
    centres: usize,
    embeddings: Tensor<2>,
    labels: &[usize],
    shares: impl FnOnce(Tensor<3>) -> Tensor<3>,
) -> Tensor<2> {
    let [_, dim] = proxies.dims();
    let rows: Vec<usize> = labels.iter().flat_map(|label| label * centres..(label + 1) * centres).collect();
    let own = normalize(select_rows(proxies, &rows)).reshape([labels.len(), centres, dim]);
    let cosine = own.clone().matmul(normalize(embeddings).unsqueeze_dim(2));
    (own * shares(cosine)).sum_dim(1).squeeze_dim(1)
}

/// The score of each row's class, `[batch, 1]`, of `[batch, classes]`.
fn own_scores(scores: Tensor<2>, labels: &[usize]) -> Tensor<2> {
    let batch = labels.len();
    let labels = labels.iter().map(|&label| label as i64).collect();
    let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [batch, 1]), &scores.device());
    scores.gather(1, labels)
}

/// log Σ exp along each row of `[batch, classes]`: `[batch, 1]`.
fn log_sum_exp(scores: Tensor<2>) -> Tensor<2> {
    let largest = scores.clone().detach().max_dim(1);
    (scores - largest.clone()).exp().sum_dim(1).log() + largest
}

#[cfg(test)]
mod tests;
