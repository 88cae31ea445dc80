//! What a file has to provide to be a backbone in the list.

use std::ops::Range;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::data::pictures::preprocess::Preprocess;
use crate::model::layers::{Initializer, Mode, Statistics};

/// Networks of one structure that differ in size, such as the ResNets.
pub trait Family: Sized {
    /// What tells one member from another, as the list states it.
    type Member;
    /// The keys of `[encoder.backbone]` beside the name.
    type Keys: Default;

    /// Whether the networks make tokens, the first of which stands for the whole picture.
    const CLASS_TOKEN: bool = false;

    /// The only picture size that the networks see, if there is but one: a ViT has a position for each patch of its own size only.
    const ONLY_SIZE: Option<usize> = None;

    /// A network with random weights.
    fn new(member: &Self::Member, keys: &Self::Keys, init: &mut Initializer) -> Self;

    /// Channels of the last map, or the width of a token.
    fn features(member: &Self::Member, keys: &Self::Keys) -> usize;

    /// What the usual weights of a network expect; nothing where there are none, or several that differ.
    fn preprocess(member: &Self::Member) -> Option<Preprocess>;

    /// Into how many consecutive parts the network can be divided; the first is its stem.
    fn stages(&self) -> usize;

    /// A part of the network, on what the stages before it made.
    fn forward_stages(&self, x: Features, stages: Range<usize>, mode: Mode) -> Features;
}

/// The keys of a network with batch norm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NormKeys {
    /// What batch norm does while training.
    pub statistics: Statistics,
}

/// The keys of a network that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoKeys {}

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

    /// The map that every stage of a convolutional network makes.
    pub(super) fn only_map(self) -> Tensor<4> {
        match self {
            Self::Map(map) => map,
            Self::Tokens(_) => unreachable!("a convolutional network makes no tokens"),
        }
    }
}
