//! Pictures as the part of the network that learns is given them.
//!
//! Where a part is frozen, what it makes of every picture, and of some augmented views of each training picture, is computed once
//! ([`Base::part`]) and kept in a file by [`super::cache`]. A step then draws one of the views of each picture.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use super::cache::{self, Recipe, Rows};
use super::tune::Cut;
use super::{At, Event, KS};
use crate::backbone::Features;
use crate::config::RunConfig;
use crate::data::loader::{Batch, Loader, Training};
use crate::data::{Dataset, Roles};
use crate::embed::images;
use crate::encoder::{Encoder, Input};
use crate::error::{Error, Result};
use crate::evaluate::{Embeddings, Retrieval, SILENT, query_gallery, self_retrieval};
use crate::layers::Mode;
use crate::parameters;
use crate::random::{Purpose, generator};

/// Pictures that go through the network together when nothing is learnt.
const BATCH: usize = 64;

/// The network as training starts from it: what its frozen part makes of pictures, and what its features are worth as they are.
pub struct Base<'a> {
    /// Without autodiff.
    pub encoder: &'a Encoder,
    /// Where the frozen part ends, if any part is frozen.
    cut: Option<Cut>,
    /// BLAKE3 of the backbone's weights.
    weights: String,
    config: &'a RunConfig,
    device: &'a Device,
}

/// What the frozen part made of one part of the data: of every picture the test view, then, view after view, the augmented ones.
#[derive(Clone)]
pub struct Kept {
    rows: Arc<Rows>,
    stages: usize,
    pictures: usize,
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
            Some(cut) if !dataset.samples.is_empty() => self.keep(cut, &dataset, views, observe)?,
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
            None if pretrained => self.keep(Cut::Pooled, &part.dataset, 0, observe)?,
            None => None,
        };
        let part = Part { dataset: part.dataset.clone(), roles: None, kept };
        part.forward(self.config, self.device, |input| self.encoder.pooled(input, Mode::Infer))
    }

    /// What a batch of pictures is after the frozen part.
    fn run(&self, cut: Cut, images: Tensor<4>) -> Input {
        match cut {
            Cut::Pooled => Input::Pooled(self.encoder.features(images, Mode::Infer)),
            Cut::Stage(stages) => {
                Input::Staged { features: self.encoder.backbone.forward_stages(Features::Map(images), 0..stages, Mode::Infer), stages }
            }
        }
    }

    /// The test view and `views` augmented views of every picture after the frozen part: from the file of an earlier run, or computed and
    /// kept. Nothing if it would take more than `train.cache_gib`.
    ///
    /// # Errors
    /// When a picture cannot be read. A file that cannot be used or written is told to `observe` and done without.
    fn keep(&self, cut: Cut, dataset: &Arc<Dataset>, views: usize, observe: &mut dyn FnMut(Event)) -> Result<Option<Kept>> {
        let pictures = dataset.samples.len();
        let (expected, config) = (pictures * (1 + views), self.config);
        let stages = match cut {
            Cut::Stage(stages) => stages,
            Cut::Pooled => self.encoder.backbone.stages(),
        };
        let kept = |rows| Ok(Some(Kept { rows: Arc::new(rows), pictures, stages }));
        let recipe = Recipe {
            weights: self.weights.clone(),
            network: format!("{:?} {:?} {:?}", config.encoder.backbone, config.encoder.pooling, cut),
            preprocess: &config.preprocess,
            views,
            augment: (views > 0).then_some(&config.augment),
            seed: (views > 0).then_some(config.seed),
        };
        let path = cache::folder(&config.train.cache)?.join(format!("{}.features", cache::key(&recipe, dataset)?));
        match cache::read(&path, expected) {
            Ok(Some(rows)) => return kept(rows),
            Ok(None) => {}
            Err(error) => observe(Event::Note(format!("{error}: computed again"))),
        }
        let width = self.width(cut)?;
        let gib = (expected * width * 4) as f64 / f64::from(1u32 << 30);
        if gib > config.train.cache_gib {
            observe(Event::Note(format!(
                "the frozen part's results would take {gib:.1} GiB, more than train.cache_gib: computed in every step"
            )));
            return Ok(None);
        }
        observe(Event::Note(format!("frozen part: {pictures} pictures, {} views of each", 1 + views)));
        let mut rows = Rows { shape: Vec::new(), values: Vec::with_capacity(expected * width) };
        for view in 0..=views {
            for batch in self.view(dataset, view) {
                let batch = batch?;
                append(&mut rows, self.run(cut, images(&batch, config.preprocess.crop, self.device)));
            }
        }
        if let Err(error) = cache::write(&path, &rows) {
            observe(Event::Note(format!("{error}: the next run computes the features again")));
        }
        kept(rows)
    }

    /// View 0 is the test view.
    fn view(&self, dataset: &Arc<Dataset>, view: usize) -> Loader {
        let threads = self.config.train.loader_threads;
        let Some(epoch) = view.checked_sub(1) else {
            return Loader::evaluate(dataset.clone(), self.config.preprocess.clone(), BATCH, threads);
        };
        let indices: Vec<usize> = (0..dataset.samples.len()).collect();
        let batches = indices.chunks(BATCH).map(<[usize]>::to_vec).collect();
        Loader::train(dataset.clone(), batches, 0, training(self.config, epoch), threads)
    }

    /// Values that the frozen part makes of one picture.
    fn width(&self, cut: Cut) -> Result<usize> {
        let size = self.config.preprocess.crop as usize;
        let blank = Batch { pixels: vec![0.0; 3 * size * size], labels: vec![0], indices: vec![0] };
        let mut rows = Rows { shape: Vec::new(), values: Vec::new() };
        append(&mut rows, self.run(cut, images(&blank, size as u32, self.device)));
        match rows.width() {
            0 => Err(Error::Data(format!("pictures of {size} x {size} pixels leave nothing of the backbone's map"))),
            width => Ok(width),
        }
    }
}

/// How an epoch's training pictures are varied.
pub fn training(config: &RunConfig, epoch: usize) -> Training {
    Training {
        size: config.preprocess.crop,
        augment: config.augment.clone(),
        mean: config.preprocess.mean,
        std: config.preprocess.std,
        seed: config.seed,
        epoch,
    }
}

fn append(rows: &mut Rows, input: Input) {
    let data = match input {
        Input::Pooled(features) => features.into_data(),
        Input::Images(map) | Input::Staged { features: Features::Map(map), .. } => map.into_data(),
        Input::Staged { features: Features::Tokens(tokens), .. } => tokens.into_data(),
    };
    rows.shape = data.shape().as_slice()[1..].to_vec();
    rows.values.extend(data.try_into_vec_as::<f32>().expect("an encoder computes in floating point"));
}

impl Kept {
    /// A batch of rows as what a network goes on from.
    fn input(&self, rows: &[usize], device: &Device) -> Input {
        let values: Vec<f32> = rows.iter().flat_map(|&row| self.rows.row(row)).copied().collect();
        let stages = self.stages;
        match *self.rows.shape.as_slice() {
            [features] => Input::Pooled(Tensor::from_data(TensorData::new(values, [rows.len(), features]), device)),
            [tokens, width] => {
                let features = Tensor::from_data(TensorData::new(values, [rows.len(), tokens, width]), device);
                Input::Staged { features: Features::Tokens(features), stages }
            }
            [channels, height, width] => {
                let features = Tensor::from_data(TensorData::new(values, [rows.len(), channels, height, width]), device);
                Input::Staged { features: Features::Map(features), stages }
            }
            _ => unreachable!("a row has one to three axes: the file was checked, and no network makes others"),
        }
    }

    /// One batch of a step: a view of each picture, drawn for this place of the run.
    fn batch(&self, pictures: &[usize], seed: u64, at: At, device: &Device) -> Input {
        let views = self.rows.len() / self.pictures;
        let drawn = |(row, picture): (usize, &usize)| {
            let view = generator(seed, Purpose::Augment, at.epoch, at.step, row).random_range(0..views);
            view * self.pictures + picture
        };
        let rows: Vec<usize> = pictures.iter().enumerate().map(drawn).collect();
        self.input(&rows, device)
    }

    /// The test views in order, in batches.
    fn test_batches(&self, device: &Device) -> impl Iterator<Item = Input> {
        let rows: Vec<usize> = (0..self.pictures).collect();
        let (kept, device) = (self.clone(), device.clone());
        (0..self.pictures.div_ceil(BATCH)).map(move |batch| kept.input(&rows[batch * BATCH..rows.len().min((batch + 1) * BATCH)], &device))
    }
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
        let values = self.forward(config, device, |input| encoder.project(encoder.pooled(input, Mode::Infer)))?;
        self.embeddings(values)
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

    fn forward(&self, config: &RunConfig, device: &Device, forward: impl Fn(Input) -> Tensor<2>) -> Result<Vec<f32>> {
        let size = config.preprocess.crop;
        let inputs: Box<dyn Iterator<Item = Result<Input>>> = match &self.kept {
            Some(kept) => Box::new(kept.test_batches(device).map(Ok)),
            None => {
                let loader = Loader::evaluate(self.dataset.clone(), config.preprocess.clone(), BATCH, config.train.loader_threads);
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
