//! Proxy-Anchor: every proxy is an anchor that gathers its class and repels the rest, hardest first.

use burn::module::{Module, Param};
use burn::tensor::{Bool, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::loss::rows::membership;
use crate::loss::settings::{Loss, LossSettings, check_finite, check_positive};
use crate::model::layers::{Initializer, normalize};

/// Over what the attracting half is averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PositiveMean {
    /// The distinct classes of the batch, as published.
    #[default]
    Classes,
    /// The rows of the batch, so that a class counts as often as it occurs: DADA's released code.
    Rows,
}

/// Scales and margins; the defaults are the publication's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProxyAnchorConfig {
    /// α⁺, the sharpness of attraction.
    pub alpha_positive: f64,
    /// α⁻, the sharpness of repulsion.
    pub alpha_negative: f64,
    /// δ⁺: attraction fades above this cosine.
    pub delta_positive: f64,
    /// δ⁻: repulsion fades below this cosine.
    pub delta_negative: f64,
    /// Over what the attracting half is averaged.
    pub positive_mean: PositiveMean,
}

impl Default for ProxyAnchorConfig {
    fn default() -> Self {
        Self { alpha_positive: 32.0, alpha_negative: 32.0, delta_positive: 0.1, delta_negative: -0.1, positive_mean: PositiveMean::Classes }
    }
}

impl LossSettings for ProxyAnchorConfig {
    type Loss = ProxyAnchor;

    /// A mean over classes of what gathers over the whole batch pulls at embeddings about six times as hard as a mean over rows.
    const DEFAULT_WEIGHT: f64 = 0.0075;

    fn check(&self) -> Result<()> {
        check_positive("alpha_positive", self.alpha_positive)?;
        check_positive("alpha_negative", self.alpha_negative)?;
        check_finite("delta_positive", self.delta_positive)?;
        check_finite("delta_negative", self.delta_negative)
    }

    /// Proxies drawn from a normal distribution of deviation 1/8.
    fn init(&self, classes: usize, dim: usize, init: &mut Initializer) -> ProxyAnchor {
        ProxyAnchor { proxies: init.normal([classes, dim], 1.0 / 8.0), config: self.clone() }
    }
}

/// Proxy-Anchor loss (Kim et al., CVPR 2020, equation 4).
#[derive(Module, Debug)]
pub struct ProxyAnchor {
    /// `[classes, dim]`
    pub proxies: Param<Tensor<2>>,
    #[module(skip)]
    config: ProxyAnchorConfig,
}

impl Loss for ProxyAnchor {
    fn forward(&self, embeddings: Tensor<2>, labels: &[usize]) -> Tensor<1> {
        let ProxyAnchorConfig { alpha_positive, alpha_negative, delta_positive, delta_negative, positive_mean } = self.config;
        let cosine = normalize(embeddings).matmul(normalize(self.proxies.val()).transpose());
        let [_, classes] = cosine.dims();
        let own = membership(labels, &cosine);

        let attraction = log_one_plus_sum_exp((cosine.clone() - delta_positive) * -alpha_positive, own.clone());
        let repulsion = log_one_plus_sum_exp((cosine - delta_negative) * alpha_negative, own.bool_not());
        let weights = Tensor::from_data(positive_weights(labels, classes, positive_mean), (&attraction.device(), attraction.dtype()));
        (attraction * weights).sum() + repulsion.mean()
    }

    fn proxies(&self) -> Tensor<2> {
        self.proxies.val()
    }
}

/// log(1 + Σ exp) down each column of `[batch, classes]`, over the marked entries: `[classes]`. An unmarked column gives 0.
fn log_one_plus_sum_exp(exponents: Tensor<2>, marked: Tensor<2, Bool>) -> Tensor<1> {
    // Far below any exponent in use, so that its exponential is exactly 0, yet finite: infinity would turn gradients into NaN.
    let exponents = exponents.mask_fill(marked.bool_not(), -1e6);
    let largest = exponents.clone().detach().max_dim(0).clamp_min(0.0);
    let sum = (exponents - largest.clone()).exp().sum_dim(0) + largest.clone().neg().exp();
    (sum.log() + largest).squeeze_dim(0)
}

fn positive_weights(labels: &[usize], classes: usize, mean: PositiveMean) -> TensorData {
    let mut weights = vec![0.0; classes];
    for &label in labels {
        match mean {
            PositiveMean::Classes => weights[label] = 1.0,
            PositiveMean::Rows => weights[label] += 1.0,
        }
    }
    let total: f64 = weights.iter().sum();
    TensorData::new(weights.into_iter().map(|weight| weight / total.max(1.0)).collect(), [classes])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::ProxyLossConfig;
    use crate::loss::tests::{Rows, check, cosine};
    use burn::tensor::Device;

    fn oracle(x: &Rows, labels: &[usize], proxies: &Rows, config: &ProxyAnchorConfig) -> f64 {
        let (mut positive, mut present, mut negative) = (0.0, 0.0, 0.0);
        for (class, proxy) in proxies.iter().enumerate() {
            let (mut own, mut others) = (1.0, 1.0);
            for (row, &label) in x.iter().zip(labels) {
                let s = cosine(row, proxy);
                if label == class {
                    own += (-config.alpha_positive * (s - config.delta_positive)).exp();
                } else {
                    others += (config.alpha_negative * (s - config.delta_negative)).exp();
                }
            }
            let count = labels.iter().filter(|&&label| label == class).count() as f64;
            let weight = match config.positive_mean {
                PositiveMean::Classes => count.min(1.0),
                PositiveMean::Rows => count,
            };
            positive += weight * own.ln();
            present += weight;
            negative += others.ln();
        }
        positive / present + negative / proxies.len() as f64
    }

    #[test]
    fn agrees_with_the_formula_written_as_loops() {
        for positive_mean in [PositiveMean::Classes, PositiveMean::Rows] {
            let config = ProxyAnchorConfig { alpha_positive: 4.0, alpha_negative: 3.0, positive_mean, ..Default::default() };
            check(&ProxyLossConfig::ProxyAnchor(config.clone()), |x, labels, proxies| oracle(x, labels, proxies, &config));
        }
    }

    #[test]
    fn exponentials_that_overflow_single_precision_do_no_harm() {
        let x = [[1.0, 0.2], [-0.5, 1.0], [0.3, -2.0], [1.5, 0.1]];
        let proxies = [[-1.0, 0.3], [0.2, 1.0], [1.0, 1.0], [0.4, -1.0]];
        let labels = [0, 1, 0, 2];
        let config = ProxyAnchorConfig { alpha_positive: 200.0, alpha_negative: 100.0, ..Default::default() };
        let rows = |rows: [[f64; 2]; 4]| rows.map(Vec::from).to_vec();
        let expected = oracle(&rows(x), &labels, &rows(proxies), &config);
        let device = Device::default().autodiff();
        let loss = ProxyAnchor { proxies: Param::from_tensor(Tensor::from_data(proxies, &device)), config };
        let batch = Tensor::<2>::from_data(x, &device).require_grad();
        let value = loss.forward(batch.clone(), &labels);
        let gradient = batch.grad(&value.backward()).unwrap().abs().max().into_scalar::<f64>();
        let value = value.into_scalar::<f64>();
        assert!((value - expected).abs() < 1e-5 * expected, "{value} is not {expected}");
        assert!(gradient.is_finite() && gradient > 0.0);
    }
}
