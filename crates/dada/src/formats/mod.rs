//! Files that other programs read or write: reader and writer of one format together.

pub(crate) mod csv;
pub mod download;
pub mod file;
pub mod hub;
pub(crate) mod json;
pub mod labels;
pub(crate) mod mat;
pub(crate) mod npy;
pub(crate) mod parquet;
pub mod pytorch;
pub mod safetensors;
pub(crate) mod text;
pub mod vectors;

use std::collections::BTreeMap;

use burn::tensor::TensorData;

/// Tensors by name, as files of weights hold them.
pub type NamedTensors = BTreeMap<String, TensorData>;
