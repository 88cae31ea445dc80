//! From picture files to normalised pixels.

pub mod augment;
mod auto_augment;
mod color;
pub mod decode;
pub mod preprocess;
mod slant;
