//! The layers that backbones, head and discriminators are made of.
//!
//! They hold PyTorch's layouts and names, so that a path is a timm key and a weight needs no transposition, and they differ from the
//! engine's own in three ways: initial weights and dropout masks come from [`crate::random`], whether a layer trains is an argument
//! and never guessed from its input, and batch norm's running variance is the unbiased one, as in PyTorch.

use burn::module::{Module, Param, RunningState};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, Uniform};
use serde::{Deserialize, Serialize};

use crate::random::{Purpose, generator};
use dada_compute::{Activation, ConvOptions};

/// Whether a network learns or is only used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics where they are not frozen; running averages move.
    Train,
    /// Running statistics; nothing changes.
    Infer,
}

/// Makes initial weights: each parameter draws from a stream of its own, in the order of construction.
pub struct Initializer {
    device: Device,
    dtype: DType,
    seed: u64,
    drawn: usize,
}

impl Initializer {
    /// Float32 parameters on `device`, which decides whether they can be trained (`device.autodiff()`).
    pub fn new(device: &Device, seed: u64) -> Self {
        Self { device: device.clone(), dtype: DType::F32, seed, drawn: 0 }
    }

    /// The same in another floating-point type.
    pub fn with_dtype(self, dtype: DType) -> Self {
        Self { dtype, ..self }
    }

    /// Uniform in ±`bound`.
    pub fn uniform<const D: usize>(&mut self, shape: [usize; D], bound: f64) -> Param<Tensor<D>> {
        let uniform = Uniform::new_inclusive(-bound, bound).expect("a bound is finite and not negative");
        self.draw(shape, |generator| uniform.sample(generator))
    }

    /// Normal with mean zero.
    pub fn normal<const D: usize>(&mut self, shape: [usize; D], deviation: f64) -> Param<Tensor<D>> {
        self.draw(shape, |generator| {
            let unit: f64 = StandardNormal.sample(generator);
            unit * deviation
        })
    }

    /// One value everywhere.
    pub fn constant<const D: usize>(&mut self, shape: [usize; D], value: f64) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::full(shape, value, (&self.device, self.dtype)))
    }

    /// These values, row by row.
    pub fn values<const D: usize>(&mut self, shape: [usize; D], values: Vec<f64>) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), (&self.device, self.dtype)))
    }

    fn buffer(&self, length: usize, value: f64) -> RunningState<Tensor<1>> {
        RunningState::new(Tensor::full([length], value, (&self.device, self.dtype)))
    }

    fn draw<const D: usize>(&mut self, shape: [usize; D], mut sample: impl FnMut(&mut ChaCha8Rng) -> f64) -> Param<Tensor<D>> {
        let mut generator = generator(self.seed, Purpose::Initialise, 0, 0, self.drawn);
        self.drawn += 1;
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| sample(&mut generator)).collect();
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), (&self.device, self.dtype)))
    }
}

/// `y = x Wᵀ + b`, weight `[out, in]`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`
    pub weight: Param<Tensor<2>>,
    /// `[out]`
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// PyTorch's default initialisation: weight and bias uniform in ±1/√in.
    pub fn new(inputs: usize, outputs: usize, init: &mut Initializer) -> Self {
        let bound = 1.0 / (inputs as f64).sqrt();
        Self { weight: init.uniform([outputs, inputs], bound), bias: init.uniform([outputs], bound) }
    }

    /// `[batch, in]` to `[batch, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        dada_compute::linear(x, self.weight.val(), self.bias.val())
    }
}

/// A convolution without bias, as batch norm wants it.
#[derive(Module, Debug)]
pub struct Conv {
    /// `[out, in / groups, height, width]`
    pub weight: Param<Tensor<4>>,
    #[module(skip)]
    options: ConvOptions,
    #[module(skip)]
    same: bool,
}

impl Conv {
    /// He initialisation over the outputs (`fan_out`), for rectified networks.
    pub fn new([outputs, inputs]: [usize; 2], kernel: usize, options: ConvOptions, init: &mut Initializer) -> Self {
        let fan_out = outputs * kernel * kernel / options.groups;
        let shape = [outputs, inputs / options.groups, kernel, kernel];
        Self { weight: init.normal(shape, (2.0 / fan_out as f64).sqrt()), options, same: false }
    }

    /// The same with TensorFlow's "SAME" padding in place of `options.padding`: ⌈size / stride⌉ outputs a direction, and the odd zero
    /// at the bottom and right.
    pub fn same(channels: [usize; 2], kernel: usize, options: ConvOptions, init: &mut Initializer) -> Self {
        Self { same: true, ..Self::new(channels, kernel, options, init) }
    }

    /// `[batch, in, height, width]` to `[batch, out, height', width']`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let options = self.options_for(&x);
        dada_compute::conv2d(x, self.weight.val(), None, options)
    }

    fn options_for(&self, x: &Tensor<4>) -> ConvOptions {
        if !self.same {
            return self.options;
        }
        let [_, _, height, width] = x.dims();
        let [_, _, kernel_height, kernel_width] = self.weight.dims();
        let stride = self.options.stride;
        let zeros = |size: usize, kernel: usize| ((size.div_ceil(stride) - 1) * stride + kernel).saturating_sub(size);
        let (rows, columns) = (zeros(height, kernel_height), zeros(width, kernel_width));
        ConvOptions { padding: [rows / 2, rows - rows / 2, columns / 2, columns - columns / 2], ..self.options }
    }
}

/// Which statistics batch norm uses while training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Statistics {
    /// The batch's; running averages follow.
    #[default]
    Free,
    /// The running ones, which stay as they are; γ and β still learn.
    Frozen,
}

/// Batch norm over the channels of `[batch, channels, height, width]`.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// γ, `[channels]`
    pub weight: Param<Tensor<1>>,
    /// β, `[channels]`
    pub bias: Param<Tensor<1>>,
    /// `[channels]`
    pub running_mean: RunningState<Tensor<1>>,
    /// `[channels]`, unbiased
    pub running_var: RunningState<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
    #[module(skip)]
    statistics: Statistics,
}

/// How far a running average moves towards a batch's statistics.
const MOMENTUM: f64 = 0.1;

impl BatchNorm {
    /// γ = 1, β = 0, mean 0, variance 1.
    pub fn new(channels: usize, epsilon: f64, statistics: Statistics, init: &mut Initializer) -> Self {
        Self {
            weight: init.constant([channels], 1.0),
            bias: init.constant([channels], 0.0),
            running_mean: init.buffer(channels, 0.0),
            running_var: init.buffer(channels, 1.0),
            epsilon,
            statistics,
        }
    }

    /// Normalises, scales, shifts and activates.
    pub fn forward(&self, x: Tensor<4>, mode: Mode, activation: Activation) -> Tensor<4> {
        if !self.follows_batch(mode) {
            let (scale, shift) = self.scale_and_shift();
            return dada_compute::scale_shift(x, scale, shift, activation);
        }
        let [batch, _, height, width] = x.dims();
        let count = (batch * height * width) as f64;
        let output = dada_compute::batch_norm(x, self.weight.val(), self.bias.val(), self.epsilon, activation);
        let unbiased = output.variance * (count / (count - 1.0).max(1.0));
        follow(&self.running_mean, output.mean);
        follow(&self.running_var, unbiased);
        output.y
    }

    fn follows_batch(&self, mode: Mode) -> bool {
        mode == Mode::Train && self.statistics == Statistics::Free
    }

    fn scale_and_shift(&self) -> (Tensor<1>, Tensor<1>) {
        let scale = self.weight.val() / (self.running_var.value_sync() + self.epsilon).sqrt();
        let shift = self.bias.val() - self.running_mean.value_sync() * scale.clone();
        (scale, shift)
    }
}

fn follow(average: &RunningState<Tensor<1>>, latest: Tensor<1>) {
    average.update(average.value_sync() * (1.0 - MOMENTUM) + latest * MOMENTUM);
    // An update stays pending until the next reading: without this one a checkpoint would hold the average of the step before.
    average.value_sync();
}

/// Convolution, batch norm and activation, with frozen statistics folded into the convolution's weights.
pub fn conv_norm(x: Tensor<4>, conv: &Conv, norm: &BatchNorm, mode: Mode, activation: Activation) -> Tensor<4> {
    if norm.follows_batch(mode) {
        return norm.forward(conv.forward(x), mode, activation);
    }
    let (scale, shift) = norm.scale_and_shift();
    let options = conv.options_for(&x);
    dada_compute::conv2d_scaled(x, conv.weight.val(), scale, shift, options, activation)
}

/// Layer norm without scale and shift over the last axis of `[rows, dim]` (ε = 1e-5).
pub fn layer_norm(x: Tensor<2>) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    centred / (variance + 1e-5).sqrt()
}

/// Rows scaled to length one; a row of zeros stays zero.
pub fn normalize(x: Tensor<2>) -> Tensor<2> {
    let norm = x.clone().square().sum_dim(1).clamp_min(1e-24).sqrt();
    x / norm
}

/// The same values without a gradient; unlike `detach`, also for a parameter.
pub fn stop_gradient(x: Tensor<2>) -> Tensor<2> {
    if x.device().is_autodiff() { Tensor::from_inner(x.inner()) } else { x }
}

/// Sets each value to zero with probability `rate` and scales the others by 1 / (1 - rate).
pub fn dropout(x: Tensor<2>, rate: f64, generator: &mut ChaCha8Rng) -> Tensor<2> {
    if rate == 0.0 {
        return x;
    }
    assert!((0.0..1.0).contains(&rate), "a dropout rate of {rate}");
    // As `rand_distr::Bernoulli` draws, a whole number of 64 bits for each value, but all bytes at once.
    let (kept, limit) = ((1.0 / (1.0 - rate)) as f32, ((1.0 - rate) * 2f64.powi(64)) as u64);
    let shape = x.dims();
    let mut bytes = vec![0; 8 * shape[0] * shape[1]];
    generator.fill_bytes(&mut bytes);
    let mask: Vec<f32> = bytes.as_chunks().0.iter().map(|&bytes| if u64::from_le_bytes(bytes) < limit { kept } else { 0.0 }).collect();
    let mask = Tensor::<2>::from_data(TensorData::new(mask, shape), (&x.device(), x.dtype()));
    x * mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_draws_as_bernoulli_does() {
        let ones = Tensor::<2>::ones([13, 37], &Device::flex());
        for rate in [0.1, 0.5, 0.9] {
            let mut draws = generator(5, Purpose::Dropout, 0, 0, 0);
            let keep = rand_distr::Bernoulli::new(1.0 - rate).unwrap();
            let kept = (1.0 / (1.0 - rate)) as f32;
            let mut passes = || (0..13 * 37).map(|_| if keep.sample(&mut draws) { kept } else { 0.0 }).collect::<Vec<f32>>();
            let mut generator = generator(5, Purpose::Dropout, 0, 0, 0);
            // Two in a row, of an odd number of values each.
            for _ in 0..2 {
                assert_eq!(dropout(ones.clone(), rate, &mut generator).into_data().try_to_vec::<f32>().unwrap(), passes());
            }
        }
    }
}
