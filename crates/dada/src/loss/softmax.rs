//! Classification by cosines, with a margin or without: what NormalizedSoftmax, CosFace and ArcFace have in common.

use std::f64::consts::PI;

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::loss::rows::{log_sum_exp, membership, own_scores, select_rows};
use crate::loss::settings::Loss;
use crate::model::layers::{Initializer, normalize};

/// What is taken from the true class's cosine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Margin {
    /// Nothing.
    None,
    /// cos θ becomes cos θ - m.
    Cosine(f64),
    /// cos θ becomes cos(θ + m), and cos θ - m sin m where θ + m exceeds π: the cosine would rise again there.
    Angle(f64),
}

/// All three losses: cross-entropy of scaled cosines, mean over the rows.
#[derive(Module, Debug)]
pub struct Softmax {
    /// `[classes, dim]`
    pub proxies: Param<Tensor<2>>,
    #[module(skip)]
    scale: f64,
    #[module(skip)]
    margin: Margin,
}

impl Softmax {
    /// Proxies drawn from a normal distribution of deviation 1/8; `scale` multiplies the cosines.
    pub(super) fn new(scale: f64, margin: Margin, classes: usize, dim: usize, init: &mut Initializer) -> Self {
        Self { proxies: init.normal([classes, dim], 1.0 / 8.0), scale, margin }
    }
}

impl Loss for Softmax {
    fn forward(&self, embeddings: Tensor<2>, labels: &[usize]) -> Tensor<1> {
        let (x, proxies) = (normalize(embeddings), normalize(self.proxies.val()));
        let cosine = x.clone().matmul(proxies.clone().transpose());
        let own = own_scores(cosine.clone(), labels);
        let demanded = match self.margin {
            Margin::None => own,
            Margin::Cosine(margin) => own - margin,
            Margin::Angle(margin) => cosine_with_margin(own, x, select_rows(proxies, labels), margin),
        };
        let [_, classes] = cosine.dims();
        let scores = cosine.clone().mask_where(membership(labels, &cosine), demanded.clone().repeat_dim(1, classes));
        (log_sum_exp(scores * self.scale) - demanded * self.scale).mean()
    }

    fn proxies(&self) -> Tensor<2> {
        self.proxies.val()
    }
}

/// cos(θ + margin) `[batch, 1]` of angles θ between unit vectors a and b `[batch, dim]`, with `cosine` their cosine.
///
/// sin θ is |a - b| |a + b| / 2: unlike the root of 1 - cos² θ it keeps its digits next to 0 and π, and its gradient is bounded by
/// one there instead of growing beyond all limits.
fn cosine_with_margin(cosine: Tensor<2>, a: Tensor<2>, b: Tensor<2>, margin: f64) -> Tensor<2> {
    let sine = row_lengths(a.clone() - b.clone()) * row_lengths(a + b) * 0.5;
    let turned = cosine.clone() * margin.cos() - sine * margin.sin();
    let beyond = cosine.clone().lower_elem((PI - margin).cos());
    turned.mask_where(beyond, cosine - margin * margin.sin())
}

/// `[rows, dim]` to `[rows, 1]`.
fn row_lengths(x: Tensor<2>) -> Tensor<2> {
    x.square().sum_dim(1).clamp_min(1e-24).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::settings::LossSettings;
    use crate::loss::tests::{Rows, check, cosine};
    use crate::loss::{ArcFaceConfig, CosFaceConfig, NormalizedSoftmaxConfig, ProxyLossConfig};
    use burn::tensor::{DType, Device};

    fn oracle(x: &Rows, labels: &[usize], proxies: &Rows, scale: f64, margin: Margin) -> f64 {
        let mut total = 0.0;
        for (row, &label) in x.iter().zip(labels) {
            let score = |class: usize| {
                let s = cosine(row, &proxies[class]);
                let theta = s.clamp(-1.0, 1.0).acos();
                let s = match margin {
                    Margin::Cosine(m) if class == label => s - m,
                    Margin::Angle(m) if class == label && theta + m > PI => s - m * m.sin(),
                    Margin::Angle(m) if class == label => (theta + m).cos(),
                    _ => s,
                };
                (scale * s).exp()
            };
            total -= (score(label) / (0..proxies.len()).map(score).sum::<f64>()).ln();
        }
        total / labels.len() as f64
    }

    #[test]
    fn agrees_with_the_formulas_written_as_loops() {
        let config = ProxyLossConfig::NormalizedSoftmax(NormalizedSoftmaxConfig { temperature: 0.2 });
        check(&config, |x, labels, proxies| oracle(x, labels, proxies, 5.0, Margin::None));
        let config = ProxyLossConfig::CosFace(CosFaceConfig { scale: 6.0, margin: 0.3 });
        check(&config, |x, labels, proxies| oracle(x, labels, proxies, 6.0, Margin::Cosine(0.3)));
        // The larger margin takes some of the angles beyond π.
        for margin in [0.5, 1.5] {
            let config = ProxyLossConfig::ArcFace(ArcFaceConfig { scale: 6.0, margin });
            check(&config, |x, labels, proxies| oracle(x, labels, proxies, 6.0, Margin::Angle(margin)));
        }
    }

    /// Loss and gradient of one embedding beside the proxy (1, 0), with another at (0, 1).
    fn beside(x: [f64; 2], dtype: DType) -> (f64, Vec<f64>) {
        let device = Device::default().autodiff();
        let mut loss = ArcFaceConfig::default().init(2, 2, &mut Initializer::new(&device, 0).with_dtype(dtype));
        loss.proxies = Param::from_tensor(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], (&device, dtype)));
        let x = Tensor::<2>::from_data([x], (&device, dtype)).require_grad();
        let value = loss.forward(x.clone(), &[0]);
        let gradients = value.backward();
        let each = [x.grad(&gradients), loss.proxies.grad(&gradients)].map(|g| g.unwrap().into_data().convert::<f64>());
        let gradient = each.iter().flat_map(|data| data.iter::<f64>().collect::<Vec<_>>()).collect();
        (value.into_scalar::<f64>(), gradient)
    }

    #[test]
    fn an_angular_margin_is_accurate_and_its_gradient_bounded_next_to_no_angle_and_a_straight_one() {
        for angle in [0.0, 1e-12, 1e-6, 1e-4, 1e-2, PI - 0.51, PI - 0.49, PI - 1e-4, PI - 1e-7, PI] {
            let x = [angle.cos(), angle.sin()];
            let s = if angle + 0.5 > PI { angle.cos() - 0.5 * 0.5f64.sin() } else { (angle + 0.5).cos() };
            let (own, other) = (64.0 * s, 64.0 * angle.sin());
            let largest = own.max(other);
            let expected = ((own - largest).exp() + (other - largest).exp()).ln() + largest - own;
            for (dtype, tolerance) in [(DType::F64, 1e-9), (DType::F32, 1e-4)] {
                let (value, gradient) = beside(x, dtype);
                assert!((value - expected).abs() <= tolerance * (1.0 + expected), "{angle} {dtype:?}: {value} is not {expected}");
                // Each score moves by at most its scale times the length of the step.
                assert!(gradient.iter().all(|g| g.is_finite() && g.abs() <= 200.0), "{angle} {dtype:?}: {gradient:?}");
            }
        }
    }

    #[test]
    fn the_loss_rises_with_the_angle_beyond_the_fold_too() {
        let device = Device::default();
        let score = |step: usize| {
            let angle = PI * step as f64 / 60.0;
            let [a, b] = [[1.0, 0.0], [angle.cos(), angle.sin()]].map(|v| Tensor::<2>::from_data([v], (&device, DType::F64)));
            cosine_with_margin((a.clone() * b.clone()).sum_dim(1), a, b, 0.5).into_scalar::<f64>()
        };
        assert!((1..=60).all(|step| score(step) < score(step - 1)));
    }
}
