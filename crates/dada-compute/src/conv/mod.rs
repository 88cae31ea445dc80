//! Two-dimensional convolution: `tensors` are the operators and their gradients, `algorithm` chooses who computes them.
//!
//! Through matrix products (`products`, `product_gradients`, `pointwise`, with `im2col`), by Winograd's transform for most 3 × 3, and a plane
//! at a time where each channel has its own kernel (`depthwise`).

mod algorithm;
mod depthwise;
mod im2col;
mod operands;
mod pointwise;
mod product_gradients;
mod products;
mod shape;
mod tensors;
mod winograd;
mod winograd_transform;

pub(crate) use shape::ConvShape;
pub use tensors::{ConvOptions, conv2d, conv2d_scaled};
