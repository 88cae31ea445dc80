//! The pictures that a run folder brings along.

use std::path::Path;

use crate::config::RunConfig;
use crate::data::{Loaded, load};
use crate::error::{Error, Result};

/// The data of a run folder, divided as the run divided them; nothing for a folder that holds no run.
///
/// # Errors
/// When the run's configuration or its data cannot be read.
pub fn run_data(folder: &Path) -> Result<Option<Loaded>> {
    let path = folder.join("config.toml");
    if !path.is_file() {
        return Ok(None);
    }
    let config = RunConfig::load(&path)?;
    load(&config.data, config.seed).map(Some)
}

/// The data of a folder that has to be a run's.
///
/// # Errors
/// As [`run_data`], and [`Error::Request`] for a folder that holds no run.
pub fn expect_run_data(folder: &Path) -> Result<Loaded> {
    let problem = if folder.exists() {
        format!("{} is no run folder: --data names the pictures", folder.display())
    } else {
        format!("there is no {}, expected a run folder, or a model directory and --data", folder.display())
    };
    run_data(folder)?.ok_or(Error::Request(problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_run_asks_for_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let problem = |path: &Path| expect_run_data(path).unwrap_err().to_string();
        assert!(problem(folder.path()).ends_with(" is no run folder: --data names the pictures"));
        assert!(problem(&folder.path().join("none")).starts_with("there is no "));
        let config = "seed = 3\n[data.validation]\nname = \"nothing\"\n";
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        assert!(expect_run_data(folder.path()).unwrap().splits.validation.samples.is_empty(), "divided as the run says");
    }
}
