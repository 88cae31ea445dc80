//! Proxy-NCA: neighbourhood component analysis with proxies for neighbours.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::loss::rows::{log_sum_exp, membership, own_scores};
use crate::loss::settings::{Loss, LossSettings, check_positive};
use crate::model::layers::{Initializer, normalize};

/// Over which proxies the denominator runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sum {
    /// Those of the other classes: Proxy-NCA as published, which can fall below zero.
    #[default]
    Others,
    /// All of them, a probability: ProxyNCA++, and most re-implementations of Proxy-NCA.
    All,
}

/// Proxy-NCA (Movshovitz-Attias et al., ICCV 2017) on vectors of length one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyNcaConfig {
    /// Factor of the squared distances.
    pub scale: f64,
    /// Over which proxies the denominator runs.
    pub sum: Sum,
}

impl Default for ProxyNcaConfig {
    fn default() -> Self {
        Self { scale: 1.0, sum: Sum::Others }
    }
}

impl LossSettings for ProxyNcaConfig {
    type Loss = ProxyNca;

    fn check(&self) -> Result<()> {
        check_positive("scale", self.scale)
    }

    /// Proxies drawn from a normal distribution of deviation 1/8.
    fn init(&self, classes: usize, dim: usize, init: &mut Initializer) -> ProxyNca {
        ProxyNca { proxies: init.normal([classes, dim], 1.0 / 8.0), scale: self.scale, sum: self.sum }
    }
}

/// This loss and ProxyNCA++: `s d_y + log Σ exp(-s d_c)` with `d_c = |n(x) - n(p_c)|²`, mean over the rows.
#[derive(Module, Debug)]
pub struct ProxyNca {
    /// `[classes, dim]`
    pub proxies: Param<Tensor<2>>,
    #[module(skip)]
    scale: f64,
    #[module(skip)]
    sum: Sum,
}

impl Loss for ProxyNca {
    fn forward(&self, embeddings: Tensor<2>, labels: &[usize]) -> Tensor<1> {
        // Of two vectors of length one, |a - b|² = 2 - 2 a·b.
        let cosine = normalize(embeddings).matmul(normalize(self.proxies.val()).transpose());
        let closeness = (cosine - 1.0) * (2.0 * self.scale);
        let own = own_scores(closeness.clone(), labels);
        let compared = match self.sum {
            Sum::All => closeness,
            // Its exponential is exactly 0, and finite, so that a class without others still has a gradient.
            Sum::Others => closeness.clone().mask_fill(membership(labels, &closeness), -1e6),
        };
        (log_sum_exp(compared) - own).mean()
    }

    fn proxies(&self) -> Tensor<2> {
        self.proxies.val()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::tests::{Rows, check, cosine};
    use crate::loss::{ProxyLoss, ProxyLossConfig, ProxyNcaPlusPlusConfig};

    fn oracle(x: &Rows, labels: &[usize], proxies: &Rows, scale: f64, sum: Sum) -> f64 {
        let mut total = 0.0;
        for (row, &label) in x.iter().zip(labels) {
            let similarity = |class: usize| (-scale * (2.0 - 2.0 * cosine(row, &proxies[class]))).exp();
            let classes = (0..proxies.len()).filter(|&class| sum == Sum::All || class != label);
            total -= (similarity(label) / classes.map(similarity).sum::<f64>()).ln();
        }
        total / labels.len() as f64
    }

    #[test]
    fn agrees_with_the_formula_written_as_loops() {
        for sum in [Sum::Others, Sum::All] {
            let config = ProxyLossConfig::ProxyNca(ProxyNcaConfig { scale: 2.5, sum });
            check(&config, |x, labels, proxies| oracle(x, labels, proxies, 2.5, sum));
        }
        let config = ProxyLossConfig::ProxyNcaPlusPlus(Default::default());
        check(&config, |x, labels, proxies| oracle(x, labels, proxies, 9.0, Sum::All));
    }

    #[test]
    fn plus_plus_is_the_first_loss_with_a_sum_over_all_and_the_inverse_temperature() {
        let device = burn::tensor::Device::default().autodiff();
        let x = Tensor::<2>::from_floats([[1.0, 0.5], [0.3, -1.0]], &device);
        let value = |config: ProxyLossConfig| {
            let loss: ProxyLoss = config.init(3, 2, &mut Initializer::new(&device, 5));
            loss.forward(x.clone(), &[0, 2]).into_scalar::<f32>()
        };
        let plus_plus = value(ProxyLossConfig::ProxyNcaPlusPlus(ProxyNcaPlusPlusConfig { temperature: 0.5 }));
        assert_eq!(plus_plus, value(ProxyLossConfig::ProxyNca(ProxyNcaConfig { scale: 2.0, sum: Sum::All })));
        assert_ne!(plus_plus, value(ProxyLossConfig::ProxyNca(ProxyNcaConfig { scale: 2.0, sum: Sum::Others })));
    }
}
