//! Where training starts: a backbone, pre-trained or not, the projection on it, and what both are worth before the first step.

use burn::module::Param;
use burn::tensor::{Tensor, TensorData};

use crate::config::RunConfig;
use crate::embed::values;
use crate::error::Result;
use crate::evaluate::Retrieval;
use crate::model::encoder::Encoder;
use crate::model::layers::{Initializer, Linear};
use crate::model::{preprocess, weights};
use crate::search::pca::Pca;
use crate::train::artifacts::figures;
use crate::train::frozen::FrozenNetwork;
use crate::train::metrics::Figures;
use crate::train::observer::{Event, Observer};
use crate::train::split_data::SplitData;

/// A new encoder, its backbone with the weights that the configuration names.
///
/// # Errors
/// When they cannot be had, do not fit the network, or were trained with another pre-processing than the run's.
pub fn encoder(config: &RunConfig, init: &mut Initializer, observe: Observer) -> Result<Encoder> {
    let mut encoder = config.encoder.init(init);
    config.train.tune.check(&config.encoder.backbone, encoder.backbone.stages())?;
    let source = &config.encoder.weights;
    if source.is_empty() {
        return Ok(encoder);
    }
    let path = weights::locate(source, &mut |_, _| ())?;
    match preprocess::beside(&path)?.or_else(|| config.encoder.backbone.preprocess()) {
        Some(trained) => preprocess::check(&config.preprocess, &trained, &path)?,
        None => observe(Event::Note(format!("{}: nothing says which mean and deviation these weights expect", path.display()))),
    }
    encoder.backbone = weights::load(encoder.backbone, &path)?;
    observe(Event::Note(format!("backbone {} with the weights {}", config.encoder.backbone.name(), path.display())));
    Ok(encoder)
}

/// The encoder with the projection that `encoder.head_init` asks for.
///
/// # Errors
/// When a training picture cannot be read.
pub fn with_head(mut encoder: Encoder, network: &FrozenNetwork, train: &SplitData, observe: Observer) -> Result<Encoder> {
    let config = network.config;
    if !config.encoder.starts_from_pca() {
        return Ok(encoder);
    }
    let (dim, features) = (config.encoder.dim, config.encoder.backbone.features());
    let device = encoder.projection.weight.val().device();
    let rows = train.features(network, observe)?;
    let (weight, bias) = Pca::fit(&rows, features)?.projection(dim);
    encoder.projection = Linear {
        weight: Param::from_tensor(Tensor::from_data(TensorData::new(weight, [dim, features]), &device)),
        bias: Param::from_tensor(Tensor::from_data(TensorData::new(bias, [dim]), &device)),
    };
    Ok(encoder)
}

/// What a part of the data scores before the first step.
pub struct Before {
    /// By the pooled features of a pre-trained backbone, without a projection.
    pub frozen: Option<Retrieval>,
    /// By the encoder.
    pub untrained: Retrieval,
}

impl Before {
    /// Measures `split`, if it has pictures, with `untrained`, whose backbone is that of `network`.
    ///
    /// # Errors
    /// When a picture cannot be read.
    pub fn measure(network: &FrozenNetwork, untrained: &Encoder, split: &SplitData, observe: Observer) -> Result<Option<Self>> {
        if split.is_empty() {
            return Ok(None);
        }
        let features = split.features(network, observe)?;
        let shape = [split.dataset.samples.len(), network.config.encoder.backbone.features()];
        let x = Tensor::from_data(TensorData::new(features.clone(), shape), &network.device);
        let untrained = split.score(&split.embeddings(values(untrained.project(x).into_data()))?)?;
        let is_pretrained = !network.config.encoder.weights.is_empty();
        let frozen = if is_pretrained { Some(split.score(&split.embeddings(features)?)?) } else { None };
        Ok(Some(Self { frozen, untrained }))
    }

    /// Both results in a sentence, for a pre-trained backbone.
    pub fn summary(&self) -> Option<String> {
        let (frozen, head) = (brief(self.frozen.as_ref()?), brief(&self.untrained));
        Some(format!("validation before training: frozen features {frozen}; with the new head {head}"))
    }

    /// Both results as names and values.
    pub fn figures(&self) -> (Option<Figures>, Figures) {
        (self.frozen.as_ref().map(figures), figures(&self.untrained))
    }
}

fn brief(retrieval: &Retrieval) -> String {
    format!("recall@1 {:.4}, map@r {:.4}", retrieval.means.precision_at_1, retrieval.means.map_at_r)
}
