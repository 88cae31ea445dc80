//! Networks that turn pictures into feature maps or tokens, with the names and numerics of timm.

pub mod convnet;
pub mod efficientnet;
pub mod resnet;
pub mod vit;

use std::ops::Range;

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::data::pictures::preprocess::Preprocess;
use crate::error::{Error, Result};
use crate::model::layers::{Initializer, Mode, Statistics};
use crate::model::preprocess;
use convnet::{ConvNet, ConvNetConfig};
use efficientnet::{EfficientNet, Lite};
use resnet::{Depth, ResNet};
use vit::Vit;

/// The list of backbones, by timm's names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum BackboneConfig {
    /// A small network of our own, trained from scratch on small pictures
    #[serde(rename = "convnet")]
    ConvNet(ConvNetConfig),
    /// EfficientNet-lite0: the one for a laptop.
    TfEfficientnetLite0 {
        /// What batch norm does while training.
        #[serde(default)]
        statistics: Statistics,
    },
    /// EfficientNet-lite1
    TfEfficientnetLite1 {
        /// What batch norm does while training.
        #[serde(default)]
        statistics: Statistics,
    },
    /// EfficientNet-lite2
    TfEfficientnetLite2 {
        /// What batch norm does while training.
        #[serde(default)]
        statistics: Statistics,
    },
    /// ResNet-18
    Resnet18 {
        /// What batch norm does while training.
        #[serde(default)]
        statistics: Statistics,
    },
    /// ResNet-34
    Resnet34 {
        /// What batch norm does while training.
        #[serde(default)]
        statistics: Statistics,
    },
    /// ResNet-50
    Resnet50 {
        /// What batch norm does while training.
        #[serde(default)]
        statistics: Statistics,
    },
    /// ViT-S/16, which has no batch norm
    #[serde(rename = "vit_small_patch16_224")]
    VitSmallPatch16 {},
}

impl BackboneConfig {
    /// The name in the configuration, which is timm's.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ConvNet(_) => "convnet",
            Self::TfEfficientnetLite0 { .. } => "tf_efficientnet_lite0",
            Self::TfEfficientnetLite1 { .. } => "tf_efficientnet_lite1",
            Self::TfEfficientnetLite2 { .. } => "tf_efficientnet_lite2",
            Self::Resnet18 { .. } => "resnet18",
            Self::Resnet34 { .. } => "resnet34",
            Self::Resnet50 { .. } => "resnet50",
            Self::VitSmallPatch16 {} => "vit_small_patch16_224",
        }
    }

    /// A network with random weights.
    pub fn init(&self, init: &mut Initializer) -> Backbone {
        match *self {
            Self::ConvNet(ref config) => Backbone::ConvNet(ConvNet::new(config, init)),
            Self::TfEfficientnetLite0 { statistics } => Backbone::EfficientNet(EfficientNet::new(Lite::Lite0, statistics, init)),
            Self::TfEfficientnetLite1 { statistics } => Backbone::EfficientNet(EfficientNet::new(Lite::Lite1, statistics, init)),
            Self::TfEfficientnetLite2 { statistics } => Backbone::EfficientNet(EfficientNet::new(Lite::Lite2, statistics, init)),
            Self::Resnet18 { statistics } => Backbone::ResNet(ResNet::new(Depth::Resnet18, statistics, init)),
            Self::Resnet34 { statistics } => Backbone::ResNet(ResNet::new(Depth::Resnet34, statistics, init)),
            Self::Resnet50 { statistics } => Backbone::ResNet(ResNet::new(Depth::Resnet50, statistics, init)),
            Self::VitSmallPatch16 {} => Backbone::Vit(Vit::new(init)),
        }
    }

    /// Channels of the last map, or the width of a token.
    pub fn features(&self) -> usize {
        match self {
            Self::ConvNet(config) => config.channels.last().copied().unwrap_or(config.stem),
            Self::TfEfficientnetLite0 { .. } | Self::TfEfficientnetLite1 { .. } | Self::TfEfficientnetLite2 { .. } => {
                efficientnet::FEATURES
            }
            Self::Resnet18 { .. } => Depth::Resnet18.features(),
            Self::Resnet34 { .. } => Depth::Resnet34.features(),
            Self::Resnet50 { .. } => Depth::Resnet50.features(),
            Self::VitSmallPatch16 {} => vit::FEATURES,
        }
    }

    /// What the usual weights of this network expect; nothing where there are none, or several that differ (ViT-S: ImageNet-21k's want
    /// [`preprocess::HALVES`], DINO's [`preprocess::IMAGENET`]).
    pub fn preprocess(&self) -> Option<Preprocess> {
        match self {
            Self::ConvNet(_) | Self::VitSmallPatch16 {} => None,
            Self::TfEfficientnetLite0 { .. } => Some(preprocess::usual(224, preprocess::LITE)),
            Self::TfEfficientnetLite1 { .. } => Some(preprocess::usual(240, preprocess::LITE)),
            Self::TfEfficientnetLite2 { .. } => Some(preprocess::usual(260, preprocess::LITE)),
            Self::Resnet18 { .. } | Self::Resnet34 { .. } | Self::Resnet50 { .. } => Some(preprocess::usual(224, preprocess::IMAGENET)),
        }
    }

    /// # Errors
    /// When the network cannot look at pictures of `size` × `size` pixels: a ViT has a position for each patch of its own size only.
    pub fn check_size(&self, size: usize) -> Result<()> {
        match self {
            Self::VitSmallPatch16 {} if size != vit::SIZE => {
                Err(Error::Config(format!("backbone {} sees {1} × {1} pixels, found image size {size}", self.name(), vit::SIZE)))
            }
            _ => Ok(()),
        }
    }
}

/// What a backbone makes of pictures.
#[derive(Clone, Debug)]
pub enum Features {
    /// `[batch, channels, height, width]`; pictures, too, are a map.
    Map(Tensor<4>),
    /// `[batch, 1 + patches, width]`, the class token first.
    Tokens(Tensor<3>),
}

impl Features {
    /// A map to pool over: `[batch, channels, height, width]`, or `[batch, width, patches, 1]` without the class token.
    pub fn map(self) -> Tensor<4> {
        match self {
            Self::Map(map) => map,
            Self::Tokens(tokens) => {
                let count = tokens.dims()[1];
                tokens.narrow(1, 1, count - 1).swap_dims(1, 2).unsqueeze_dim(3)
            }
        }
    }

    /// The class token, `[batch, width]`, of a network that has one.
    pub fn class_token(self) -> Option<Tensor<2>> {
        match self {
            Self::Map(_) => None,
            Self::Tokens(tokens) => Some(tokens.narrow(1, 0, 1).squeeze_dim(1)),
        }
    }
}

/// A network; which one does not show in the paths of its parameters.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of them")]
pub enum Backbone {
    /// Small residual network
    ConvNet(ConvNet),
    /// Inverted residuals
    EfficientNet(EfficientNet),
    /// Residual network
    ResNet(ResNet),
    /// Vision transformer
    Vit(Vit),
}

impl Backbone {
    /// `[batch, 3, height, width]`, pre-processed, to a map or tokens.
    pub fn forward(&self, images: Tensor<4>, mode: Mode) -> Features {
        self.forward_stages(Features::Map(images), 0..self.stages(), mode)
    }

    /// Into how many consecutive parts the network can be divided; the first is its stem.
    pub fn stages(&self) -> usize {
        match self {
            Self::ConvNet(network) => network.stages(),
            Self::EfficientNet(network) => network.stages(),
            Self::ResNet(network) => network.stages(),
            Self::Vit(network) => network.stages(),
        }
    }

    /// A part of the network, on what the stages before it made: `0..n` of pictures, then `n..stages()` of the result, is `forward`.
    /// A frozen prefix is run once, in [`Mode::Infer`], and kept.
    pub fn forward_stages(&self, x: Features, stages: Range<usize>, mode: Mode) -> Features {
        match (self, x) {
            (Self::ConvNet(network), Features::Map(x)) => Features::Map(network.forward_stages(x, stages, mode)),
            (Self::EfficientNet(network), Features::Map(x)) => Features::Map(network.forward_stages(x, stages, mode)),
            (Self::ResNet(network), Features::Map(x)) => Features::Map(network.forward_stages(x, stages, mode)),
            (Self::Vit(_), Features::Map(x)) if stages.is_empty() => Features::Map(x),
            (Self::Vit(network), Features::Map(x)) => Features::Tokens(network.forward_blocks(network.embed(x), 1..stages.end)),
            (Self::Vit(network), Features::Tokens(x)) => Features::Tokens(network.forward_blocks(x, stages)),
            (_, Features::Tokens(_)) => unreachable!("a convolutional network makes no tokens"),
        }
    }
}

#[cfg(test)]
mod tests;
