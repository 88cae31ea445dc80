//! Pictures and their labels.

pub mod ceiling;
pub mod check;
pub mod dataset;
pub mod fetch;
pub mod inputs;
pub mod loader;
pub mod pictures;
pub mod sampler;
pub mod sources;
pub mod split;

pub use dataset::{Dataset, Loaded, Picture, Pixels, Sample, Split, Splits};
pub use sources::{DataConfig, Source, load};
pub use split::HoldOut;
