//! A small residual network for small pictures, trained from scratch.
//!
//! Residual blocks as in ResNet (He et al. 2015) behind a stem that keeps the resolution, for pictures of 24 to 64 pixels.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Tensor, activation::relu};
use serde::{Deserialize, Serialize};

use crate::data::pictures::preprocess::Preprocess;
use crate::model::backbones::family::{Family, Features};
use crate::model::layers::{BatchNorm, Conv, Initializer, Mode, Statistics, conv_norm};
use dada_compute::{Activation, ConvOptions};

const EPSILON: f64 = 1e-5;

/// Widths and depths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConvNetConfig {
    /// Channels of the stem.
    pub stem: usize,
    /// Step of the stem: 2 halves the resolution at once, for pictures of 48 pixels and more.
    pub stem_stride: usize,
    /// Channels of each stage; every stage halves the resolution.
    pub channels: Vec<usize>,
    /// Residual blocks in each stage.
    pub blocks: usize,
    /// What batch norm does while training.
    pub statistics: Statistics,
}

impl Default for ConvNetConfig {
    fn default() -> Self {
        Self { stem: 32, stem_stride: 1, channels: vec![64, 128, 256], blocks: 1, statistics: Statistics::Free }
    }
}

/// The network up to its last map.
#[derive(Module, Debug)]
pub struct ConvNet {
    conv1: Conv,
    bn1: BatchNorm,
    layers: Vec<Vec<Block>>,
}

impl Family for ConvNet {
    type Member = ();
    type Keys = ConvNetConfig;

    fn new(_: &(), config: &ConvNetConfig, init: &mut Initializer) -> Self {
        let mut width = config.stem;
        let stem = Conv::new([width, 3], 3, same(config.stem_stride), init);
        let layers = config.channels.iter().map(|&channels| {
            let blocks = (0..config.blocks).map(|index| {
                let block = Block::new([channels, width], if index == 0 { 2 } else { 1 }, config.statistics, init);
                width = channels;
                block
            });
            blocks.collect()
        });
        let layers = layers.collect();
        Self { conv1: stem, bn1: norm(config.stem, config.statistics, init), layers }
    }

    fn features(_: &(), config: &ConvNetConfig) -> usize {
        config.channels.last().copied().unwrap_or(config.stem)
    }

    fn preprocess(_: &()) -> Option<Preprocess> {
        None
    }

    /// The stem and the stages.
    fn stages(&self) -> usize {
        1 + self.layers.len()
    }

    fn forward_stages(&self, x: Features, stages: Range<usize>, mode: Mode) -> Features {
        let mut x = x.only_map();
        for stage in stages {
            if stage == 0 {
                x = conv_norm(x, &self.conv1, &self.bn1, mode, Activation::Relu);
            } else {
                for block in &self.layers[stage - 1] {
                    x = block.forward(x, mode);
                }
            }
        }
        Features::Map(x)
    }
}

/// Two convolutions beside a shortcut.
#[derive(Module, Debug)]
struct Block {
    conv1: Conv,
    bn1: BatchNorm,
    conv2: Conv,
    bn2: BatchNorm,
    shortcut: Option<Shortcut>,
}

/// A 1 × 1 convolution where the shape changes.
#[derive(Module, Debug)]
struct Shortcut {
    conv: Conv,
    bn: BatchNorm,
}

impl Block {
    fn new([outputs, inputs]: [usize; 2], stride: usize, statistics: Statistics, init: &mut Initializer) -> Self {
        Self {
            conv1: Conv::new([outputs, inputs], 3, same(stride), init),
            bn1: norm(outputs, statistics, init),
            conv2: Conv::new([outputs, outputs], 3, same(1), init),
            bn2: norm(outputs, statistics, init),
            shortcut: (stride > 1 || inputs != outputs).then(|| Shortcut {
                conv: Conv::new([outputs, inputs], 1, ConvOptions { stride, ..Default::default() }, init),
                bn: norm(outputs, statistics, init),
            }),
        }
    }

    fn forward(&self, x: Tensor<4>, mode: Mode) -> Tensor<4> {
        let shortcut = match &self.shortcut {
            Some(Shortcut { conv, bn }) => conv_norm(x.clone(), conv, bn, mode, Activation::Identity),
            None => x.clone(),
        };
        let x = conv_norm(x, &self.conv1, &self.bn1, mode, Activation::Relu);
        let x = conv_norm(x, &self.conv2, &self.bn2, mode, Activation::Identity);
        relu(x + shortcut)
    }
}

fn norm(channels: usize, statistics: Statistics, init: &mut Initializer) -> BatchNorm {
    BatchNorm::new(channels, EPSILON, statistics, init)
}

/// A 3 × 3 convolution that keeps the resolution, apart from its stride.
fn same(stride: usize) -> ConvOptions {
    ConvOptions { stride, padding: [1; 4], groups: 1 }
}
