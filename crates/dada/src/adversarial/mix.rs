//! The augmented domain between samples and proxies.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData, activation::sigmoid};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};

use crate::adversarial::slerp::slerp;
use crate::error::{Error, Result};
use crate::model::layers::{Initializer, Linear, normalize};

/// How often a mixing coefficient is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Draw {
    /// Once for each row.
    #[default]
    Row,
    /// Once for the whole batch: the released code.
    Batch,
}

/// What lies between a sample and its proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MixMode {
    /// The straight line, at a drawn place.
    #[default]
    Linear,
    /// The great circle between their directions, at a drawn place; always of vectors of length one.
    Spherical,
    /// A learned coefficient for each dimension instead of a drawn one for each row.
    Gated,
    /// A learned linear map of both, one behind the other.
    Projected,
    /// Nothing: there is no mixed domain, and samples are judged beside proxies alone.
    Nothing,
}

/// The `[dada.mix]` section: how samples and proxies are mixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MixConfig {
    /// What lies between a sample and its proxy.
    pub mode: MixMode,
    /// First parameter of the Beta distribution; the larger, the closer to the proxies. A learned mode starts at its mean.
    pub alpha: f64,
    /// Second parameter; the larger, the closer to the samples.
    pub beta: f64,
    /// How often a coefficient is drawn.
    pub draw: Draw,
    /// Mix directions (true) or raw vectors, of which the longer wins (false: the released code).
    pub normalize: bool,
    /// s: coefficients m become 1 - s + s m, which keeps mixtures within this share of the way from the proxies. Above 0, at most 1.
    pub shift_scale: f64,
    /// Whether the proxy of each row belongs to the mixed domain too.
    pub append_proxies: bool,
}

impl Default for MixConfig {
    fn default() -> Self {
        Self { mode: MixMode::Linear, alpha: 2.0, beta: 1.0, draw: Draw::Row, normalize: true, shift_scale: 1.0, append_proxies: false }
    }
}

/// What a learned mode has learned.
///
/// It learns with encoder and proxies, from the encoder's objective, though with the discriminators' step size: it is a new part, which
/// the small steps of a pre-trained network would leave where it is. The discriminators' own steps see its mixtures as they are.
#[derive(Module, Debug)]
pub enum Mixer {
    /// Of [`MixMode::Gated`].
    Gate(Gate),
    /// Of [`MixMode::Projected`]: `[sample, proxy]`, 2 · dim, to dim.
    Projection(Linear),
}

/// A coefficient for each dimension.
#[derive(Module, Debug)]
pub struct Gate {
    /// Coefficients before the sigmoid, `[dim]`.
    pub logits: Param<Tensor<1>>,
}

impl MixConfig {
    /// # Errors
    /// For parameters that no coefficient can be drawn with.
    pub fn check(&self) -> Result<()> {
        for (key, value) in [("alpha", self.alpha), ("beta", self.beta)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::Config(format!("dada.mix.{key} is {value}, expected a number above 0")));
            }
        }
        if !(self.shift_scale > 0.0 && self.shift_scale <= 1.0) {
            return Err(Error::Config(format!("dada.mix.shift_scale is {}, expected more than 0 and at most 1", self.shift_scale)));
        }
        Ok(())
    }

    /// What a learned mode starts from, for vectors of `dim` dimensions: the mixture at the mean of the Beta distribution. Nothing for the
    /// other modes.
    pub fn init(&self, dim: usize, init: &mut Initializer) -> Option<Mixer> {
        let mean = self.alpha / (self.alpha + self.beta);
        match self.mode {
            MixMode::Linear | MixMode::Spherical | MixMode::Nothing => None,
            MixMode::Gated => Some(Mixer::Gate(Gate { logits: init.constant([dim], (mean / (1.0 - mean)).ln()) })),
            MixMode::Projected => {
                let m = self.shifted(mean);
                let mut weight = vec![0.0; dim * 2 * dim];
                for row in 0..dim {
                    weight[row * 2 * dim + row] = 1.0 - m;
                    weight[row * 2 * dim + dim + row] = m;
                }
                Some(Mixer::Projection(Linear { weight: init.values([dim, 2 * dim], weight), bias: init.constant([dim], 0.0) }))
            }
        }
    }

    /// Domains that the domain discriminator tells apart: samples, mixtures if there are any, proxies.
    pub fn domains(&self) -> usize {
        if self.mode == MixMode::Nothing { 2 } else { 3 }
    }

    /// Mixing coefficients m for `rows` rows, each the share of the proxy.
    pub fn coefficients(&self, rows: usize, generator: &mut ChaCha8Rng) -> Vec<f64> {
        let beta = Beta::new(self.alpha, self.beta).expect("both parameters are checked to be positive");
        let mut draw = || self.shifted(beta.sample(generator));
        match self.draw {
            Draw::Row => (0..rows).map(|_| draw()).collect(),
            Draw::Batch => vec![draw(); rows],
        }
    }

    fn shifted(&self, m: f64) -> f64 {
        1.0 - self.shift_scale + self.shift_scale * m
    }

    /// The mixed domain, `[rows, dim]`, of samples and the proxy of each, such as z_i = (1 - m_i) x_i + m_i p_i. A learned mode has a `mixer` and does
    /// not look at the coefficients.
    pub fn mix(&self, mixer: Option<&Mixer>, x: Tensor<2>, proxies: Tensor<2>, coefficients: &[f64]) -> Tensor<2> {
        let normalised = self.normalize || self.mode == MixMode::Spherical;
        let (x, proxies) = if normalised { (normalize(x), normalize(proxies)) } else { (x, proxies) };
        let z = match mixer {
            Some(Mixer::Gate(gate)) => {
                let m = sigmoid(gate.logits.val()).unsqueeze::<2>() * self.shift_scale + (1.0 - self.shift_scale);
                x.clone() + (proxies - x) * m
            }
            Some(Mixer::Projection(projection)) => projection.forward(Tensor::cat(vec![x, proxies], 1)),
            None => {
                let m = TensorData::new(coefficients.to_vec(), [coefficients.len(), 1]);
                let m = Tensor::<2>::from_data(m, (&x.device(), x.dtype()));
                if self.mode == MixMode::Spherical { slerp(x, proxies, m) } else { x.clone() + (proxies - x) * m }
            }
        };
        if normalised { normalize(z) } else { z }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};
    use burn::tensor::Device;

    fn values(z: Tensor<2>) -> Vec<f32> {
        z.into_data().try_to_vec().unwrap()
    }

    #[test]
    fn rows_get_coefficients_of_their_own_and_a_batch_one_for_all() {
        let mut generator = generator(0, Purpose::DomainMix, 0, 0, 0);
        let rows = MixConfig::default().coefficients(50, &mut generator);
        assert!(rows.iter().all(|m| (0.0..=1.0).contains(m)) && rows.windows(2).any(|pair| pair[0] != pair[1]));
        let batch = MixConfig { draw: Draw::Batch, ..Default::default() }.coefficients(50, &mut generator);
        assert!(batch.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_shift_keeps_coefficients_near_the_proxies() {
        let draw = |shift_scale: f64| {
            let config = MixConfig { alpha: 0.5, beta: 0.5, shift_scale, ..Default::default() };
            config.coefficients(200, &mut generator(0, Purpose::DomainMix, 0, 0, 0))
        };
        let (free, shifted) = (draw(1.0), draw(0.3));
        assert!(free.iter().any(|m| *m < 0.1) && shifted.iter().all(|m| (0.7..=1.0).contains(m)));
        assert!(free.iter().zip(&shifted).all(|(m, s)| (0.7 + 0.3 * m - s).abs() < 1e-12));
    }

    #[test]
    fn long_samples_swamp_raw_mixtures_but_not_normalised_ones() {
        let device = Device::default();
        let x = Tensor::<2>::from_floats([[8.0, 0.0]], &device);
        let p = Tensor::<2>::from_floats([[0.0, 1.0]], &device);
        let share_of_proxy = |normalize: bool| {
            let z = MixConfig { normalize, ..Default::default() }.mix(None, x.clone(), p.clone(), &[0.5]);
            values(crate::model::layers::normalize(z))[1]
        };
        assert!((share_of_proxy(true) - 0.5f32.sqrt()).abs() < 1e-6);
        assert!((share_of_proxy(false) - 1.0 / 65f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn spherical_mixtures_share_the_angle_and_straight_ones_the_chord() {
        let device = Device::default();
        let x = Tensor::<2>::from_floats([[3.0, 0.0]], &device);
        let p = Tensor::<2>::from_floats([[0.0, 0.5]], &device);
        for normalize in [true, false] {
            let angle = |mode| {
                let z = values(MixConfig { mode, normalize, ..Default::default() }.mix(None, x.clone(), p.clone(), &[0.25]));
                z[1].atan2(z[0])
            };
            assert!((angle(MixMode::Spherical) - std::f32::consts::FRAC_PI_8).abs() < 1e-6);
            let chord = if normalize { (0.25f32).atan2(0.75) } else { (0.125f32).atan2(2.25) };
            assert!((angle(MixMode::Linear) - chord).abs() < 1e-6);
        }
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
