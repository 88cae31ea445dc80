//! Pictures as the part of the network that learns is given them.
//!
//! Where a part is frozen, what it makes of every picture, and of some augmented views of each training picture, is computed once
//! ([`Base::part`]) and kept in files by `train::kept`. A step then draws one of the views of each picture.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use crate::config::RunConfig;
use crate::data::loader::{Loader, Training};
use crate::data::{Dataset, Roles};
use crate::embed::images;
use crate::embeddings::Embeddings;
use crate::error::Result;
use crate::evaluate::{Retrieval, query_gallery, self_retrieval};
use crate::model::backbones::Features;
use crate::model::encoder::{Encoder, Input};
use crate::model::layers::Mode;
use crate::model::parameters;
use crate::progress::SILENT;
use crate::train::cache;
use crate::train::kept::{BATCH, Kept};
use crate::train::tune::Cut;
use crate::train::{At, Event, KS};

/// The network as training starts from it: what its frozen part makes of pictures, and what its features are worth as they are.
pub struct Base<'a> {
    /// Without autodiff.
    pub encoder: &'a Encoder,
    /// Where the frozen part ends, if any part is frozen.
    cut: Option<Cut>,
    /// BLAKE3 of the backbone's weights.
    pub weights: String,
    /// The run's.
    pub config: &'a RunConfig,
    /// Where to compute.
    pub device: &'a Device,
}

/// One part of the data, with what a frozen part of the network made of it where there is one.
pub struct Part {
    /// The pictures.
    pub dataset: Arc<Dataset>,
    /// Which ask and which answer, where the data say so.
    pub roles: Option<Roles>,
    kept: Option<Kept>,
}

impl<'a> Base<'a> {
    /// Of an `encoder` without autodiff.
    pub fn new(encoder: &'a Encoder, config: &'a RunConfig, device: &'a Device) -> Self {
        let weights = cache::checksum_of_weights(&parameters::tensors(&encoder.backbone));
        Self { encoder, cut: config.train.tune.cut(encoder.backbone.stages()), weights, config, device }
    }

    /// A part of the data, gone through the frozen part of the network with `views` augmented views of each picture.
    ///
    /// # Errors
    /// When a picture cannot be read.
    pub fn part(&self, dataset: Dataset, roles: Option<Roles>, views: usize, observe: &mut dyn FnMut(Event)) -> Result<Part> {
        let dataset = Arc::new(dataset);
        let kept = match self.cut {
            Some(cut) if !dataset.samples.is_empty() => Kept::of(self, cut, &dataset, views, observe)?,
            _ => None,
        };
        Ok(Part { dataset, roles, kept })
    }

    /// Pooled features of the test view of every picture, `[pictures, features]`, row after row.
    ///
    /// # Errors
    /// When a picture cannot be read.
    pub fn features(&self, part: &Part, observe: &mut dyn FnMut(Event)) -> Result<Vec<f32>> {
        let pretrained = !self.config.encoder.weights.is_empty();
        let kept = match &part.kept {
            Some(kept) => Some(kept.clone()),
            None if pretrained => Kept::of(self, Cut::Pooled, &part.dataset, 0, observe)?,
            None => None,
        };
        let part = Part { dataset: part.dataset.clone(), roles: None, kept };
        let all: Vec<usize> = (0..part.dataset.samples.len()).collect();
        part.forward(&all, self.config, self.device, |input| self.encoder.pooled(input, Mode::Infer))
    }

    /// What a batch of pictures is after the frozen part.
    pub fn run(&self, cut: Cut, images: Tensor<4>) -> Input {
        match cut {
            Cut::Pooled => Input::Pooled(self.encoder.features(images, Mode::Infer)),
            Cut::Stage(stages) => {
                Input::Staged { features: self.encoder.backbone.forward_stages(Features::Map(images), 0..stages, Mode::Infer), stages }
            }
        }
    }
}

/// How an epoch's training pictures are varied.
pub fn training(config: &RunConfig, epoch: usize) -> Training {
    Training { preprocess: config.preprocess.clone(), augment: config.augment.clone(), seed: config.seed, epoch }
}

impl Part {
    /// Steps of an epoch from `at` on: what the part of the network that learns is given, and the class of each row.
    pub fn batches<'a>(
        &'a self,
        base: &'a Base,
        batches: Vec<Vec<usize>>,
        at: At,
    ) -> Box<dyn Iterator<Item = Result<(Input, Vec<usize>)>> + 'a> {
        let Base { config, device, cut, .. } = *base;
        let tracking = device.clone().autodiff();
        if let Some(kept) = &self.kept {
            let steps = batches.into_iter().enumerate().skip(at.step);
            return Box::new(steps.map(move |(step, pictures)| {
                let labels = pictures.iter().map(|&picture| self.dataset.samples[picture].label).collect();
                Ok((kept.batch(&pictures, config.seed, At { step, ..at }, &tracking), labels))
            }));
        }
        let loader = Loader::train(self.dataset.clone(), batches, at.step, training(config, at.epoch), config.train.loader_threads);
        Box::new(loader.map(move |batch| {
            let batch = batch?;
            let input = match cut {
                None => Input::Images(images(&batch, config.preprocess.crop, &tracking)),
                Some(cut) => tracked(base.run(cut, images(&batch, config.preprocess.crop, device))),
            };
            Ok((input, batch.labels))
        }))
    }

    /// Embeddings, L2-normalised, of the test view of every picture in order, by an `encoder` whose frozen part is the kept one.
    ///
    /// # Errors
    /// As [`crate::embed::embed`].
    pub fn embed(&self, encoder: &Encoder, config: &RunConfig, device: &Device) -> Result<Embeddings> {
        let all: Vec<usize> = (0..self.dataset.samples.len()).collect();
        self.embeddings(self.embed_some(&all, encoder, config, device)?)
    }

    /// What the encoder makes of the test view of these pictures, `[pictures, dim]`, row after row, as it comes from the projection.
    ///
    /// # Errors
    /// When a picture cannot be read.
    pub fn embed_some(&self, pictures: &[usize], encoder: &Encoder, config: &RunConfig, device: &Device) -> Result<Vec<f32>> {
        self.forward(pictures, config, device, |input| encoder.project(encoder.pooled(input, Mode::Infer)))
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
        let pick = |flags: &[bool]| -> Result<(Embeddings, Vec<usize>)> {
            let indices: Vec<usize> = (0..labels.len()).filter(|&index| flags[index]).collect();
            Ok((embeddings.select(&indices)?, indices.iter().map(|&index| labels[index]).collect()))
        };
        let (queries, gallery) = (pick(&roles.query)?, pick(&roles.gallery)?);
        query_gallery((&queries.0, &queries.1), (&gallery.0, &gallery.1), &KS, SILENT)
    }

    fn forward(&self, pictures: &[usize], config: &RunConfig, device: &Device, forward: impl Fn(Input) -> Tensor<2>) -> Result<Vec<f32>> {
        let size = config.preprocess.crop;
        let inputs: Box<dyn Iterator<Item = Result<Input>>> = match &self.kept {
            Some(kept) => Box::new(kept.test_batches(pictures, device).map(Ok)),
            None => {
                let batches = pictures.chunks(BATCH).map(|pictures| (0, pictures.to_vec())).collect();
                let loader = Loader::views(self.dataset.clone(), batches, training(config, 0), config.train.loader_threads);
                Box::new(loader.map(|batch| Ok(Input::Images(images(&batch?, size, device)))))
            }
        };
        let mut values = Vec::new();
        for input in inputs {
            values.extend(forward(input?).into_data().try_into_vec_as::<f32>().expect("an encoder computes in floating point"));
        }
        Ok(values)
    }
}

/// The same on the device with autodiff.
fn tracked(input: Input) -> Input {
    match input {
        Input::Images(images) => Input::Images(Tensor::from_inner(images)),
        Input::Pooled(features) => Input::Pooled(Tensor::from_inner(features)),
        Input::Staged { features: Features::Map(map), stages } => {
            Input::Staged { features: Features::Map(Tensor::from_inner(map)), stages }
        }
        Input::Staged { features: Features::Tokens(tokens), stages } => {
            Input::Staged { features: Features::Tokens(Tensor::from_inner(tokens)), stages }
        }
    }
}
