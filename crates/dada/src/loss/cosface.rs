//! CosFace: classification by cosines, with a margin on the true class's cosine.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::loss::settings::{LossSettings, check_finite, check_positive};
use crate::loss::softmax::{Margin, Softmax};
use crate::model::layers::Initializer;

/// CosFace (Wang et al., CVPR 2018, equation 4): the true class's cosine has to win by a margin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CosFaceConfig {
    /// s, the factor of the cosines.
    pub scale: f64,
    /// m, taken from the cosine.
    pub margin: f64,
}

impl Default for CosFaceConfig {
    fn default() -> Self {
        Self { scale: 64.0, margin: 0.35 }
    }
}

/// Cross-entropy of cosines with [`Margin::Cosine`].
pub type CosFace = Softmax;

impl LossSettings for CosFaceConfig {
    type Loss = CosFace;

    fn check(&self) -> Result<()> {
        check_finite("margin", self.margin)?;
        check_positive("scale", self.scale)
    }

    /// Proxies drawn from a normal distribution of deviation 1/8.
    fn init(&self, classes: usize, dim: usize, init: &mut Initializer) -> CosFace {
        Softmax::new(self.scale, Margin::Cosine(self.margin), classes, dim, init)
    }
}
