//! ArcFace: classification by cosines, with a margin on the true class's angle.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::loss::settings::{LossSettings, check_positive};
use crate::loss::softmax::{Margin, Softmax};
use crate::model::layers::Initializer;

/// ArcFace (Deng et al., CVPR 2019, equation 3): the true class's angle has to win by a margin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArcFaceConfig {
    /// s, the factor of the cosines.
    pub scale: f64,
    /// m in radians, added to the angle.
    pub margin: f64,
}

impl Default for ArcFaceConfig {
    fn default() -> Self {
        Self { scale: 64.0, margin: 0.5 }
    }
}

/// Cross-entropy of cosines with [`Margin::Angle`].
pub type ArcFace = Softmax;

impl LossSettings for ArcFaceConfig {
    type Loss = ArcFace;

    fn check(&self) -> Result<()> {
        if !(0.0..=std::f64::consts::PI).contains(&self.margin) {
            return Err(Error::Config(format!("loss.margin is {}, expected an angle of 0 to π radians", self.margin)));
        }
        check_positive("scale", self.scale)
    }

    /// Proxies drawn from a normal distribution of deviation 1/8.
    fn init(&self, classes: usize, dim: usize, init: &mut Initializer) -> ArcFace {
        Softmax::new(self.scale, Margin::Angle(self.margin), classes, dim, init)
    }
}
