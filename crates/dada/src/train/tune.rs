//! Ways to fine-tune: how much of the network learns, and what a step is therefore given.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::backbones::BackboneConfig;
use crate::model::encoder::Boundary;

/// `train.tune`: which part of the network learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tune {
    /// All of it.
    #[default]
    Full,
    /// The projection alone, on pooled features that are computed once and kept.
    Frozen,
    /// The last stages of the backbone (see [`crate::model::backbones::Backbone::stages`]) and the projection. What the stages before make of
    /// the pictures is kept as long as it fits `train.cache_gib`.
    LastStages(usize),
}

impl Tune {
    /// Where the frozen part ends in a backbone of `stages` stages; nowhere if everything learns.
    pub fn boundary(self, stages: usize) -> Option<Boundary> {
        match self {
            Self::Full => None,
            Self::Frozen => Some(Boundary::Pooled),
            Self::LastStages(count) => Some(Boundary::Stage(stages.saturating_sub(count))),
        }
    }

    /// # Errors
    /// When the number of stages is none or all of the backbone's: those have names of their own.
    pub fn check(self, backbone: &BackboneConfig, stages: usize) -> Result<()> {
        let name = backbone.name();
        match self {
            Self::LastStages(count) if count == 0 || count >= stages => {
                let expected = format!("1 to {} of {name}'s {stages} stages, or \"frozen\", or \"full\"", stages - 1);
                Err(Error::Config(format!("train.tune.last_stages is {count}, expected {expected}")))
            }
            _ => Ok(()),
        }
    }
}
