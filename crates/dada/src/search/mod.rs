//! Exact ranking of vectors.

pub mod nearest;
pub mod neighbours;
pub(crate) mod panels;
pub(crate) mod tally;

pub use nearest::{Neighbour, nearest};
