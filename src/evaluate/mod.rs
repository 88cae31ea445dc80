//! Exact evaluation of embeddings, ours or anybody's: plain row-major matrices in, numbers out.
//!
//! Nothing here knows how the embeddings were made.

pub mod approximate;
pub mod audit;
pub mod clustering;
pub mod curve;
pub mod definitions;
pub mod embeddings;
pub mod kmeans;
pub mod map;
pub mod nearest;
pub mod neighbours;
pub mod page;
mod panels;
pub mod protocol;
pub mod retrieval;
pub mod sheet;
pub mod similarity;
pub mod spectrum;
mod tally;
pub mod task;

pub use definitions::Definitions;
pub use embeddings::Embeddings;
pub use nearest::{Neighbour, nearest};
pub use retrieval::{Retrieval, query_gallery, self_retrieval};
pub use task::{Roles, Task};

/// Told how much of a long computation is done: `(done, total)`, from any thread, in no particular order.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Nobody watches.
pub const SILENT: Progress<'static> = &|_, _| {};
