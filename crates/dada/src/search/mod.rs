//! Search: which vectors of a gallery are most similar to a query, exactly or nearly.
//!
//! - `nearest`: the k most similar items of each query
//! - `ranking`: the exact rank of every relevant item of each query
//! - `codes`: vectors stored in fewer bits or dimensions
//! - `graph`: approximate search in a graph
//! - `pca`: principal components
//! - `panels`: vectors laid out for matrix multiplication, and their similarities tile by tile
//! - `tally`: what `ranking` counts for each query while similarities pass by

pub mod codes;
pub mod graph;
pub mod nearest;
pub(crate) mod panels;
pub mod pca;
pub mod ranking;
pub(crate) mod tally;

pub use nearest::{Neighbour, nearest};
