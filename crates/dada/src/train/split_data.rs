//! One part of the data, as pictures or as what a frozen part of the network made of them.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use crate::config::RunConfig;
use crate::data::Dataset;
use crate::data::loader::{Request, View};
use crate::embed::{BATCH, Embedder, Output, values};
use crate::embeddings::Embeddings;
use crate::error::Result;
use crate::evaluate::{Retrieval, query_gallery, self_retrieval};
use crate::model::encoder::{Boundary, Encoder, EncoderInput};
use crate::model::layers::Mode;
use crate::progress::SILENT;
use crate::roles::Roles;
use crate::train::feature_cache::FeatureCache;
use crate::train::frozen::FrozenNetwork;
use crate::train::metrics::KS;
use crate::train::observer::Observer;

/// One part of the data, with what a frozen part of the network made of it where there is one.
#[derive(Clone)]
pub struct SplitData {
    /// The pictures.
    pub dataset: Arc<Dataset>,
    /// Which ask and which answer, where the data say so.
    pub roles: Option<Roles>,
    cache: Option<FeatureCache>,
}

impl SplitData {
    /// A part of the data, gone through the frozen part of the network with `views` augmented views of each picture.
    ///
    /// # Errors
    /// When a picture cannot be read.
    pub fn new(network: &FrozenNetwork, dataset: Dataset, roles: Option<Roles>, views: usize, observe: Observer) -> Result<Self> {
        let cache = match network.boundary {
            Some(boundary) if !dataset.samples.is_empty() => FeatureCache::of(network, boundary, &dataset, views, observe)?,
            _ => None,
        };
        Ok(Self { dataset: Arc::new(dataset), roles, cache })
    }

    /// Whether there are no pictures.
    pub fn is_empty(&self) -> bool {
        self.dataset.samples.is_empty()
    }

    /// What is kept of the pictures, if anything is.
    pub fn cache(&self) -> Option<&FeatureCache> {
        self.cache.as_ref()
    }

    /// Pooled features of the network as training starts from it, `[pictures, features]`: of the test view of every picture, row after row.
    ///
    /// # Errors
    /// When a picture cannot be read.
    pub fn features(&self, network: &FrozenNetwork, observe: Observer) -> Result<Vec<f32>> {
        let FrozenNetwork { encoder, config, device, .. } = network;
        let is_pretrained = !config.encoder.weights.is_empty();
        let cache = if self.cache.is_none() && is_pretrained {
            FeatureCache::of(network, Boundary::Pooled, &self.dataset, 0, observe)?
        } else {
            self.cache.clone()
        };
        let split = Self { cache, ..self.clone() };
        split.test_views(&self.all(), Output::Boundary(Boundary::Pooled), encoder, config, device)
    }

    /// Embeddings, L2-normalised, of the test view of every picture in order, by an `encoder` without autodiff whose frozen part is the kept one.
    ///
    /// # Errors
    /// When a picture cannot be read, and for an embedding that is not finite or has no direction.
    pub fn embed(&self, encoder: &Encoder, config: &RunConfig, device: &Device) -> Result<Embeddings> {
        self.embeddings(self.embed_some(&self.all(), encoder, config, device)?)
    }

    /// What the encoder makes of the test view of these pictures, `[pictures, dim]`, row after row, as it comes from the projection.
    ///
    /// # Errors
    /// When a picture cannot be read.
    pub fn embed_some(&self, pictures: &[usize], encoder: &Encoder, config: &RunConfig, device: &Device) -> Result<Vec<f32>> {
        self.test_views(pictures, Output::Embedding, encoder, config, device)
    }

    /// Rows of any dimension, one for each picture, L2-normalised.
    ///
    /// # Errors
    /// When one is not finite or has no direction.
    pub fn embeddings(&self, values: Vec<f32>) -> Result<Embeddings> {
        let rows = self.dataset.samples.len();
        let dim = values.len() / rows.max(1);
        Embeddings::new(values, rows, dim)
    }

    /// How well embeddings of this part retrieve pictures of the same class.
    ///
    /// # Errors
    /// When no picture has another of its class to find.
    pub fn score(&self, embeddings: &Embeddings) -> Result<Retrieval> {
        let labels = self.dataset.labels();
        let Some(roles) = &self.roles else { return self_retrieval(embeddings, &labels, &KS, SILENT) };
        let pick = |rows: &[usize]| -> Result<(Embeddings, Vec<usize>)> {
            Ok((embeddings.select(rows)?, rows.iter().map(|&row| labels[row]).collect()))
        };
        let (queries, gallery) = (pick(&roles.query)?, pick(&roles.gallery)?);
        query_gallery((&queries.0, &queries.1), (&gallery.0, &gallery.1), &KS, SILENT)
    }

    fn all(&self) -> Vec<usize> {
        (0..self.dataset.samples.len()).collect()
    }

    fn test_views(&self, pictures: &[usize], output: Output, encoder: &Encoder, config: &RunConfig, device: &Device) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        if let Some(cache) = &self.cache {
            for input in cache.test_batches(pictures, device) {
                all.extend(values(finish(encoder, input, output).into_data()));
            }
            return Ok(all);
        }
        let embedder = Embedder::new(encoder, config.preparation(), config.train.loader_threads, device);
        let requests = pictures.iter().map(|&picture| Request { pixels: self.dataset.samples[picture].pixels.clone(), view: View::Test });
        for row in embedder.rows(requests, std::iter::repeat(BATCH), output) {
            all.extend_from_slice(&row?);
        }
        Ok(all)
    }
}

/// What is left to do on kept features, up to pooled features or embeddings.
fn finish(encoder: &Encoder, input: EncoderInput, output: Output) -> Tensor<2> {
    let features = encoder.pooled(input, Mode::Infer);
    match output {
        Output::Boundary(_) => features,
        Output::Embedding => encoder.project(features),
    }
}
