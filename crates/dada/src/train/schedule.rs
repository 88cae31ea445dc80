//! How step sizes change over a run.

use serde::{Deserialize, Serialize};

use crate::config::not_negative;
use crate::error::{Error, Result};

/// A factor of every step size: one in the warm-ups, and at the start of the first epoch after them (`cosine` with a rise starts at zero).
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
    /// # Errors
    /// For no epochs between reductions, and for a value that is negative or not finite.
    pub fn check(&self) -> Result<()> {
        let values: &[(&str, f64)] = match self {
            Self::Constant => &[],
            Self::Step { every: 0, .. } => return Err(Error::Config("optimizer.schedule.every is 0, expected at least 1".into())),
            Self::Step { factor, .. } | Self::MultiStep { factor, .. } => &[("factor", *factor)],
            Self::Cosine { rise, floor } => &[("rise", *rise), ("floor", *floor)],
        };
        values.iter().try_for_each(|(key, value)| not_negative(&format!("optimizer.schedule.{key}"), *value))
    }

    /// The factor `passed` epochs after the warm-ups, of `epochs` in all; fractions count in the cosine only.
    pub fn factor(&self, passed: f64, epochs: usize) -> f64 {
        match self {
            _ if passed < 0.0 => 1.0,
            Self::Constant => 1.0,
            Self::Step { every, factor } => factor.powi((passed as usize / every) as i32),
            Self::MultiStep { at, factor } => factor.powi(at.iter().filter(|&&epoch| epoch <= passed as usize).count() as i32),
            Self::Cosine { rise, .. } if passed < *rise => passed / rise,
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
    fn step_sizes_are_whole_in_the_warm_ups() {
        let cosine = |rise| Schedule::Cosine { rise, floor: 0.0 };
        for schedule in [Schedule::Constant, Schedule::MultiStep { at: vec![0], factor: 0.1 }, cosine(0.0), cosine(1.0)] {
            assert_eq!([-1.0, -0.5].map(|at| schedule.factor(at, 10)), [1.0, 1.0], "{schedule:?}");
        }
        assert_eq!(cosine(0.0).factor(0.0, 10), 1.0);
    }

    #[test]
    fn a_schedule_without_sense_is_refused() {
        let refused = |schedule: Schedule| schedule.check().unwrap_err().to_string();
        assert!(refused(Schedule::Step { every: 0, factor: 0.5 }).contains("schedule.every is 0"));
        assert!(refused(Schedule::MultiStep { at: vec![], factor: f64::NAN }).contains("schedule.factor is NaN"));
        assert!(refused(Schedule::Cosine { rise: -1.0, floor: 0.0 }).contains("schedule.rise is -1"));
        Schedule::default().check().unwrap();
    }

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
