//! Train image-embedding models with proxy losses and data-augmented domain adaptation (DADA).

pub mod adversarial;
pub mod backbone;
pub mod compute;
pub mod data;
pub mod error;
pub mod evaluate;
pub mod layers;
pub mod loss;
pub mod parameters;
pub mod random;

pub use error::{Error, Result};
