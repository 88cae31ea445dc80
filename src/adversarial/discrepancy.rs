//! How far category predictions on the mixed domain are from those on samples.

use burn::tensor::{Tensor, activation::softmax};
use serde::{Deserialize, Serialize};

use crate::compute::nuclear_norm;

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
}

impl Discrepancy {
    /// L_dis `[1]` between logits `[rows, classes]` on samples and on their mixtures.
    pub fn measure(self, samples: Tensor<2>, mixtures: Tensor<2>) -> Tensor<1> {
        let [rows, _] = samples.dims();
        let (samples, mixtures) = (softmax(samples, 1), softmax(mixtures, 1));
        match self {
            Self::NuclearNorm => (nuclear_norm(samples) - nuclear_norm(mixtures)) * (0.5 / rows as f64),
            Self::L1 => (samples - mixtures).abs().mean(),
        }
    }
}
