//! Training: from a configuration to a run folder.
//!
//! [`train`] is the whole of it: a [`Session`] is opened, goes through its epochs, and is finished. What one update does is in [`step`].
//!
//! - `session`: what a run is made of, and its loop; `prepare`, `start`, `frozen`: the data, the initial weights, the part that does not learn
//! - `split_data`, `feature_cache`, `cache_file`, `batches`: pictures or kept features, as a step or an evaluation is given them
//! - `step`, `learner`, `mixed_batch`, `losses`, `optimizer`, `schedule`: one update
//! - `checkpoint`, `folder`, `journal`, `tensorboard`, `metrics`, `artifacts`: what a run writes
//! - `diagnose`, `gradient_norms`: what it measures of itself

mod artifacts;
mod batches;
pub mod cache_file;
pub mod checkpoint;
pub mod config;
mod diagnose;
mod feature_cache;
mod folder;
mod frozen;
pub mod gradient_norms;
pub mod journal;
pub mod learner;
pub mod losses;
mod metrics;
mod mixed_batch;
pub mod observer;
pub mod optimizer;
mod prepare;
pub mod schedule;
mod session;
mod split_data;
mod start;
pub mod step;
mod tensorboard;
pub mod tune;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::config::RunConfig;
use crate::error::Result;

pub use config::TrainConfig;
pub use metrics::{Figures, KS, Metrics, metric_names};
pub use observer::{Event, Observer, Outcome};
pub use prepare::plan;
pub use schedule::At;
pub use session::{Epoch, Opened, Session};

/// Trains as `config` says, into `folder`, and reports to `observe`; `resume` goes on from the folder's last checkpoint.
/// A raised `stop` ends the run cleanly after the current step.
///
/// # Errors
/// For a folder that is in use or holds another run, for data that cannot be read or are too few, and for a loss that is not finite.
pub fn train(config: &RunConfig, folder: &Path, resume: bool, stop: &AtomicBool, observe: Observer) -> Result<Outcome> {
    let mut session = match Session::open(config, folder, resume, observe)? {
        Opened::Finished(metrics) => return Ok(Outcome::Finished(metrics)),
        Opened::Going(session) => session,
    };
    while !session.is_done() {
        match session.epoch(stop, observe)? {
            Epoch::Done(next) => session = next,
            Epoch::Stopped(at) => return Ok(Outcome::Stopped(at)),
        }
    }
    session.finish(observe).map(|metrics| Outcome::Finished(Box::new(metrics)))
}

#[cfg(test)]
mod tests;
