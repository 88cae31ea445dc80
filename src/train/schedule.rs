//! How step sizes change over a run.

use serde::{Deserialize, Serialize};

/// A factor of every step size; one at the start of the first epoch after the warm-ups (`cosine` with a rise starts at zero).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Schedule {
    /// Always one.
    Constant,
    /// Times `factor` after each `every` epochs.
    Step {
        /// Epochs between reductions.
        every: usize,
        /// The reduction.
        factor: f64,
    },
    /// Times `factor` after each of the epochs `at`.
    MultiStep {
        /// Epochs after the warm-ups.
        at: Vec<usize>,
        /// The reduction.
        factor: f64,
    },
    /// A linear rise over the first `rise` epochs, then half a cosine down to `floor`.
    Cosine {
        /// Epochs, not necessarily whole.
        #[serde(default)]
        rise: f64,
        /// The factor at the very end.
        #[serde(default)]
        floor: f64,
    },
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Cosine { rise: 0.0, floor: 0.0 }
    }
}

impl Schedule {
    /// The factor `progress` epochs after the warm-ups, of `epochs` in all; fractions count in the cosine only.
    pub fn factor(&self, progress: f64, epochs: usize) -> f64 {
        let passed = progress.max(0.0);
        match self {
            Self::Constant => 1.0,
            Self::Step { every, factor } => factor.powi((passed as usize / every) as i32),
            Self::MultiStep { at, factor } => factor.powi(at.iter().filter(|&&epoch| epoch <= passed as usize).count() as i32),
            Self::Cosine { rise, .. } if progress < *rise => passed / rise,
            Self::Cosine { rise, floor } => {
                let share = ((passed - rise) / (epochs as f64 - rise).max(f64::MIN_POSITIVE)).min(1.0);
                floor + (1.0 - floor) * (1.0 + (std::f64::consts::PI * share).cos()) / 2.0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reductions_come_after_whole_epochs_and_the_cosine_runs_through() {
        let step = Schedule::Step { every: 4, factor: 0.5 };
        assert_eq!([-1.0, 0.0, 3.9, 4.0, 8.5].map(|at| step.factor(at, 10)), [1.0, 1.0, 1.0, 0.5, 0.25]);
        let multi = Schedule::MultiStep { at: vec![2, 5], factor: 0.1 };
        assert_eq!([0.0, 1.9, 2.0, 5.0].map(|at| multi.factor(at, 10)), [1.0, 1.0, 0.1, 0.1 * 0.1]);
        let cosine = Schedule::Cosine { rise: 2.0, floor: 0.1 };
        assert_eq!([0.0, 1.0, 2.0].map(|at| cosine.factor(at, 10)), [0.0, 0.5, 1.0]);
        assert!((cosine.factor(6.0, 10) - 0.55).abs() < 1e-12);
        assert!((cosine.factor(10.0, 10) - 0.1).abs() < 1e-12);
    }
}
