//! Temporary.
use super::Activation;
use burn::tensor::module;
use burn::tensor::Tensor;
use burn::tensor::ops::MaxPoolOptions;

fn activate(x: Tensor<4>, activation: Activation) -> Tensor<4> {
    match activation {
        Activation::Identity => x,
        Activation::Relu => burn::tensor::activation::relu(x),
        Activation::Relu6 => x.clamp(0.0, 6.0),
    }
}

/// Channel-wise affine map.
pub fn scale_shift(x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>, activation: Activation) -> Tensor<4> {
    let [_, c, _, _] = x.dims();
    activate(x * scale.reshape([1, c, 1, 1]) + shift.reshape([1, c, 1, 1]), activation)
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

