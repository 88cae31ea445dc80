//! Train image-embedding models with proxy losses and data-augmented domain adaptation (DADA).

pub mod data;
pub mod error;
pub mod random;

pub use error::{Error, Result};
