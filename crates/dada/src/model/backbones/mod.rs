//! Networks that turn pictures into feature maps or tokens, with the names and numerics of timm.

mod family;
#[macro_use]
mod list;

use std::ops::Range;

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

pub use family::{Family, Features, NoKeys, NormKeys};

use crate::data::pictures::preprocess::Preprocess;
use crate::error::{Error, Result};
use crate::model::layers::{Initializer, Mode};

// The list of backbones: the `match` arms, the names that an error offers and the tests come from it.
backbones! {
    convnet::ConvNet {
        ConvNet = "convnet": (),
    }
    efficientnet::EfficientNet {
        TfEfficientnetLite0 = "tf_efficientnet_lite0": efficientnet::Lite { wider: 1.0, deeper: 1.0, trained_at: 224 },
        TfEfficientnetLite1 = "tf_efficientnet_lite1": efficientnet::Lite { wider: 1.0, deeper: 1.1, trained_at: 240 },
        TfEfficientnetLite2 = "tf_efficientnet_lite2": efficientnet::Lite { wider: 1.1, deeper: 1.2, trained_at: 260 },
    }
    resnet::ResNet {
        Resnet18 = "resnet18": resnet::Depth { blocks: [2, 2, 2, 2], expansion: 1 },
        Resnet34 = "resnet34": resnet::Depth { blocks: [3, 4, 6, 3], expansion: 1 },
        Resnet50 = "resnet50": resnet::Depth { blocks: [3, 4, 6, 3], expansion: 4 },
    }
    vit::Vit {
        VitSmallPatch16 = "vit_small_patch16_224": (),
    }
}

impl BackboneConfig {
    /// # Errors
    /// When the network cannot look at pictures of `size` × `size` pixels.
    pub fn check_size(&self, size: usize) -> Result<()> {
        match self.only_size() {
            Some(only) if only != size => {
                Err(Error::Config(format!("backbone {} sees {only} × {only} pixels, found image size {size}", self.name())))
            }
            _ => Ok(()),
        }
    }
}

impl Backbone {
    /// `[batch, 3, height, width]`, pre-processed, to a map or tokens.
    pub fn forward(&self, images: Tensor<4>, mode: Mode) -> Features {
        self.forward_stages(Features::Map(images), 0..self.stages(), mode)
    }
}

#[cfg(test)]
mod tests;
