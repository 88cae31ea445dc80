//! Descriptions in JSON, beside weights and in run folders.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::formats::file::{read_bounded, write_whole};

/// The longest description that is read: most have a thousand bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Reads a value.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Format`] when it is too long or not such a value.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&read_bounded(path, MAX_BYTES)?).map_err(|error| Error::format(path, error.to_string()))
}

/// Writes a value with string keys; the file appears whole or not at all.
///
/// # Errors
/// When the file cannot be written to.
pub fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    write_whole(path, &serde_json::to_vec_pretty(value).expect("the value has string keys"))
}
