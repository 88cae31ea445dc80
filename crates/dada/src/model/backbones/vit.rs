//! ViT-S/16 on 224 × 224 pictures.
//!
//! Dosovitskiy et al. 2020, <https://arxiv.org/abs/2010.11929>; width 384, twelve blocks of six heads, as timm's
//! `vit_small_patch16_224` (DINO and ImageNet-21k weights have the same shape).

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, softmax};

use crate::data::pictures::preprocess::Preprocess;
use crate::model::backbones::family::{Family, Features, NoKeys};
use crate::model::layers::{Initializer, Linear, Mode};
use dada_compute::{ConvOptions, conv2d};

/// Width of a token.
const FEATURES: usize = 384;
/// Height and width of a picture.
const SIZE: usize = 224;

const PATCH: usize = 16;
const PATCHES: usize = (SIZE / PATCH) * (SIZE / PATCH);
const BLOCKS: usize = 12;
const HEADS: usize = 6;

/// The network up to its normalised tokens.
#[derive(Module, Debug)]
pub struct Vit {
    cls_token: Param<Tensor<3>>,
    pos_embed: Param<Tensor<3>>,
    patch_embed: PatchEmbed,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

impl Family for Vit {
    type Member = ();
    type Keys = NoKeys;

    const CLASS_TOKEN: bool = true;
    const ONLY_SIZE: Option<usize> = Some(SIZE);

    fn new(_: &(), _: &NoKeys, init: &mut Initializer) -> Self {
        Self {
            cls_token: init.normal([1, 1, FEATURES], 1e-6),
            pos_embed: init.normal([1, PATCHES + 1, FEATURES], 0.02),
            patch_embed: PatchEmbed { proj: PatchProjection::new(init) },
            blocks: (0..BLOCKS).map(|_| Block::new(init)).collect(),
            norm: LayerNorm::new(init),
        }
    }

    fn features(_: &(), _: &NoKeys) -> usize {
        FEATURES
    }

    /// ImageNet-21k's weights want [`HALVES`](crate::model::preprocess::HALVES), DINO's [`IMAGENET`](crate::model::preprocess::IMAGENET).
    fn preprocess(_: &()) -> Option<Preprocess> {
        None
    }

    /// The patch embedding and twelve blocks.
    fn stages(&self) -> usize {
        BLOCKS + 1
    }

    fn forward_stages(&self, x: Features, stages: Range<usize>, _: Mode) -> Features {
        match x {
            Features::Map(images) if stages.is_empty() => Features::Map(images),
            Features::Map(images) => Features::Tokens(self.forward_blocks(self.embed(images), 1..stages.end)),
            Features::Tokens(tokens) => Features::Tokens(self.forward_blocks(tokens, stages)),
        }
    }
}

impl Vit {
    /// The first stage: `[batch, 3, 224, 224]` to `[batch, 1 + 196, 384]`, the class token first.
    fn embed(&self, images: Tensor<4>) -> Tensor<3> {
        let batch = images.dims()[0];
        let patches = self.patch_embed.proj.forward(images);
        let class = self.cls_token.val().expand([batch, 1, FEATURES]);
        Tensor::cat(vec![class, patches], 1) + self.pos_embed.val()
    }

    /// Later stages, from one on: the blocks, and the normalisation with the last of them. `[batch, tokens, 384]` in and out.
    fn forward_blocks(&self, tokens: Tensor<3>, stages: Range<usize>) -> Tensor<3> {
        let mut x = tokens;
        for stage in stages {
            x = self.blocks[stage - 1].forward(x);
            if stage == BLOCKS {
                x = self.norm.forward(x);
            }
        }
        x
    }
}

#[derive(Module, Debug)]
struct PatchEmbed {
    proj: PatchProjection,
}

#[derive(Module, Debug)]
struct PatchProjection {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
}

impl PatchProjection {
    fn new(init: &mut Initializer) -> Self {
        let bound = 1.0 / ((3 * PATCH * PATCH) as f64).sqrt();
        Self { weight: init.uniform([FEATURES, 3, PATCH, PATCH], bound), bias: init.uniform([FEATURES], bound) }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<3> {
        let options = ConvOptions { stride: PATCH, ..ConvOptions::default() };
        conv2d(images, self.weight.val(), Some(self.bias.val()), options).flatten::<3>(2, 3).swap_dims(1, 2)
    }
}

#[derive(Module, Debug)]
struct LayerNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
}

impl LayerNorm {
    fn new(init: &mut Initializer) -> Self {
        Self { weight: init.constant([FEATURES], 1.0), bias: init.constant([FEATURES], 0.0) }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let centred = x.clone() - x.mean_dim(2);
        let variance = centred.clone().square().mean_dim(2);
        centred / (variance + 1e-6).sqrt() * self.weight.val().unsqueeze() + self.bias.val().unsqueeze()
    }
}

#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
}

impl Block {
    fn new(init: &mut Initializer) -> Self {
        Self {
            norm1: LayerNorm::new(init),
            attn: Attention { qkv: Linear::new(FEATURES, 3 * FEATURES, init), proj: Linear::new(FEATURES, FEATURES, init) },
            norm2: LayerNorm::new(init),
            mlp: Mlp { fc1: Linear::new(FEATURES, 4 * FEATURES, init), fc2: Linear::new(4 * FEATURES, FEATURES, init) },
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = x.clone() + self.attn.forward(self.norm1.forward(x));
        x.clone() + self.mlp.forward(self.norm2.forward(x))
    }
}

#[derive(Module, Debug)]
struct Attention {
    qkv: Linear,
    proj: Linear,
}

impl Attention {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, tokens, width] = x.dims();
        let head = width / HEADS;
        let qkv = self.qkv.forward(x.reshape([batch * tokens, width])).reshape([batch, tokens, 3, HEADS, head]);
        let part = |index: usize| -> Tensor<4> {
            qkv.clone().slice([0..batch, 0..tokens, index..index + 1, 0..HEADS, 0..head]).squeeze_dim::<4>(2).swap_dims(1, 2)
        };
        let (queries, keys, values) = (part(0), part(1), part(2));
        let scores = queries.matmul(keys.transpose()) * (1.0 / (head as f64).sqrt());
        let mixed = softmax(scores, 3).matmul(values);
        self.proj.forward(mixed.swap_dims(1, 2).reshape([batch * tokens, width])).reshape([batch, tokens, width])
    }
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, tokens, width] = x.dims();
        self.fc2.forward(gelu(self.fc1.forward(x.reshape([batch * tokens, width])))).reshape([batch, tokens, width])
    }
}
