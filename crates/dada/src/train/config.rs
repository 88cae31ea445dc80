//! The `[train]` section.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::train::tune::Tune;
use crate::validate::{at_least_one, not_negative};

/// The `[train]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainConfig {
    /// Passes over the training pictures.
    pub epochs: usize,
    /// Epochs at the start in which the backbone is frozen and only projection and proxies learn.
    pub warmup_epochs: usize,
    /// Add one mixture for each class of a batch that has two pictures.
    pub class_mixup: bool,
    /// Epochs between evaluations on the validation classes.
    pub evaluate_every: usize,
    /// Steps between lines of the journal.
    pub journal_every: usize,
    /// Threads that decode and augment.
    pub loader_threads: usize,
    /// Let the proxy doctor look at some training pictures after every epoch; it tells the journal, and changes nothing.
    pub doctor: bool,
    /// How much of the network learns.
    pub tune: Tune,
    /// Augmented views of each training picture that are kept, besides the test view, where a part of the network is frozen.
    pub views: usize,
    /// Folder for what a frozen part made; by default one in the user's cache.
    pub cache: PathBuf,
    /// Most memory, in GiB, for what a frozen part made; beyond that it is computed in every step.
    pub cache_gib: f64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 60,
            warmup_epochs: 0,
            class_mixup: false,
            evaluate_every: 1,
            journal_every: 10,
            loader_threads: 2,
            doctor: true,
            tune: Tune::Full,
            views: 4,
            cache: PathBuf::new(),
            cache_gib: 4.0,
        }
    }
}

impl TrainConfig {
    /// # Errors
    /// [`crate::Error::Config`] that names the first key whose value makes no sense.
    pub fn check(&self) -> Result<()> {
        at_least_one("train.epochs", self.epochs)?;
        at_least_one("train.evaluate_every", self.evaluate_every)?;
        at_least_one("train.journal_every", self.journal_every)?;
        at_least_one("train.loader_threads", self.loader_threads)?;
        not_negative("train.cache_gib", self.cache_gib)
    }
}
