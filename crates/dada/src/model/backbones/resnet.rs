//! ResNet-18, 34 and 50.
//!
//! He et al. 2015, <https://arxiv.org/abs/1512.03385>; as in torchvision and timm ("V1.5") it is the 3 × 3 convolution of a bottleneck
//! that halves the resolution. ResNet-50's "V2" weights (a longer recipe with label smoothing and mixing) classify better and are much
//! worse for similarity than the "V1" ones.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::Tensor;

use crate::data::pictures::preprocess::Preprocess;
use crate::model::backbones::family::{Family, Features, NormKeys};
use crate::model::layers::{BatchNorm, Conv, Initializer, Mode, Statistics, conv_norm};
use crate::model::preprocess;
use dada_compute::{Activation, ConvOptions, max_pool2d};

const STEM: usize = 64;
const EPSILON: f64 = 1e-5;

/// What tells the networks apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Blocks of each layer.
    pub blocks: [usize; 4],
    /// Channels of a block's output for each of its inner ones: 1 for basic blocks, 4 for bottlenecks.
    pub expansion: usize,
}

/// The network up to its last map.
#[derive(Module, Debug)]
pub struct ResNet {
    conv1: Conv,
    bn1: BatchNorm,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
}

impl Family for ResNet {
    type Member = Depth;
    type Keys = NormKeys;

    fn new(depth: &Depth, &NormKeys { statistics }: &NormKeys, init: &mut Initializer) -> Self {
        let conv1 = conv([STEM, 3], 7, 2, init);
        let bn1 = norm(STEM, statistics, init);
        let mut inputs = STEM;
        let [layer1, layer2, layer3, layer4] = std::array::from_fn(|index| {
            let inner = STEM << index;
            (0..depth.blocks[index])
                .map(|place| {
                    let stride = if place == 0 && index > 0 { 2 } else { 1 };
                    let shape = BlockShape { inputs, inner, outputs: inner * depth.expansion, stride };
                    inputs = shape.outputs;
                    Block::new(&shape, statistics, init)
                })
                .collect()
        });
        Self { conv1, bn1, layer1, layer2, layer3, layer4 }
    }

    fn features(depth: &Depth, _: &NormKeys) -> usize {
        512 * depth.expansion
    }

    fn preprocess(_: &Depth) -> Option<Preprocess> {
        Some(preprocess::usual(224, preprocess::IMAGENET))
    }

    /// The stem and four layers.
    fn stages(&self) -> usize {
        5
    }

    /// `[batch, 3, height, width]` to `[batch, 512 or 2048, ⌈height / 32⌉, ⌈width / 32⌉]` when all stages are run; a part of them takes
    /// and returns the maps in between.
    fn forward_stages(&self, x: Features, stages: Range<usize>, mode: Mode) -> Features {
        let layers = [&self.layer1, &self.layer2, &self.layer3, &self.layer4];
        let mut x = x.only_map();
        for stage in stages {
            if stage == 0 {
                x = max_pool2d(conv_norm(x, &self.conv1, &self.bn1, mode, Activation::Relu), 3, 2, [1; 4]);
            } else {
                for block in layers[stage - 1] {
                    x = block.forward(x, mode);
                }
            }
        }
        Features::Map(x)
    }
}

fn conv(channels: [usize; 2], kernel: usize, stride: usize, init: &mut Initializer) -> Conv {
    Conv::new(channels, kernel, ConvOptions { stride, padding: [kernel / 2; 4], groups: 1 }, init)
}

fn norm(channels: usize, statistics: Statistics, init: &mut Initializer) -> BatchNorm {
    BatchNorm::new(channels, EPSILON, statistics, init)
}

struct BlockShape {
    inputs: usize,
    inner: usize,
    outputs: usize,
    stride: usize,
}

/// A basic block (two 3 × 3 convolutions), or a bottleneck (1 × 1, 3 × 3, 1 × 1), which is one with a third convolution.
#[derive(Module, Debug)]
struct Block {
    conv1: Conv,
    bn1: BatchNorm,
    conv2: Conv,
    bn2: BatchNorm,
    conv3: Option<Conv>,
    bn3: Option<BatchNorm>,
    downsample: Option<(Conv, BatchNorm)>,
}

impl Block {
    fn new(shape: &BlockShape, statistics: Statistics, init: &mut Initializer) -> Self {
        let &BlockShape { inputs, inner, outputs, stride } = shape;
        let bottleneck = inner != outputs;
        Self {
            conv1: if bottleneck { conv([inner, inputs], 1, 1, init) } else { conv([inner, inputs], 3, stride, init) },
            bn1: norm(inner, statistics, init),
            conv2: conv([inner, inner], 3, if bottleneck { stride } else { 1 }, init),
            bn2: norm(inner, statistics, init),
            conv3: bottleneck.then(|| conv([outputs, inner], 1, 1, init)),
            bn3: bottleneck.then(|| norm(outputs, statistics, init)),
            downsample: (stride != 1 || inputs != outputs)
                .then(|| (conv([outputs, inputs], 1, stride, init), norm(outputs, statistics, init))),
        }
    }

    fn forward(&self, x: Tensor<4>, mode: Mode) -> Tensor<4> {
        let mut y = conv_norm(x.clone(), &self.conv1, &self.bn1, mode, Activation::Relu);
        y = match (&self.conv3, &self.bn3) {
            (Some(conv3), Some(bn3)) => {
                y = conv_norm(y, &self.conv2, &self.bn2, mode, Activation::Relu);
                conv_norm(y, conv3, bn3, mode, Activation::Identity)
            }
            _ => conv_norm(y, &self.conv2, &self.bn2, mode, Activation::Identity),
        };
        let shortcut = match &self.downsample {
            Some((conv, norm)) => conv_norm(x, conv, norm, mode, Activation::Identity),
            None => x,
        };
        burn::tensor::activation::relu(y + shortcut)
    }
}
