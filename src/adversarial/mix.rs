//! The augmented domain between samples and proxies, and mixtures of samples of one class.

use burn::tensor::{Int, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};

use crate::layers::normalize;

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

/// The `[dada.mix]` section: how samples and proxies are mixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MixConfig {
    /// First parameter of the Beta distribution; the larger, the closer to the proxies.
    pub alpha: f64,
    /// Second parameter; the larger, the closer to the samples.
    pub beta: f64,
    /// How often a coefficient is drawn.
    pub draw: Draw,
    /// Mix directions (true) or raw vectors, of which the longer wins (false: the released code).
    pub normalize: bool,
}

impl Default for MixConfig {
    fn default() -> Self {
        Self { alpha: 2.0, beta: 1.0, draw: Draw::Row, normalize: true }
    }
}

impl MixConfig {
    /// Mixing coefficients m for `rows` rows, each the share of the proxy.
    pub fn coefficients(&self, rows: usize, generator: &mut ChaCha8Rng) -> Vec<f64> {
        let beta = Beta::new(self.alpha, self.beta).expect("both parameters are checked to be positive");
        match self.draw {
            Draw::Row => (0..rows).map(|_| beta.sample(generator)).collect(),
            Draw::Batch => vec![beta.sample(generator); rows],
        }
    }

    /// The mixed domain z_i = (1 - m_i) x_i + m_i p_i, `[rows, dim]`, of samples and the proxy of each.
    pub fn mix(&self, x: Tensor<2>, proxies: Tensor<2>, coefficients: &[f64]) -> Tensor<2> {
        let (x, proxies) = if self.normalize { (normalize(x), normalize(proxies)) } else { (x, proxies) };
        let m = TensorData::new(coefficients.to_vec(), [coefficients.len(), 1]);
        let m = Tensor::<2>::from_data(m, (&x.device(), x.dtype()));
        let z = x.clone() + (proxies - x) * m;
        if self.normalize { normalize(z) } else { z }
    }
}

/// Appends one mixture m x_a + (1 - m) x_b for each class that occurs at least twice, made of its first two rows, classes in
/// ascending order.
pub fn append_class_mixtures(x: Tensor<2>, labels: &[usize], m: f64) -> (Tensor<2>, Vec<usize>) {
    let mut rows_of: std::collections::BTreeMap<usize, Vec<usize>> = Default::default();
    for (row, &label) in labels.iter().enumerate() {
        rows_of.entry(label).or_default().push(row);
    }
    rows_of.retain(|_, rows| rows.len() > 1);
    if rows_of.is_empty() {
        return (x, labels.to_vec());
    }
    let member = |which: usize| {
        let rows: Vec<i64> = rows_of.values().map(|rows| rows[which] as i64).collect();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [rows_of.len()]), &x.device());
        x.clone().select(0, rows)
    };
    let mixtures = member(0) * m + member(1) * (1.0 - m);
    let labels = labels.iter().chain(rows_of.keys()).copied().collect();
    (Tensor::cat(vec![x, mixtures], 0), labels)
}

/// One coefficient of class mixtures, m ~ Beta(2, 2).
pub fn class_coefficient(generator: &mut ChaCha8Rng) -> f64 {
    Beta::new(2.0, 2.0).expect("2 is positive").sample(generator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};
    use burn::tensor::Device;

    #[test]
    fn rows_get_coefficients_of_their_own_and_a_batch_one_for_all() {
        let mut generator = generator(0, Purpose::DomainMix, 0, 0, 0);
        let rows = MixConfig::default().coefficients(50, &mut generator);
        assert!(rows.iter().all(|m| (0.0..=1.0).contains(m)) && rows.windows(2).any(|pair| pair[0] != pair[1]));
        let batch = MixConfig { draw: Draw::Batch, ..Default::default() }.coefficients(50, &mut generator);
        assert!(batch.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn long_samples_swamp_raw_mixtures_but_not_normalised_ones() {
        let device = Device::default();
        let x = Tensor::<2>::from_floats([[8.0, 0.0]], &device);
        let p = Tensor::<2>::from_floats([[0.0, 1.0]], &device);
        let share_of_proxy = |normalize: bool| {
            let z = MixConfig { normalize, ..Default::default() }.mix(x.clone(), p.clone(), &[0.5]);
            crate::layers::normalize(z).into_data().try_to_vec::<f32>().unwrap()[1]
        };
        assert!((share_of_proxy(true) - 0.5f32.sqrt()).abs() < 1e-6);
        assert!((share_of_proxy(false) - 1.0 / 65f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn each_class_with_two_rows_gets_one_mixture_of_its_first_two() {
        let x = Tensor::<2>::from_floats([[1.0], [2.0], [4.0], [8.0], [16.0], [32.0]], &Device::default());
        let (mixed, labels) = append_class_mixtures(x, &[7, 3, 3, 7, 5, 3], 0.25);
        assert_eq!(labels, [7, 3, 3, 7, 5, 3, 3, 7]);
        assert_eq!(mixed.into_data().try_to_vec::<f32>().unwrap()[6..], [0.25 * 2.0 + 0.75 * 4.0, 0.25 * 1.0 + 0.75 * 8.0]);
    }
}
