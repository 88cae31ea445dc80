//! Exact evaluation of embeddings, ours or anybody's: plain row-major matrices in, numbers out.
//!
//! Nothing here knows how the embeddings were made.

pub mod approximate;
pub mod audit;
pub mod clustering;
pub mod curve;
pub mod definitions;
pub mod diagnostics;
pub mod kmeans;
pub mod map;
pub mod protocol;
pub mod retrieval;
pub mod similarity;
pub mod spectrum;
pub mod task;

pub use definitions::Definitions;
pub use retrieval::{Retrieval, query_gallery, self_retrieval};
pub use task::{Roles, Task};
