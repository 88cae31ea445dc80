//! Exact evaluation of embeddings, ours or anybody's: plain row-major matrices in, numbers out.
//!
//! Nothing here knows how the embeddings were made.
//!
//! - `task`: what is searched in what
//! - `retrieval`: recall@k, R-precision, MAP@R, mean reciprocal rank
//! - `curve`: precision and recall along the ranking
//! - `definitions`: the same ranking, scored as other tools define their metrics
//! - `intervals`: how far a figure can be trusted
//! - `kmeans`: clusters of embeddings
//! - `clustering`: how well clusters agree with classes
//! - `similarity`: cosines within classes and between them
//! - `spectrum`: in how many directions embeddings spread
//! - `map`: embeddings in two dimensions
//! - `approximate`: what cheaper storage and search cost
//! - `audit`: what would spoil a result
//! - `diagnostics`: how samples and proxies lie to each other in training

pub mod approximate;
pub mod audit;
pub mod clustering;
pub mod curve;
pub mod definitions;
pub mod diagnostics;
pub mod intervals;
pub mod kmeans;
pub mod map;
pub mod retrieval;
pub mod similarity;
pub mod spectrum;
pub mod task;

pub use definitions::Definitions;
pub use retrieval::{Retrieval, query_gallery, self_retrieval};
pub use task::Task;
