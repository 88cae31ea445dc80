//! PFML's potential field: every embedding and every proxy attracts its own class and repels the others, less the farther away.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::loss::rows::{cosines_with, own_centres, weighted_sum};
use crate::loss::settings::{Loss, LossSettings, check_centres, check_positive};
use crate::model::layers::{Initializer, normalize};
use dada_compute::pair_energy;

/// Squared distance, in units of δ², within which repulsion grows no further; it would be infinite where two classes coincide.
const NEAREST: f64 = 0.01;

/// Proxies a class, decay and reach; the number of proxies is the publication's for CUB and Cars, α and δ lie within the
/// ranges that it searches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PotentialFieldConfig {
    /// M, proxies of each class.
    pub centres: usize,
    /// α, the power of the distance with which the potential decays.
    pub alpha: f64,
    /// δ, the distance below which attraction ends and repulsion begins.
    pub delta: f64,
}

impl Default for PotentialFieldConfig {
    fn default() -> Self {
        Self { centres: 15, alpha: 4.0, delta: 0.2 }
    }
}

impl LossSettings for PotentialFieldConfig {
    type Loss = PotentialField;

    fn check(&self) -> Result<()> {
        check_centres(self.centres)?;
        check_positive("alpha", self.alpha)?;
        check_positive("delta", self.delta)
    }

    /// Proxies drawn from a normal distribution of deviation 1/8.
    fn init(&self, classes: usize, dim: usize, init: &mut Initializer) -> PotentialField {
        PotentialField { proxies: init.normal([classes * self.centres, dim], 1.0 / 8.0), config: self.clone() }
    }
}

/// Potential field (Bhatnagar and Ahuja, CVPR 2025).
#[derive(Module, Debug)]
pub struct PotentialField {
    /// `[classes · centres, dim]`, the proxies of a class side by side.
    pub proxies: Param<Tensor<2>>,
    #[module(skip)]
    config: PotentialFieldConfig,
}

impl Loss for PotentialField {
    /// The energy of all pairs of embeddings and proxies, counted from that of perfect classes, in units of δ^-α, over the rows.
    fn forward(&self, embeddings: Tensor<2>, labels: &[usize]) -> Tensor<1> {
        let PotentialFieldConfig { centres, alpha, .. } = self.config;
        let points = normalize(Tensor::cat(vec![embeddings, self.proxies.val()], 0));
        let proxies = points.dims()[0] - labels.len();
        let classes: Vec<usize> = labels.iter().copied().chain((0..proxies).map(|proxy| proxy / centres)).collect();
        let energy = pair_energy(points, &classes, |cosine, same| {
            let squared = (cosine - 1.0) * self.scale();
            // Within a class the potential is flat up to δ, between classes from δ on: there it is 1, and exerts no force.
            if same == (squared <= 1.0) {
                return (0.0, 0.0);
            }
            let felt = squared.max(NEAREST);
            let potential = felt.powf(-alpha / 2.0);
            let slope = if felt == squared { -alpha / 2.0 * potential / felt * self.scale() } else { 0.0 };
            if same { (1.0 - potential, -slope) } else { (potential - 1.0, slope) }
        });
        energy / labels.len() as f64
    }

    fn proxies(&self) -> Tensor<2> {
        self.proxies.val()
    }

    fn centres(&self) -> usize {
        self.config.centres
    }

    /// For each row the mean of its class's proxies, `[batch, dim]`, each weighted with its share of the class's potential at the row.
    fn proxy_rows(&self, embeddings: Tensor<2>, labels: &[usize]) -> Tensor<2> {
        let own = own_centres(self.proxies.val(), self.config.centres, labels);
        let squared = (cosines_with(&own, embeddings) - 1.0) * self.scale();
        let potential = squared.clamp_min(1.0).powf_scalar(-self.config.alpha / 2.0);
        let shares = potential.clone() / potential.sum_dim(1);
        weighted_sum(own, shares)
    }
}

impl PotentialField {
    /// Of unit vectors |a - b|² = 2 - 2 a·b; in units of δ² it is this factor of a·b - 1.
    fn scale(&self) -> f64 {
        -2.0 / (self.config.delta * self.config.delta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::ProxyLossConfig;
    use crate::loss::tests::{Rows, check, cosine};
    use burn::tensor::Device;

    fn distance(a: &[f64], b: &[f64]) -> f64 {
        (2.0 - 2.0 * cosine(a, b)).max(0.0).sqrt()
    }

    /// The published energy itself, less that of perfect classes.
    fn oracle(x: &Rows, labels: &[usize], proxies: &Rows, config: &PotentialFieldConfig) -> f64 {
        let PotentialFieldConfig { centres, alpha, delta } = *config;
        let points: Vec<(&Vec<f64>, usize)> =
            x.iter().zip(labels.iter().copied()).chain(proxies.iter().zip((0..proxies.len()).map(|proxy| proxy / centres))).collect();
        let depth = delta.powf(-alpha);
        let mut energy = 0.0;
        for (at, (a, class)) in points.iter().enumerate() {
            for (other, (b, its)) in points.iter().enumerate() {
                let d = distance(a, b);
                energy += match (at == other, class == its) {
                    (true, _) => 0.0,
                    (_, true) => (if d < delta { -depth } else { -d.powf(-alpha) }) + depth,
                    (_, false) => (if d < delta { d.powf(-alpha) } else { depth }) - depth,
                };
            }
        }
        energy / depth / labels.len() as f64
    }

    #[test]
    fn agrees_with_the_formula_written_as_loops() {
        // Reaches within, across and beyond the distances that are there.
        for (centres, alpha, delta) in [(1, 4.0, 0.9), (3, 2.0, 1.3), (2, 3.0, 1.7), (15, 2.0, 0.6)] {
            let config = PotentialFieldConfig { centres, alpha, delta };
            check(&ProxyLossConfig::PotentialField(config.clone()), |x, labels, proxies| oracle(x, labels, proxies, &config));
        }
    }

    #[test]
    fn a_proxy_counts_for_a_row_by_its_share_of_the_potential() {
        let device = Device::default();
        let mut loss = PotentialFieldConfig { centres: 3, alpha: 2.0, delta: 0.5 }.init(2, 2, &mut Initializer::new(&device, 3));
        let proxies = [[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [5.0, 0.0], [0.0, 2.0], [-1.0, 0.0]];
        loss.proxies = Param::from_tensor(Tensor::from_floats(proxies, &device));
        // Squared distances 0, within δ, and 2 and 4: shares 4 : 1/2 : 1/4.
        let row = loss.proxy_rows(Tensor::from_floats([[3.0, 0.0]], &device), &[1]);
        let found: Vec<f32> = row.into_data().try_to_vec().unwrap();
        assert!((found[0] - 3.75 / 4.75).abs() < 1e-6 && (found[1] - 0.5 / 4.75).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn perfect_classes_lie_at_rest_and_coinciding_ones_have_an_energy() {
        let device = Device::default().autodiff();
        let mut loss = PotentialFieldConfig { centres: 2, ..Default::default() }.init(2, 2, &mut Initializer::new(&device, 3));
        loss.proxies = Param::from_tensor(Tensor::from_floats([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 3.0]], &device));
        let energy = |rows: [[f32; 2]; 2]| {
            let x = Tensor::<2>::from_floats(rows, &device).require_grad();
            let value = loss.forward(x.clone(), &[0, 1]);
            let gradient: Vec<f32> = x.grad(&value.backward()).unwrap().into_data().try_to_vec().unwrap();
            (value.into_scalar::<f32>(), gradient)
        };
        assert_eq!(energy([[1.0, 0.02], [0.02, 1.0]]), (0.0, vec![0.0; 4]));
        let (value, gradient) = energy([[1.0, 0.0], [1.0, 0.0]]);
        assert!(value > 1e4 && value.is_finite() && gradient.iter().all(|slope| slope.is_finite()), "{value} {gradient:?}");
    }
}
