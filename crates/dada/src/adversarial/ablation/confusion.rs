//! What encoder and proxies minimise on the domain level.

use burn::tensor::{Tensor, TensorData, activation::log_softmax};
use serde::{Deserialize, Serialize};

/// What encoder and proxies minimise to confuse the domain discriminator. Each is a sum over the domains d of a mean over their
/// vectors v, with q = softmax D_u(v).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confusion {
    /// `log q_d`, which is -L_u: the published game. Its gradient fades where the discriminator is sure.
    #[default]
    Saturating,
    /// `-1/(D-1) Σ_{k ≠ d} log q_k`: be taken for the other domains. Its gradient is largest where the discriminator is sure (Goodfellow et al.
    /// 2014, with D - 1 others in place of one).
    NonSaturating,
    /// `-1/D Σ_k log q_k`: be taken for any domain alike (Tzeng et al., *Simultaneous Deep Transfer Across Domains and Tasks*, ICCV 2015).
    Uniform,
}

impl Confusion {
    /// The loss `[1]` of logits `[rows, D]` of each domain.
    pub fn loss(self, logits: &[Tensor<2>]) -> Tensor<1> {
        let domains = logits.len() as f64;
        let (own, other) = match self {
            Self::Saturating => (-1.0, 0.0),
            Self::NonSaturating => (0.0, 1.0 / (domains - 1.0)),
            Self::Uniform => (1.0 / domains, 1.0 / domains),
        };
        let each = logits.iter().enumerate().map(|(domain, logits)| {
            let mut weights = vec![other; domains as usize];
            weights[domain] = own;
            weighted_cross_entropy(logits.clone(), weights)
        });
        each.reduce(|sum, term| sum + term).expect("there are domains")
    }
}

/// The mean over rows of -Σ_k weight_k log q_k, `[1]`, of logits `[rows, D]`.
fn weighted_cross_entropy(logits: Tensor<2>, weights: Vec<f64>) -> Tensor<1> {
    let log_q = log_softmax(logits, 1);
    let shape = [1, weights.len()];
    let weights = Tensor::<2>::from_data(TensorData::new(weights, shape), (&log_q.device(), log_q.dtype()));
    (log_q * weights).sum_dim(1).mean().neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adversarial::domain_loss;
    use burn::tensor::{DType, Device};

    fn logits() -> [[[f64; 3]; 2]; 3] {
        std::array::from_fn(|d| std::array::from_fn(|row| std::array::from_fn(|k| ((d * 7 + row * 3 + k) as f64 * 1.3).sin() * 2.0)))
    }

    #[test]
    fn each_confusion_is_its_formula() {
        let tensors = logits().map(|rows| Tensor::<2>::from_data(rows, (&Device::default(), DType::F64)));
        for confusion in [Confusion::Saturating, Confusion::NonSaturating, Confusion::Uniform] {
            let mut expected = 0.0;
            for (d, rows) in logits().iter().enumerate() {
                for row in rows {
                    let sum: f64 = row.iter().map(|l| l.exp()).sum();
                    let log_q = |k: usize| (row[k].exp() / sum).ln();
                    expected += 0.5
                        * match confusion {
                            Confusion::Saturating => log_q(d),
                            Confusion::NonSaturating => -0.5 * (0..3).filter(|k| *k != d).map(log_q).sum::<f64>(),
                            Confusion::Uniform => -(0..3).map(log_q).sum::<f64>() / 3.0,
                        };
                }
            }
            let found = confusion.loss(&tensors).into_scalar::<f64>();
            assert!((found - expected).abs() < 1e-12, "{confusion:?}: {found} {expected}");
        }
        let sum = Confusion::Saturating.loss(&tensors) + domain_loss(&tensors);
        assert!(sum.into_scalar::<f64>().abs() < 1e-12);
    }

    #[test]
    fn a_sure_discriminator_starves_the_saturating_loss_only() {
        let push = |confusion: Confusion| {
            let device = Device::default().autodiff();
            let sure = std::array::from_fn::<_, 3, _>(|d| {
                let row: [f32; 3] = std::array::from_fn(|k| if k == d { 12.0 } else { 0.0 });
                Tensor::<2>::from_floats([row], &device).require_grad()
            });
            let gradient = sure[0].grad(&confusion.loss(&sure).backward()).unwrap();
            gradient.abs().max().into_scalar::<f32>()
        };
        assert!(push(Confusion::Saturating) < 1e-4);
        assert!(push(Confusion::NonSaturating) > 0.9 && push(Confusion::Uniform) > 0.6);
    }
}
