//! Mixtures of samples and proxies that are learned instead of drawn.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation::sigmoid};

use crate::model::layers::{Initializer, Linear};

/// What a learned mode has learned.
///
/// It learns with encoder and proxies, from the encoder's objective, though with the discriminators' step size: it is a new part, which
/// the small steps of a pre-trained network would leave where it is. The discriminators' own steps see its mixtures as they are.
#[derive(Module, Debug)]
pub enum Mixer {
    /// Of [`MixMode::Gated`](crate::adversarial::MixMode::Gated).
    Gate(Gate),
    /// Of [`MixMode::Projected`](crate::adversarial::MixMode::Projected): `[sample, proxy]`, 2 · dim, to dim.
    Projection(Linear),
}

/// A coefficient for each dimension.
#[derive(Module, Debug)]
pub struct Gate {
    /// Coefficients before the sigmoid, `[dim]`.
    pub logits: Param<Tensor<1>>,
}

impl Mixer {
    /// A gate that starts with the coefficient `m` everywhere.
    pub(in crate::adversarial) fn gate(m: f64, dim: usize, init: &mut Initializer) -> Self {
        Self::Gate(Gate { logits: init.constant([dim], (m / (1.0 - m)).ln()) })
    }

    /// A projection that starts as the straight line's point with the coefficient `m`.
    pub(in crate::adversarial) fn projection(m: f64, dim: usize, init: &mut Initializer) -> Self {
        let mut weight = vec![0.0; dim * 2 * dim];
        for row in 0..dim {
            weight[row * 2 * dim + row] = 1.0 - m;
            weight[row * 2 * dim + dim + row] = m;
        }
        Self::Projection(Linear { weight: init.values([dim, 2 * dim], weight), bias: init.constant([dim], 0.0) })
    }

    /// Mixtures `[rows, dim]` of samples and the proxy of each; a gate's coefficients m become 1 - s + s m with s = `shift_scale`.
    pub(in crate::adversarial) fn mix(&self, x: Tensor<2>, proxies: Tensor<2>, shift_scale: f64) -> Tensor<2> {
        match self {
            Self::Gate(gate) => {
                let m = sigmoid(gate.logits.val()).unsqueeze::<2>() * shift_scale + (1.0 - shift_scale);
                x.clone() + (proxies - x) * m
            }
            Self::Projection(projection) => projection.forward(Tensor::cat(vec![x, proxies], 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adversarial::{MixConfig, MixMode};
    use burn::tensor::Device;

    fn values(z: Tensor<2>) -> Vec<f32> {
        z.into_data().try_to_vec().unwrap()
    }

    #[test]
    fn learned_modes_start_at_the_mean_of_the_draws_and_follow_what_they_learned() {
        let device = Device::default();
        let mut init = Initializer::new(&device, 0);
        let [x, p] = [0, 1].map(|_| init.normal([5, 3], 1.0).val());
        for (shift_scale, mean) in [(1.0, 0.75), (0.5, 0.875)] {
            for mode in [MixMode::Gated, MixMode::Projected] {
                let config = MixConfig { mode, alpha: 3.0, beta: 1.0, shift_scale, ..Default::default() };
                let mixer = config.init(3, &mut init).unwrap();
                let learned = values(config.mix(Some(&mixer), x.clone(), p.clone(), &[]));
                let drawn = values(MixConfig::default().mix(None, x.clone(), p.clone(), &[mean; 5]));
                assert!(learned.iter().zip(&drawn).all(|(a, b)| (a - b).abs() < 1e-6), "{mode:?}: {learned:?} {drawn:?}");
            }
        }
        let config = MixConfig { mode: MixMode::Gated, normalize: false, ..Default::default() };
        let gate = Mixer::Gate(Gate { logits: init.values([3], vec![-50.0, 0.0, 50.0]) });
        let [z, x, p] = [config.mix(Some(&gate), x.clone(), p.clone(), &[]), x, p].map(values);
        for row in 0..5 {
            let at = |values: &[f32], column: usize| values[row * 3 + column];
            let expected = [at(&x, 0), (at(&x, 1) + at(&p, 1)) / 2.0, at(&p, 2)];
            assert!((0..3).all(|column| (at(&z, column) - expected[column]).abs() < 1e-6));
        }
        assert!(
            [MixMode::Linear, MixMode::Spherical]
                .iter()
                .all(|mode| MixConfig { mode: *mode, ..config.clone() }.init(3, &mut init).is_none())
        );
    }
}
