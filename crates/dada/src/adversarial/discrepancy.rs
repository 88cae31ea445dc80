//! How far category predictions on the mixed domain are from those on samples.

use burn::tensor::{Tensor, activation::softmax};
use serde::{Deserialize, Serialize};

use dada_compute::nuclear_norm;

/// The measure between two prediction matrices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Discrepancy {
    /// Half the nuclear-norm Wasserstein discrepancy (Chen et al., *Reusing the Task-specific Classifier as a Discriminator*,
    /// CVPR 2022).
    #[default]
    NuclearNorm,
    /// Mean absolute difference of predictions, row by row.
    L1,
    /// None: the category discriminator does not see mixtures.
    None,
}

impl Discrepancy {
    /// L_dis `[1]` between logits `[rows, classes]` on samples and on their mixtures, row by row.
    pub fn measure(self, samples: Tensor<2>, mixtures: Tensor<2>) -> Option<Tensor<1>> {
        let [rows, _] = samples.dims();
        let (samples, mixtures) = (softmax(samples, 1), softmax(mixtures, 1));
        match self {
            Self::NuclearNorm => Some((nuclear_norm(samples) - nuclear_norm(mixtures)) * (0.5 / rows as f64)),
            Self::L1 => Some((samples - mixtures).abs().mean()),
            Self::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn sure_and_diverse_predictions_exceed_unsure_ones_by_known_amounts() {
        let device = Device::default();
        // Predictions: the two unit vectors, of nuclear norm 2, and twice (½, ½), of nuclear norm 1.
        let sure = Tensor::<2>::from_floats([[60.0, 0.0], [0.0, 60.0]], &device);
        let unsure = Tensor::<2>::zeros([2, 2], &device);
        let measure = |measure: Discrepancy, a: &Tensor<2>, b: &Tensor<2>| {
            measure.measure(a.clone(), b.clone()).map(|value| value.into_scalar::<f32>())
        };
        assert!((measure(Discrepancy::NuclearNorm, &sure, &unsure).unwrap() - 0.25).abs() < 1e-6);
        assert!((measure(Discrepancy::NuclearNorm, &unsure, &sure).unwrap() + 0.25).abs() < 1e-6);
        assert!((measure(Discrepancy::L1, &sure, &unsure).unwrap() - 0.5).abs() < 1e-6);
        assert_eq!(measure(Discrepancy::None, &sure, &unsure), None);
    }
}
