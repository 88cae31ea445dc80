//! The configuration that a command starts from: a file, or the embedded one.

use std::path::Path;

use anyhow::{Context, Result};
use dada::config::{self, EMOJI};
use toml::Table;

/// The first layer of the configuration.
pub fn base_layer(file: Option<&Path>) -> Result<Table> {
    match file {
        Some(path) => Ok(config::read_layer(path)?),
        None => toml::from_str(EMOJI).context("the embedded configuration"),
    }
}

/// What folders are named after.
pub fn name(file: Option<&Path>) -> String {
    file.and_then(Path::file_stem).map_or("emoji".to_owned(), |stem| stem.to_string_lossy().into_owned())
}
