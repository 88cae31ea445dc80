//! What an observer of a run is told.

use crate::evaluate::Retrieval;
use crate::train::metrics::Metrics;
use crate::train::schedule::At;
use crate::train::step::Record;

/// Told what happens, as it happens.
pub type Observer<'a> = &'a mut dyn FnMut(Event);

/// What an observer is told.
pub enum Event<'a> {
    /// Something worth saying once.
    Note(String),
    /// The frozen part of the network went over so many of all the views that are to be kept.
    Cached {
        /// Views that are done.
        done: usize,
        /// Views that had to be computed.
        of: usize,
    },
    /// A step was taken: of `steps` in each of `epochs`. The record is there where the journal got one.
    Step {
        /// The step taken.
        at: At,
        /// Steps in an epoch.
        steps: usize,
        /// Epochs in the run.
        epochs: usize,
        /// Pictures in the batch.
        pictures: usize,
        /// The last recorded terms.
        record: &'a Record,
    },
    /// The validation classes were evaluated after this epoch.
    Evaluated {
        /// Zero-based epoch.
        epoch: usize,
        /// The figures.
        validation: &'a Retrieval,
        /// Whether no epoch before was better.
        best: bool,
    },
}

/// How a run ended.
pub enum Outcome {
    /// All epochs are done; what `metrics.json` says.
    Finished(Box<Metrics>),
    /// Stopped on request, with a checkpoint of the next step.
    Stopped(At),
}
