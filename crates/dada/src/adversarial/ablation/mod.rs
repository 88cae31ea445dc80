//! What `[dada]` offers beside its defaults, for comparisons: other confusions, learned and spherical mixtures, spectral norms.
//!
//! `docs/ablations.md` says which question each of them answers.

mod confusion;
mod mixer;
mod slerp;
mod spectral;

pub use confusion::Confusion;
pub use mixer::{Gate, Mixer};
pub use slerp::slerp;
pub use spectral::spectral_norm;
