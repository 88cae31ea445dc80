//! The network: backbone, pooling, projection; its weights, and what is exported of it.

pub mod backbones;
pub mod encoder;
pub mod export;
pub mod layers;
pub mod parameters;
pub mod preprocess;
pub mod weights;

pub use export::Model;
