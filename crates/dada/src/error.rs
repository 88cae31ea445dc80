//! The library's one error type.
//!
//! Every message says what was found, what was expected, and where, so that it can be acted on without reading the code.

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong in the library.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("{}: {problem}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said. It is part of the message, and so no `source`: a chain of causes would say it again.
        problem: io::Error,
    },
    /// A file was read, but its content is not what it has to be.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The file, with `:line` where one is known.
        path: PathBuf,
        /// What was found and what was expected.
        problem: String,
    },
    /// A configuration key or value, or a combination of them, that makes no sense.
    #[error("configuration: {0}")]
    Config(String),
    /// Data that cannot be trained or evaluated on as they are.
    #[error("data: {0}")]
    Data(String),
    /// A value with the wrong shape, length or type.
    #[error("{what}: found {found}, expected {expected}")]
    Mismatch {
        /// What was looked at.
        what: String,
        /// What it is.
        found: String,
        /// What it has to be.
        expected: String,
    },
    /// A loss term became NaN or infinite; no weight was changed by it or after it.
    #[error(
        "{term} is not finite ({value}) in epoch {epoch}, step {step}: no weight was changed by it or after it, the last checkpoint is intact; try a smaller learning rate"
    )]
    NonFinite {
        /// The term's name in the journal.
        term: String,
        /// NaN or an infinity.
        value: f64,
        /// Zero-based epoch.
        epoch: usize,
        /// Zero-based step within the epoch.
        step: usize,
    },
    /// A server could not be reached, or broke off.
    #[error("{url}: {problem}")]
    Network {
        /// What was asked for.
        url: String,
        /// What happened, and what to do.
        problem: String,
    },
    /// A server answered that it will not give this.
    #[error("{url}: refused with HTTP status {status}{}", match status { 401 | 403 => " (a token in HF_TOKEN may be needed)", 404 => " (there is no such file)", _ => "" })]
    Refused {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// What was asked for cannot be done as it was asked: something is missing, or two things exclude each other. The message says what.
    #[error("{0}")]
    Request(String),
    /// Another process works in this run folder.
    #[error("{}: in use by another `dada` process", .0.display())]
    Busy(PathBuf),
}

/// A result with the library's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A malformed file: `problem` says what was found and what was expected.
    pub fn format(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Format { path: path.into(), problem: problem.into() }
    }

    /// A wrong shape, length or type.
    pub fn mismatch(what: impl Into<String>, found: impl ToString, expected: impl ToString) -> Self {
        Self::Mismatch { what: what.into(), found: found.to_string(), expected: expected.to_string() }
    }
}

/// Names the file in an operating-system error.
pub trait AtPath<T> {
    /// Turns an `io::Result` into ours.
    fn at(self, path: &Path) -> Result<T>;
}

impl<T> AtPath<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T> {
        self.map_err(|problem| Error::Io { path: path.to_owned(), problem })
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn what_the_system_said_is_told_once() {
        let path = Path::new("/nowhere/at/all");
        let error = std::fs::read(path).at(path).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/at/all: No such file"), "{error}");
        assert!(error.source().is_none());
    }
}
