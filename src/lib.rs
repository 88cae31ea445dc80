//! Train image-embedding models with proxy losses and data-augmented domain adaptation (DADA).

pub mod backbone;
pub mod compute;
pub mod download;
pub mod error;
pub mod layers;
pub mod parameters;
pub mod random;

pub use error::{Error, Result};
