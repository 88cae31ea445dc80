//! What burn's flex CPU backend lacks or does slowly, as plain functions on tensors, each with its gradient.
//!
//! On the flex device with float32 the functions run this folder's own loops; on every other device and for float64 they are
//! composed of burn's operators, so that a network is written once. Results do not depend on the number of threads: work is
//! split by shape alone, and every sum has a fixed order.
//!
//! - [`conv2d`], [`conv2d_scaled`]: convolution, also with a frozen batch norm folded in (`conv`)
//! - [`batch_norm`]: batch statistics, scale, shift and activation in one pass
//! - [`linear`], [`batch_norm_rows`]: what a perceptron is made of
//! - [`scale_shift`]: a frozen batch norm that no convolution precedes
//! - [`max_pool2d`], [`global_avg_pool`], [`global_max_pool`] (`pool`)
//! - [`nuclear_norm`]: exact in float64, fast in float32
//! - [`pair_energy`]: of all pairs of vectors, without their matrix
//! - [`symmetric_eigen`]: eigenvalues and eigenvectors, in float64, of plain slices
//! - [`adam_update`]: a step of Adam or AdamW in one pass
//! - [`retain_memory`]: keeps freed buffers in the process (`memory`)

mod activation;
mod adam;
mod batch_norm;
mod batch_norm_rows;
#[cfg(test)]
mod check;
mod conv;
mod flex;
mod gemm;
mod lanes;
mod linear;
mod memory;
mod nuclear_norm;
mod pair_energy;
mod planes;
mod pool;
mod scale_shift;
mod symmetric_eigen;

pub use activation::Activation;
pub use adam::{AdamHyper, Decay, Moments, adam_update};
pub use batch_norm::{BatchNormOutput, batch_norm};
pub use batch_norm_rows::batch_norm_rows;
pub use conv::{ConvOptions, conv2d, conv2d_scaled};
pub use linear::linear;
pub use memory::retain_memory;
pub use nuclear_norm::nuclear_norm;
pub use pair_energy::pair_energy;
pub use pool::{global_avg_pool, global_max_pool, max_pool2d};
pub use scale_shift::scale_shift;
pub use symmetric_eigen::symmetric_eigen;
