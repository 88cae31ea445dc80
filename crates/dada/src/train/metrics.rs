//! What a finished run says of itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::Split;
use crate::error::{AtPath, Error, Result};
use crate::evaluate::retrieval::Means;

/// The k of recall@k in every table.
pub const KS: [usize; 4] = [1, 2, 4, 8];

/// `metrics.json`. Figures are empty where there are no pictures to measure on.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Metrics {
    /// The part that `test`, `test_final`, `untrained` and `frozen` are measured on: where the data have no test classes, the validation
    /// classes, which chose the epoch.
    pub measured_on: Split,
    /// Whether these classes were trained on, being too few to hold some out; the pictures were not.
    #[serde(default)]
    pub seen_classes: bool,
    /// The best epoch's encoder on the test classes.
    pub test: Figures,
    /// The last epoch's encoder on the test classes.
    pub test_final: Figures,
    /// The best epoch's encoder on the validation classes, by which it was chosen.
    pub validation: Figures,
    /// The last epoch's encoder on the validation classes.
    #[serde(default)]
    pub validation_final: Figures,
    /// The encoder before training on the test classes: for a pre-trained backbone, that with the projection it started from.
    pub untrained: Figures,
    /// The same on the validation classes.
    #[serde(default)]
    pub validation_untrained: Figures,
    /// The features of a pre-trained backbone, without a projection, on the test classes.
    pub frozen: Option<Figures>,
    /// The same on the validation classes.
    pub validation_frozen: Option<Figures>,
    /// The best epoch, zero-based; none when no epoch was better than the pre-trained encoder before training.
    pub best_epoch: Option<usize>,
    /// Seconds of training and validation, without what comes before the first step and after the last.
    pub seconds: f64,
    /// Seconds of processor time of the process that ended the run, from its start to the end of training.
    #[serde(default)]
    pub cpu_seconds: f64,
    /// The most memory that this process held until then, in GiB.
    #[serde(default)]
    pub peak_memory_gib: f64,
}

impl Metrics {
    /// Of a run folder; none before its run is finished.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join("metrics.json");
        if !path.exists() {
            return Ok(None);
        }
        let bytes = fs::read(&path).at(&path)?;
        serde_json::from_slice(&bytes).map(Some).map_err(|error| Error::format(&path, error.to_string()))
    }

    /// Writes the file, whole or not at all: its presence says that the run is finished.
    ///
    /// # Errors
    /// When the disk is full, for example.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let [partial, path] = [".metrics.json", "metrics.json"].map(|name| folder.join(name));
        fs::write(&partial, serde_json::to_vec_pretty(self).expect("figures have string keys")).at(&partial)?;
        fs::rename(&partial, &path).at(&path)
    }

    /// What the figures are about.
    pub fn about(&self) -> &'static str {
        match (self.test.is_empty(), self.seen_classes, self.measured_on) {
            (true, ..) => "nothing was measured: too few pictures",
            (_, false, Split::Test) => "on classes that were never trained on",
            (_, true, Split::Test) => "on pictures that were not trained on, of classes that were",
            (_, false, _) => "on the validation classes, which were not trained on but chose the epoch",
            (_, true, _) => "on the validation pictures, which were not trained on but chose the epoch; their classes were trained on",
        }
    }
}

/// The names of all figures, in the order of a table.
pub fn metric_names() -> Vec<String> {
    Means::of(std::iter::empty(), &KS).entries().into_iter().map(|(name, _)| name).collect()
}

/// Metric names and values.
pub type Figures = BTreeMap<String, f64>;
