//! SoftTriple: several centres a class, and a soft choice among them.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData, activation::softmax};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::loss::rows::{cosines_with, log_sum_exp, membership, own_centres, own_scores, weighted_sum};
use crate::loss::settings::{Loss, LossSettings, check_centres, check_finite, check_positive};
use crate::model::layers::{Initializer, normalize};

/// Centres, sharpnesses and margin; the defaults are the publication's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SoftTripleConfig {
    /// K, centres of each class.
    pub centres: usize,
    /// λ, the factor of the scores.
    pub lambda: f64,
    /// γ, the temperature of the choice among a class's centres.
    pub gamma: f64,
    /// δ, which the true class's score has to win by.
    pub margin: f64,
    /// τ, the weight of the term that lets a class's centres merge; 0 for none.
    pub tau: f64,
}

impl Default for SoftTripleConfig {
    fn default() -> Self {
        Self { centres: 10, lambda: 20.0, gamma: 0.1, margin: 0.01, tau: 0.2 }
    }
}

impl LossSettings for SoftTripleConfig {
    type Loss = SoftTriple;

    fn check(&self) -> Result<()> {
        check_centres(self.centres)?;
        if !(self.tau.is_finite() && self.tau >= 0.0) {
            return Err(Error::Config(format!("loss.tau is {}, expected a number that is not negative", self.tau)));
        }
        check_finite("margin", self.margin)?;
        check_positive("lambda", self.lambda)?;
        check_positive("gamma", self.gamma)
    }

    /// Centres drawn from a normal distribution of deviation 1/8.
    fn init(&self, classes: usize, dim: usize, init: &mut Initializer) -> SoftTriple {
        SoftTriple { proxies: init.normal([classes * self.centres, dim], 1.0 / 8.0), config: self.clone() }
    }
}

/// SoftTriple loss (Qian et al., ICCV 2019).
#[derive(Module, Debug)]
pub struct SoftTriple {
    /// `[classes · centres, dim]`, the centres of a class side by side.
    pub proxies: Param<Tensor<2>>,
    #[module(skip)]
    config: SoftTripleConfig,
}

impl Loss for SoftTriple {
    fn forward(&self, embeddings: Tensor<2>, labels: &[usize]) -> Tensor<1> {
        let SoftTripleConfig { centres, lambda, gamma, margin, tau } = self.config;
        let directions = normalize(self.proxies.val());
        let cosine = normalize(embeddings).matmul(directions.clone().transpose());
        let [batch, columns] = cosine.dims();
        let cosine = cosine.reshape([batch, columns / centres, centres]);
        let scores = (softmax(cosine.clone() / gamma, 2) * cosine).sum_dim(2).squeeze_dim::<2>(2);
        let demanded = scores.clone() - membership(labels, &scores).float().cast(scores.dtype()) * margin;
        let loss = (log_sum_exp(demanded.clone() * lambda) - own_scores(demanded, labels) * lambda).mean();
        if tau == 0.0 || centres == 1 { loss } else { loss + spread(directions, centres) * tau }
    }

    fn proxies(&self) -> Tensor<2> {
        self.proxies.val()
    }

    fn centres(&self) -> usize {
        self.config.centres
    }

    /// For each row the centre that the loss compares it with, `[batch, dim]`: Σ_k q_k n(w_k) over its class's centres, with q the
    /// softmax of the row's cosines over γ. The product with the normalised embedding is the loss's score of the class.
    fn proxy_rows(&self, embeddings: Tensor<2>, labels: &[usize]) -> Tensor<2> {
        let SoftTripleConfig { centres, gamma, .. } = self.config;
        let own = own_centres(self.proxies.val(), centres, labels);
        let weights = softmax(cosines_with(&own, embeddings) / gamma, 1);
        weighted_sum(own, weights)
    }
}

/// Sum of the distances of a class's centres from one another over C K (K - 1), `[1]`, of unit vectors `[classes · centres, dim]`.
fn spread(directions: Tensor<2>, centres: usize) -> Tensor<1> {
    let [rows, dim] = directions.dims();
    let classes = rows / centres;
    let directions = directions.reshape([classes, centres, dim]);
    let cosine = directions.clone().matmul(directions.swap_dims(1, 2));
    let above: Vec<f64> = (0..centres * centres).map(|at| f64::from(u8::from(at % centres > at / centres))).collect();
    let above = Tensor::<3>::from_data(TensorData::new(above, [1, centres, centres]), (&cosine.device(), cosine.dtype()));
    // The addend bounds the root's gradient where two centres have merged.
    let distance = (cosine * -2.0 + (2.0 + 1e-5)).clamp_min(1e-7).sqrt();
    (distance * above).sum() / (classes * centres * (centres - 1)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::tests::{Rows, check, cosine};
    use crate::loss::{ProxyLoss, ProxyLossConfig};
    use burn::tensor::{DType, Device};

    fn choice(row: &[f64], centres: &[Vec<f64>], gamma: f64) -> Vec<f64> {
        let each: Vec<f64> = centres.iter().map(|centre| (cosine(row, centre) / gamma).exp()).collect();
        let sum: f64 = each.iter().sum();
        each.iter().map(|e| e / sum).collect()
    }

    fn oracle(x: &Rows, labels: &[usize], centres: &Rows, config: &SoftTripleConfig) -> f64 {
        let classes: Vec<&[Vec<f64>]> = centres.chunks(config.centres).collect();
        let mut total = 0.0;
        for (row, &label) in x.iter().zip(labels) {
            let score = |class: usize| {
                let q = choice(row, classes[class], config.gamma);
                let s: f64 = q.iter().zip(classes[class]).map(|(q, centre)| q * cosine(row, centre)).sum();
                (config.lambda * (if class == label { s - config.margin } else { s })).exp()
            };
            total -= (score(label) / (0..classes.len()).map(score).sum::<f64>()).ln();
        }
        let mut apart = 0.0;
        for class in &classes {
            for s in 0..config.centres {
                for t in 0..s {
                    apart += (2.0 + 1e-5 - 2.0 * cosine(&class[s], &class[t])).sqrt();
                }
            }
        }
        let pairs = classes.len() * config.centres * (config.centres - 1);
        total / labels.len() as f64 + config.tau * apart / pairs.max(1) as f64
    }

    #[test]
    fn agrees_with_the_formula_written_as_loops() {
        for (centres, tau) in [(1, 0.2), (3, 0.0), (3, 0.7)] {
            let config = SoftTripleConfig { centres, lambda: 4.0, gamma: 0.3, margin: 0.05, tau };
            check(&ProxyLossConfig::SoftTriple(config.clone()), |x, labels, centres| oracle(x, labels, centres, &config));
        }
    }

    #[test]
    fn the_proxy_of_a_row_is_what_the_row_is_compared_with() {
        let device = Device::default().autodiff();
        let config = SoftTripleConfig { centres: 3, ..Default::default() };
        let mut init = Initializer::new(&device, 3).with_dtype(DType::F64);
        let loss = ProxyLossConfig::SoftTriple(config.clone()).init(4, 5, &mut init);
        assert_eq!((loss.classes(), loss.proxies().dims()), (4, [12, 5]));
        let x = init.normal([6, 5], 1.0).val();
        let labels = [0, 3, 1, 1, 2, 3];
        let rows = |x: Tensor<2>| -> Rows {
            let values: Vec<f64> = x.into_data().try_to_vec().unwrap();
            values.chunks(5).map(<[f64]>::to_vec).collect()
        };
        let (found, centres) = (rows(loss.proxy_rows(x.clone(), &labels)), rows(normalize(loss.proxies())));
        for ((x, found), label) in rows(x).iter().zip(found).zip(labels) {
            let own = &centres[label * 3..][..3];
            let q = choice(x, own, config.gamma);
            for (at, found) in found.iter().enumerate() {
                let expected: f64 = q.iter().zip(own).map(|(q, centre)| q * centre[at]).sum();
                assert!((found - expected).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn centres_that_have_merged_have_a_gradient() {
        let device = Device::default().autodiff();
        let mut init = Initializer::new(&device, 3);
        let mut loss = SoftTripleConfig { centres: 2, ..Default::default() }.init(2, 2, &mut init);
        loss.proxies = Param::from_tensor(Tensor::from_floats([[1.0, 1.0], [2.0, 2.0], [1.0, 0.0], [1.0, 0.0]], &device));
        let x = init.normal([3, 2], 1.0).val();
        let value = ProxyLoss::SoftTriple(loss.clone()).forward(x, &[0, 1, 1]);
        let gradient = loss.proxies.grad(&value.backward()).unwrap();
        assert!(gradient.into_data().iter::<f32>().all(f32::is_finite));
    }
}
