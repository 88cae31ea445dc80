//! `journal.jsonl`: one line for every recorded step and every evaluated epoch.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{AtPath, Error, Result};

/// An open journal.
pub struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Journal {
    /// Opens the journal of a run folder and forgets what was written after its first `length` bytes: the steps that a resumed run
    /// is about to repeat.
    ///
    /// # Errors
    /// When the file cannot be written to, or is shorter than `length`.
    pub fn open(folder: &Path, length: u64) -> Result<Self> {
        let path = folder.join("journal.jsonl");
        let file = OpenOptions::new().create(true).append(true).open(&path).at(&path)?;
        let found = file.metadata().at(&path)?.len();
        if found < length {
            return Err(Error::mismatch(path.display().to_string(), format!("{found} bytes"), format!("at least {length}")));
        }
        file.set_len(length).at(&path)?;
        Ok(Self { path, file, length })
    }

    /// Bytes written so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends one line.
    ///
    /// # Errors
    /// When the disk is full, for example.
    pub fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(line).expect("a journal line has string keys and finite numbers or null");
        line.push(b'\n');
        self.file.write_all(&line).at(&self.path)?;
        self.length += line.len() as u64;
        Ok(())
    }
}
