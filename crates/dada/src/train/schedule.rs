//! How step sizes change over a run.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::validate::{at_least_one, not_negative};

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
        match self {
            Self::Constant => Ok(()),
            Self::Step { every, factor } => {
                at_least_one("optimizer.schedule.every", *every)?;
                not_negative("optimizer.schedule.factor", *factor)
            }
            Self::MultiStep { factor, .. } => not_negative("optimizer.schedule.factor", *factor),
            Self::Cosine { rise, floor } => {
                not_negative("optimizer.schedule.rise", *rise)?;
                not_negative("optimizer.schedule.floor", *floor)
            }
        }
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

/// A place in a run: the step that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// Zero-based epoch.
    pub epoch: usize,
    /// Zero-based step within the epoch.
    pub step: usize,
}

/// How long a run is, for everything that changes over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Epochs in the run.
    pub epochs: usize,
    /// Epochs at its start for which schedules and ramps wait.
    pub warm_ups: usize,
    /// Steps in an epoch.
    pub steps: usize,
}

impl Clock {
    /// The schedule's factor of every step size at a step.
    pub fn step_size_factor(self, schedule: &Schedule, at: At) -> f64 {
        let passed = at.epoch as f64 - self.warm_ups as f64 + at.step as f64 / self.steps as f64;
        schedule.factor(passed, self.epochs.saturating_sub(self.warm_ups))
    }

    /// The share, from 0 to 1, that a weight has reached at a step if it rises over `ramp_epochs` after the warm-ups.
    pub fn ramp(self, ramp_epochs: usize, at: At) -> f64 {
        if ramp_epochs == 0 {
            return 1.0;
        }
        let passed = at.epoch as f64 - self.warm_ups as f64 + (at.step + 1) as f64 / self.steps as f64;
        (passed / ramp_epochs as f64).clamp(0.0, 1.0)
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

    #[test]
    fn a_weight_rises_over_its_ramp() {
        let clock = Clock { epochs: 10, warm_ups: 2, steps: 10 };
        let ramps = |epoch, step| [4, 1].map(|epochs| clock.ramp(epochs, At { epoch, step }));
        assert_eq!(ramps(1, 0), [0.0, 0.0]);
        assert_eq!(ramps(2, 4), [0.125, 0.5]);
        assert_eq!(ramps(3, 9), [0.5, 1.0]);
        assert_eq!(ramps(9, 0), [1.0, 1.0]);
        assert_eq!(clock.ramp(0, At::default()), 1.0);
        assert_eq!(clock.step_size_factor(&Schedule::default(), At::default()), 1.0);
        assert_eq!(clock.step_size_factor(&Schedule::default(), At { epoch: 6, step: 0 }), 0.5);
    }
}
