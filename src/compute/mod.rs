//! What burn's flex CPU backend lacks or does slowly, as plain functions on tensors, each with its gradient.
//!
//! On the flex device with float32 the functions run this folder's own loops; on every other device and for float64 they are
//! composed of burn's operators, so that a network is written once. Results do not depend on the number of threads: work is
//! split by shape alone, and every sum has a fixed order.
//!
//! - [`conv2d`], [`conv2d_scaled`]: convolution, also with a frozen batch norm folded in (`conv`, `im2col`, `gemm`)
//! - [`batch_norm`]: batch statistics, scale, shift and activation in one pass
//! - [`nuclear_norm`]: through the smaller Gram matrix (`symmetric_eigen`)
//! - [`retain_memory`]: keeps freed buffers in the process (`memory`)

mod activation;
mod batch_norm;
#[cfg(test)]
mod check;
mod conv;
mod conv_loops;
mod flex;
mod gemm;
mod im2col;
mod lanes;
mod memory;
mod nuclear_norm;
mod symmetric_eigen;

pub use activation::Activation;
pub use batch_norm::{BatchNormOutput, batch_norm};
pub use conv::{ConvOptions, conv2d, conv2d_scaled};
pub use memory::retain_memory;
pub use nuclear_norm::nuclear_norm;
