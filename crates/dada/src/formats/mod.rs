//! Files that other programs read or write: reader and writer of one format together.

pub mod download;
pub mod dump;
pub mod hub;
pub mod labels;
pub(crate) mod mat;
pub(crate) mod npy;
pub(crate) mod parquet;
pub mod pytorch;
pub mod safetensors;
pub(crate) mod table;
pub mod vectors;
