//! EfficientNet-lite 0, 1 and 2: inverted residual blocks with ReLU6 and without squeeze-and-excite.
//!
//! Tan and Le 2019, <https://arxiv.org/abs/1905.11946>; the lite variants are TensorFlow's (`tf_efficientnet_lite*` in timm): "SAME"
//! padding, ε = 1e-3 in batch norm, and a stem and head that do not grow with the network.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::Tensor;

use crate::data::pictures::preprocess::Preprocess;
use crate::model::backbones::family::{Family, Features, NormKeys};
use crate::model::layers::{BatchNorm, Conv, Initializer, Mode, Statistics, conv_norm};
use crate::model::preprocess;
use dada_compute::{Activation, ConvOptions};

/// Channels of the last map.
const FEATURES: usize = 1280;

const STEM: usize = 32;
const EPSILON: f64 = 1e-3;

/// How a network differs from the first of the family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lite {
    /// How many times as many channels.
    pub wider: f64,
    /// How many times as many blocks.
    pub deeper: f64,
    /// Side of the pictures that the usual weights were trained with, in pixels.
    pub trained_at: u32,
}

/// A group of blocks: the first one changes resolution and width.
struct Group {
    blocks: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels: usize,
}

const GROUPS: [Group; 7] = [
    Group { blocks: 1, kernel: 3, stride: 1, expansion: 1, channels: 16 },
    Group { blocks: 2, kernel: 3, stride: 2, expansion: 6, channels: 24 },
    Group { blocks: 2, kernel: 5, stride: 2, expansion: 6, channels: 40 },
    Group { blocks: 3, kernel: 3, stride: 2, expansion: 6, channels: 80 },
    Group { blocks: 3, kernel: 5, stride: 1, expansion: 6, channels: 112 },
    Group { blocks: 4, kernel: 5, stride: 2, expansion: 6, channels: 192 },
    Group { blocks: 1, kernel: 3, stride: 1, expansion: 6, channels: 320 },
];

/// The network up to its last map.
#[derive(Module, Debug)]
pub struct EfficientNet {
    conv_stem: Conv,
    bn1: BatchNorm,
    blocks: Vec<Vec<Block>>,
    conv_head: Conv,
    bn2: BatchNorm,
}

impl Family for EfficientNet {
    type Member = Lite;
    type Keys = NormKeys;

    fn new(&Lite { wider, deeper, .. }: &Lite, &NormKeys { statistics }: &NormKeys, init: &mut Initializer) -> Self {
        let conv_stem = Conv::same([STEM, 3], 3, ConvOptions { stride: 2, ..ConvOptions::default() }, init);
        let bn1 = norm(STEM, statistics, init);
        let mut inputs = STEM;
        let mut blocks = Vec::with_capacity(GROUPS.len());
        for (index, group) in GROUPS.iter().enumerate() {
            let fixed = index == 0 || index == GROUPS.len() - 1;
            let count = if fixed { group.blocks } else { (group.blocks as f64 * deeper).ceil() as usize };
            let outputs = round_channels(group.channels as f64 * wider);
            let mut group_blocks = Vec::with_capacity(count);
            for place in 0..count {
                let stride = if place == 0 { group.stride } else { 1 };
                group_blocks.push(match group.expansion {
                    1 => Block::Separable(Separable::new([outputs, inputs], group.kernel, stride, statistics, init)),
                    times => Block::Inverted(Inverted::new([outputs, inputs], times, group.kernel, stride, statistics, init)),
                });
                inputs = outputs;
            }
            blocks.push(group_blocks);
        }
        let conv_head = Conv::new([FEATURES, inputs], 1, ConvOptions::default(), init);
        let bn2 = norm(FEATURES, statistics, init);
        Self { conv_stem, bn1, blocks, conv_head, bn2 }
    }

    fn features(_: &Lite, _: &NormKeys) -> usize {
        FEATURES
    }

    fn preprocess(lite: &Lite) -> Option<Preprocess> {
        Some(preprocess::usual(lite.trained_at, preprocess::LITE))
    }

    /// The stem, seven groups of blocks and the last convolution.
    fn stages(&self) -> usize {
        self.blocks.len() + 2
    }

    /// `[batch, 3, height, width]` to `[batch, 1280, ⌈height / 32⌉, ⌈width / 32⌉]` when all stages are run; a part of them takes and
    /// returns the maps in between.
    fn forward_stages(&self, x: Features, stages: Range<usize>, mode: Mode) -> Features {
        let mut x = x.only_map();
        for stage in stages {
            if stage == 0 {
                x = conv_norm(x, &self.conv_stem, &self.bn1, mode, Activation::Relu6);
            } else if stage <= self.blocks.len() {
                for block in &self.blocks[stage - 1] {
                    x = block.forward(x, mode);
                }
            } else {
                x = conv_norm(x, &self.conv_head, &self.bn2, mode, Activation::Relu6);
            }
        }
        Features::Map(x)
    }
}

/// To a multiple of eight, never more than a tenth below.
fn round_channels(channels: f64) -> usize {
    let nearest = ((channels + 4.0) / 8.0).floor() * 8.0;
    let rounded = if nearest < 0.9 * channels { nearest + 8.0 } else { nearest };
    rounded as usize
}

/// Adds the input to a block's output wherever the two have one shape.
fn residual(x: Tensor<4>, y: Tensor<4>) -> Tensor<4> {
    if x.dims() == y.dims() { x + y } else { y }
}

fn norm(channels: usize, statistics: Statistics, init: &mut Initializer) -> BatchNorm {
    BatchNorm::new(channels, EPSILON, statistics, init)
}

fn depthwise(channels: usize, kernel: usize, stride: usize, init: &mut Initializer) -> Conv {
    Conv::same([channels; 2], kernel, ConvOptions { stride, groups: channels, ..ConvOptions::default() }, init)
}

fn pointwise(channels: [usize; 2], init: &mut Initializer) -> Conv {
    Conv::new(channels, 1, ConvOptions::default(), init)
}

#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "a network has about twenty of them")]
enum Block {
    Separable(Separable),
    Inverted(Inverted),
}

impl Block {
    fn forward(&self, x: Tensor<4>, mode: Mode) -> Tensor<4> {
        match self {
            Self::Separable(block) => block.forward(x, mode),
            Self::Inverted(block) => block.forward(x, mode),
        }
    }
}

/// Each channel by itself, then a mixture of channels.
#[derive(Module, Debug)]
struct Separable {
    conv_dw: Conv,
    bn1: BatchNorm,
    conv_pw: Conv,
    bn2: BatchNorm,
}

impl Separable {
    fn new([outputs, inputs]: [usize; 2], kernel: usize, stride: usize, statistics: Statistics, init: &mut Initializer) -> Self {
        Self {
            conv_dw: depthwise(inputs, kernel, stride, init),
            bn1: norm(inputs, statistics, init),
            conv_pw: pointwise([outputs, inputs], init),
            bn2: norm(outputs, statistics, init),
        }
    }

    fn forward(&self, x: Tensor<4>, mode: Mode) -> Tensor<4> {
        let y = conv_norm(x.clone(), &self.conv_dw, &self.bn1, mode, Activation::Relu6);
        residual(x, conv_norm(y, &self.conv_pw, &self.bn2, mode, Activation::Identity))
    }
}

/// A wider mixture of channels, each channel by itself, and a narrow mixture again.
#[derive(Module, Debug)]
struct Inverted {
    conv_pw: Conv,
    bn1: BatchNorm,
    conv_dw: Conv,
    bn2: BatchNorm,
    conv_pwl: Conv,
    bn3: BatchNorm,
}

impl Inverted {
    fn new(
        [outputs, inputs]: [usize; 2],
        expansion: usize,
        kernel: usize,
        stride: usize,
        statistics: Statistics,
        init: &mut Initializer,
    ) -> Self {
        let wide = round_channels((inputs * expansion) as f64);
        Self {
            conv_pw: pointwise([wide, inputs], init),
            bn1: norm(wide, statistics, init),
            conv_dw: depthwise(wide, kernel, stride, init),
            bn2: norm(wide, statistics, init),
            conv_pwl: pointwise([outputs, wide], init),
            bn3: norm(outputs, statistics, init),
        }
    }

    fn forward(&self, x: Tensor<4>, mode: Mode) -> Tensor<4> {
        let y = conv_norm(x.clone(), &self.conv_pw, &self.bn1, mode, Activation::Relu6);
        let y = conv_norm(y, &self.conv_dw, &self.bn2, mode, Activation::Relu6);
        residual(x, conv_norm(y, &self.conv_pwl, &self.bn3, mode, Activation::Identity))
    }
}
