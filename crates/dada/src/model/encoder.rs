//! From pictures to embeddings: backbone, pooling, projection, layer norm.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::backbones::{Backbone, BackboneConfig, Features};
use crate::model::layers::{Initializer, Linear, Mode, layer_norm};
use dada_compute::{global_avg_pool, global_max_pool};

/// How a feature map becomes one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The mean over the map.
    Avg,
    /// The maximum over the map.
    Max,
    /// Their sum, as in the paper.
    #[default]
    AvgMax,
    /// Generalised mean with exponent 3 (Radenović et al. 2018).
    Gem,
    /// The class token of a transformer.
    Cls,
}

/// What the projection starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadInit {
    /// `pca` on pre-trained weights, `random` otherwise.
    #[default]
    Auto,
    /// The principal components of the training pictures' features: the embedding then starts with the geometry of the backbone.
    Pca,
    /// Uniform, as a new layer.
    Random,
}

/// The `[encoder]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EncoderConfig {
    /// Dimensions of an embedding.
    pub dim: usize,
    /// How a feature map becomes one vector.
    pub pooling: Pooling,
    /// Layer norm, without scale and shift, after the projection.
    pub layer_norm: bool,
    /// Pre-trained weights of the backbone: a file, or `hub:owner/name[@revision][:file]`; empty for none.
    pub weights: String,
    /// What the projection starts from.
    pub head_init: HeadInit,
    /// The network.
    pub backbone: BackboneConfig,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self {
            dim: 512,
            pooling: Pooling::AvgMax,
            layer_norm: true,
            weights: String::new(),
            head_init: HeadInit::Auto,
            backbone: BackboneConfig::ConvNet(Default::default()),
        }
    }
}

impl EncoderConfig {
    /// # Errors
    /// For a pooling that the backbone has nothing for, and for embeddings of no dimension.
    pub fn check(&self) -> Result<()> {
        if self.dim == 0 {
            return Err(Error::Config("encoder.dim is 0, expected at least 1".into()));
        }
        if self.starts_from_pca() && self.dim > self.backbone.features() {
            let (name, features) = (self.backbone.name(), self.backbone.features());
            let problem = format!(
                "encoder.dim is {}, but {name} has {features} features and so at most as many principal components; \
                 expected at most {features}, or encoder.head_init = \"random\"",
                self.dim
            );
            return Err(Error::Config(problem));
        }
        if self.pooling == Pooling::Cls && !self.backbone.has_class_token() {
            let name = self.backbone.name();
            return Err(Error::Config(format!("encoder.pooling is cls, but {name} has no class token; expected avg, max, avg-max or gem")));
        }
        Ok(())
    }

    /// Whether the projection starts from principal components.
    pub fn starts_from_pca(&self) -> bool {
        match self.head_init {
            HeadInit::Auto => !self.weights.is_empty(),
            HeadInit::Pca => true,
            HeadInit::Random => false,
        }
    }

    /// An encoder with random weights.
    pub fn init(&self, init: &mut Initializer) -> Encoder {
        let backbone = self.backbone.init(init);
        let projection = Linear::new(self.backbone.features(), self.dim, init);
        Encoder { backbone, projection, pooling: self.pooling, layer_norm: self.layer_norm }
    }
}

/// The trained network; its embeddings are not yet L2-normalised.
#[derive(Module, Debug)]
pub struct Encoder {
    /// Pictures to a map.
    pub backbone: Backbone,
    /// Pooled features to the embedding.
    pub projection: Linear,
    #[module(skip)]
    pooling: Pooling,
    #[module(skip)]
    layer_norm: bool,
}

/// What an encoder is given: pictures, or what a part of it made of them before.
#[derive(Clone, Debug)]
pub enum EncoderInput {
    /// Pictures `[batch, 3, height, width]`, pre-processed.
    Images(Tensor<4>),
    /// What the first `stages` stages of the backbone made.
    Staged {
        /// A map or tokens.
        features: Features,
        /// How many stages it went through.
        stages: usize,
    },
    /// Pooled features `[batch, features]`.
    Pooled(Tensor<2>),
}

/// A place within an encoder: a frozen part ends there, and what it made is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Boundary {
    /// After so many stages of the backbone.
    Stage(usize),
    /// After the pooling.
    Pooled,
}

impl Encoder {
    /// What a batch of pictures `[batch, 3, height, width]` is at a boundary, without learning.
    pub fn up_to(&self, images: Tensor<4>, boundary: Boundary) -> EncoderInput {
        match boundary {
            Boundary::Pooled => EncoderInput::Pooled(self.features(images, Mode::Infer)),
            Boundary::Stage(stages) => {
                let features = self.backbone.forward_stages(Features::Map(images), 0..stages, Mode::Infer);
                EncoderInput::Staged { features, stages }
            }
        }
    }

    /// What is left to do on `input`, up to pooled features `[batch, features]`.
    pub fn pooled(&self, input: EncoderInput, mode: Mode) -> Tensor<2> {
        match input {
            EncoderInput::Images(images) => self.features(images, mode),
            EncoderInput::Staged { features, stages } => {
                self.pool(self.backbone.forward_stages(features, stages..self.backbone.stages(), mode))
            }
            EncoderInput::Pooled(features) => features,
        }
    }

    /// Pictures `[batch, 3, height, width]`, pre-processed, to embeddings `[batch, dim]`.
    pub fn forward(&self, images: Tensor<4>, mode: Mode) -> Tensor<2> {
        self.project(self.features(images, mode))
    }

    /// Pictures `[batch, 3, height, width]`, pre-processed, to pooled features `[batch, features]`.
    pub fn features(&self, images: Tensor<4>, mode: Mode) -> Tensor<2> {
        self.pool(self.backbone.forward(images, mode))
    }

    /// Pooled features `[batch, features]` to embeddings `[batch, dim]`.
    pub fn project(&self, features: Tensor<2>) -> Tensor<2> {
        let x = self.projection.forward(features);
        if self.layer_norm { layer_norm(x) } else { x }
    }

    /// A map or tokens to `[batch, features]`.
    pub fn pool(&self, features: Features) -> Tensor<2> {
        match self.pooling {
            Pooling::Avg => global_avg_pool(features.map()),
            Pooling::Max => global_max_pool(features.map()),
            Pooling::AvgMax => {
                let map = features.map();
                global_avg_pool(map.clone()) + global_max_pool(map)
            }
            Pooling::Gem => global_avg_pool(features.map().clamp_min(1e-6).powi_scalar(3)).powf_scalar(1.0 / 3.0),
            Pooling::Cls => features.class_token().expect("the configuration was checked: only a network with a class token gets here"),
        }
    }
}
