//! Train image-embedding models with proxy losses and data-augmented domain adaptation (DADA).

pub mod adversarial;
pub mod compare;
pub mod config;
pub mod cost;
pub mod data;
pub mod device;
pub mod embed;
pub mod embeddings;
pub mod error;
pub mod evaluate;
pub mod formats;
pub mod loss;
pub mod measure;
pub mod model;
pub mod progress;
pub mod random;
pub mod report;
pub mod roles;
pub mod search;
pub mod train;
pub mod validate;

pub use error::{Error, Result};
