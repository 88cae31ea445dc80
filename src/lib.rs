//! Train image-embedding models with proxy losses and data-augmented domain adaptation (DADA).

pub mod adversarial;
pub mod backbone;
pub mod compare;
pub mod compute;
pub mod config;
pub mod cost;
pub mod data;
pub mod doctor;
pub mod download;
pub mod embed;
pub mod embed_files;
pub mod encoder;
pub mod error;
pub mod evaluate;
pub mod layers;
pub mod loss;
pub mod model;
pub mod page;
pub mod parameters;
pub mod random;
pub mod report;
pub mod train;
pub mod vectors;

pub use error::{Error, Result};
