//! NormalizedSoftmax: classification by cosines.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::loss::settings::{LossSettings, check_positive};
use crate::loss::softmax::{Margin, Softmax};
use crate::model::layers::Initializer;

/// NormalizedSoftmax (Zhai and Wu, BMVC 2019): cross-entropy of cosines over a temperature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NormalizedSoftmaxConfig {
    /// σ, by which cosines are divided.
    pub temperature: f64,
}

impl Default for NormalizedSoftmaxConfig {
    fn default() -> Self {
        Self { temperature: 0.05 }
    }
}

/// Cross-entropy of cosines without a margin.
pub type NormalizedSoftmax = Softmax;

impl LossSettings for NormalizedSoftmaxConfig {
    type Loss = NormalizedSoftmax;

    fn check(&self) -> Result<()> {
        check_positive("temperature", self.temperature)
    }

    /// Proxies drawn from a normal distribution of deviation 1/8.
    fn init(&self, classes: usize, dim: usize, init: &mut Initializer) -> NormalizedSoftmax {
        Softmax::new(1.0 / self.temperature, Margin::None, classes, dim, init)
    }
}
