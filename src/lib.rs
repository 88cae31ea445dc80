//! Train image-embedding models with proxy losses and data-augmented domain adaptation (DADA).

pub mod error;
pub mod evaluate;
pub mod random;

pub use error::{Error, Result};
