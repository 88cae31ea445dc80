//! The domain-level discriminator: is a vector a sample, a mixture or a proxy?

use burn::tensor::{Int, Tensor, TensorData, activation::log_softmax};
use serde::{Deserialize, Serialize};

/// L_u `[1]`: the sum over the D domains (samples, mixtures if there are any, proxies, in this order) of the cross-entropy of their own
/// name, D ln D at chance. Logits are `[rows, D]` each.
pub fn domain_loss(logits: &[Tensor<2>]) -> Tensor<1> {
    let each = logits.iter().enumerate().map(|(domain, logits)| cross_entropy(logits.clone(), &vec![domain; logits.dims()[0]]));
    each.reduce(|sum, term| sum + term).expect("there are domains")
}

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
        let domains = logits.len();
        let towards = |domain: usize, own: f64, other: f64| {
            let weights: Vec<f64> = (0..domains).map(|name| if name == domain { own } else { other }).collect();
            let log_q = log_softmax(logits[domain].clone(), 1);
            let weights = Tensor::<2>::from_data(TensorData::new(weights, [1, domains]), (&log_q.device(), log_q.dtype()));
            (log_q * weights).sum_dim(1).mean().neg()
        };
        let each = (0..domains).map(|domain| match self {
            Self::Saturating => towards(domain, -1.0, 0.0),
            Self::NonSaturating => towards(domain, 0.0, 1.0 / (domains as f64 - 1.0)),
            Self::Uniform => towards(domain, 1.0 / domains as f64, 1.0 / domains as f64),
        });
        each.reduce(|sum, term| sum + term).expect("there are domains")
    }
}

/// Share of vectors whose domain is recognised, each domain counting the same; 1/D at chance.
pub fn domain_accuracy(logits: &[Tensor<2>]) -> Tensor<1> {
    let each = logits.iter().enumerate().map(|(domain, logits)| {
        let guesses = logits.clone().detach().argmax(1);
        guesses.equal_scalar(domain as i64).float().mean()
    });
    each.reduce(|sum, share| sum + share).expect("there are domains") / logits.len() as f64
}

/// Mean cross-entropy `[1]` of logits `[rows, classes]`.
pub fn cross_entropy(logits: Tensor<2>, labels: &[usize]) -> Tensor<1> {
    let labels: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
    let shape = [labels.len(), 1];
    let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, shape), &logits.device());
    log_softmax(logits, 1).gather(1, labels).mean().neg()
}

#[cfg(test)]
mod tests {
    use super::*;
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
