//! The augmented domain between samples and proxies.

use burn::tensor::{Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};

use crate::adversarial::ablation::{Mixer, slerp};
use crate::error::{Error, Result};
use crate::model::layers::{Initializer, normalize};

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
    /// Nothing: there is no mixed domain, and the discriminators see samples and proxies alone.
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
            MixMode::Gated => Some(Mixer::gate(mean, dim, init)),
            MixMode::Projected => Some(Mixer::projection(self.shifted(mean), dim, init)),
        }
    }

    /// Domains that the domain discriminator tells apart: samples, mixtures if there are any, proxies.
    pub fn domains(&self) -> usize {
        if self.mode == MixMode::Nothing { 2 } else { 3 }
    }

    /// Mixing coefficients m for `rows` rows, each the share of the proxy.
    pub fn coefficients(&self, rows: usize, generator: &mut ChaCha8Rng) -> Vec<f64> {
        let beta = Beta::new(self.alpha, self.beta).expect("both parameters are checked to be positive");
        match self.draw {
            Draw::Row => (0..rows).map(|_| self.shifted(beta.sample(generator))).collect(),
            Draw::Batch => vec![self.shifted(beta.sample(generator)); rows],
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
        let z = if let Some(mixer) = mixer {
            mixer.mix(x, proxies, self.shift_scale)
        } else {
            let m = TensorData::new(coefficients.to_vec(), [coefficients.len(), 1]);
            let m = Tensor::<2>::from_data(m, (&x.device(), x.dtype()));
            if self.mode == MixMode::Spherical { slerp(x, proxies, m) } else { x.clone() + (proxies - x) * m }
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
}
