//! The run folder: taken by one process at a time, and never another's.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;

use crate::config::RunConfig;
use crate::error::{AtPath, Error, Result};

/// Takes a run folder for this process: a new one, which is said, or, to resume, one with this very configuration.
///
/// # Errors
/// When another process has it, or it holds something else, and is left as it was.
pub fn claim(folder: &Path, config: &RunConfig, resume: bool) -> Result<(File, bool)> {
    fs::create_dir_all(folder).at(folder)?;
    let configured = folder.join("config.toml");
    if !configured.exists() {
        let ours = |name: &OsStr| [".lock", ".config.toml", "config.toml"].iter().any(|own| name == *own);
        let foreign = fs::read_dir(folder).at(folder)?.filter_map(|entry| entry.ok()).find(|entry| !ours(&entry.file_name()));
        if let Some(entry) = foreign {
            let problem = format!("{} is not empty ({:?}) and holds no run; choose another --out", folder.display(), entry.file_name());
            return Err(Error::Config(problem));
        }
    }
    let path = folder.join(".lock");
    let lock = File::create(&path).at(&path)?;
    lock.try_lock().map_err(|error| match error {
        fs::TryLockError::WouldBlock => Error::Busy(folder.to_owned()),
        fs::TryLockError::Error(problem) => Error::Io { path, problem },
    })?;
    let is_new = !configured.exists();
    if is_new {
        let partial = folder.join(".config.toml");
        fs::write(&partial, config.to_toml()).at(&partial)?;
        fs::rename(&partial, &configured).at(&configured)?;
    } else {
        let found = RunConfig::load(&configured)?;
        if let Some(difference) = config.difference(&found) {
            return Err(Error::Config(format!("{} holds a run with another configuration: {difference}", folder.display())));
        }
        if !resume {
            let problem = format!("{} already holds this run: add --resume to go on with it, or choose another --out", folder.display());
            return Err(Error::Config(problem));
        }
    }
    Ok((lock, is_new))
}

/// Takes back what [`claim`] made, for a run that could not begin; what else lies there is not ours.
pub fn leave(folder: &Path) {
    for file in ["config.toml", ".lock"] {
        fs::remove_file(folder.join(file)).ok();
    }
    fs::remove_dir(folder).ok();
}
