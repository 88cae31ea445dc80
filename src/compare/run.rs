//! Makes the runs of a comparison.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::grid::Arm;
use crate::config::RunConfig;
use crate::error::{AtPath, Error, Result};
use crate::train::Metrics;

/// A run that is done.
#[derive(Clone, Debug)]
pub struct Run {
    /// Place in the list of arms.
    pub arm: usize,
    /// Its seed.
    pub seed: u64,
    /// Its run folder.
    pub folder: PathBuf,
    /// What came out.
    pub metrics: Metrics,
}

/// The run folder of one arm and seed within a comparison's folder.
pub fn folder(comparison: &Path, arm: &Arm, seed: u64) -> PathBuf {
    let name: String = arm.name.chars().map(|c| if c.is_alphanumeric() || "=.-_".contains(c) { c } else { '_' }).collect();
    comparison.join(if name.is_empty() { "base".to_owned() } else { name }).join(format!("seed-{seed}"))
}

/// Makes one run by `program train`, in a process of its own so that its time and memory are its own; goes on with one that was
/// interrupted, and only reads one that is done with this configuration, which is what the file and the settings resolve to. What the process tells goes to `log.txt` in the run's folder.
///
/// # Errors
/// When the run fails, with the last line that it told, and when the folder holds another run.
pub fn make(program: &Path, config: Option<&Path>, settings: &[String], resolved: &RunConfig, folder: &Path) -> Result<Metrics> {
    if let Some(metrics) = Metrics::read(folder)? {
        let made = RunConfig::load(&folder.join("config.toml"))?;
        return match resolved.difference(&made) {
            None => Ok(metrics),
            Some(difference) => Err(Error::Config(format!("{} holds a run with another configuration: {difference}", folder.display()))),
        };
    }
    let parent = folder.parent().expect("a run's folder lies in an arm's folder");
    fs::create_dir_all(parent).at(parent)?;
    let log = folder.with_extension("log");
    let mut command = Command::new(program);
    command.arg("train").args(config).args(settings.iter().flat_map(|setting| ["--set", setting])).arg("--out").arg(folder).arg("--resume");
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).at(&log)?).status().at(program)?;
    if !status.success() {
        let told = fs::read_to_string(&log).unwrap_or_default();
        let last = told.lines().last().unwrap_or("nothing was told").trim_start_matches("error: ").to_owned();
        return Err(Error::Data(format!("{}: {last}", folder.display())));
    }
    Metrics::read(folder)?.ok_or_else(|| Error::Data(format!("{}: the run ended without metrics.json", folder.display())))
}
