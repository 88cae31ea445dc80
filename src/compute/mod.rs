//! What the engine lacks, behind plain functions.

use burn::tensor::Tensor;
use burn::tensor::module;
use burn::tensor::ops::{ConvOptions as BurnConv, MaxPoolOptions};

/// Stride, padding and groups of a 2-D convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    /// Step in both directions.
    pub stride: usize,
    /// Zeros added at the top, bottom, left and right.
    pub padding: [usize; 4],
    /// Groups of channels.
    pub groups: usize,
}

impl Default for ConvOptions {
    fn default() -> Self {
        Self { stride: 1, padding: [0; 4], groups: 1 }
    }
}

/// What follows a normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// max(0, x)
    Relu,
    /// min(6, max(0, x))
    Relu6,
}

fn activate(x: Tensor<4>, activation: Activation) -> Tensor<4> {
    match activation {
        Activation::Identity => x,
        Activation::Relu => burn::tensor::activation::relu(x),
        Activation::Relu6 => x.clamp(0.0, 6.0),
    }
}

/// Convolution.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, options: ConvOptions) -> Tensor<4> {
    let [top, bottom, left, right] = options.padding;
    let conv = BurnConv::new_with_padding([options.stride; 2], [(top, bottom), (left, right)], [1, 1], options.groups);
    module::conv2d(x, weight, bias, conv)
}

/// A batch norm's result and statistics.
pub struct BatchNormOutput {
    /// The normalised, activated map.
    pub y: Tensor<4>,
    /// `[channels]`, detached
    pub mean: Tensor<1>,
    /// `[channels]`, biased, detached
    pub variance: Tensor<1>,
}

/// Batch norm.
pub fn batch_norm(x: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>, eps: f64, activation: Activation) -> BatchNormOutput {
    let [_, c, _, _] = x.dims();
    let mean = x.clone().mean_dims(&[0, 2, 3]);
    let centred = x - mean.clone();
    let variance = centred.clone().square().mean_dims(&[0, 2, 3]);
    let y = centred / (variance.clone() + eps).sqrt() * gamma.reshape([1, c, 1, 1]) + beta.reshape([1, c, 1, 1]);
    BatchNormOutput { y: activate(y, activation), mean: mean.reshape([c]).detach(), variance: variance.reshape([c]).detach() }
}

/// Channel-wise affine map.
pub fn scale_shift(x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>, activation: Activation) -> Tensor<4> {
    let [_, c, _, _] = x.dims();
    activate(x * scale.reshape([1, c, 1, 1]) + shift.reshape([1, c, 1, 1]), activation)
}

/// Convolution with folded scale.
pub fn conv2d_scaled(
    x: Tensor<4>,
    weight: Tensor<4>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    options: ConvOptions,
    activation: Activation,
) -> Tensor<4> {
    let [out, _, _, _] = weight.dims();
    activate(conv2d(x, weight * scale.reshape([out, 1, 1, 1]), Some(shift), options), activation)
}

/// Max pooling.
pub fn max_pool2d(x: Tensor<4>, kernel: usize, stride: usize, padding: [usize; 4]) -> Tensor<4> {
    let [top, bottom, left, right] = padding;
    let mut options = MaxPoolOptions::new([kernel; 2]);
    options.stride = [stride; 2];
    options.padding = [(top, bottom), (left, right)];
    module::max_pool2d(x, options)
}

/// Mean over the map.
pub fn global_avg_pool(x: Tensor<4>) -> Tensor<2> {
    let [b, c, _, _] = x.dims();
    x.mean_dims(&[2, 3]).reshape([b, c])
}

/// Maximum over the map.
pub fn global_max_pool(x: Tensor<4>) -> Tensor<2> {
    let [b, c, h, w] = x.dims();
    x.reshape([b, c, h * w]).max_dim(2).reshape([b, c])
}

/// Placeholder for the nuclear norm.
pub fn nuclear_norm(z: Tensor<2>) -> Tensor<1> {
    z.abs().sum()
}
