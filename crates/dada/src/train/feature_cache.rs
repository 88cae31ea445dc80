//! What the frozen part of a network makes of pictures: computed once, and kept in files for all runs.
//!
//! There are two files for a class, one with the test views of its pictures and one with their augmented views. Neither depends on the
//! seed or on what other classes a run trains on, so runs with other seeds, folds or settings of the head share them.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use crate::data::Dataset;
use crate::data::loader::{Request, View};
use crate::embed::{BATCH, Output};
use crate::error::{Error, Result};
use crate::model::backbones::Features;
use crate::model::encoder::{Boundary, EncoderInput};
use crate::random::{Purpose, generator};
use crate::train::cache_file::{self, FeatureRecipe, Rows};
use crate::train::frozen::FrozenNetwork;
use crate::train::observer::{Event, Observer};
use crate::train::schedule::At;

/// What the frozen part made of one part of the data: of every picture the test view, then, view after view, the augmented ones.
#[derive(Clone)]
pub struct FeatureCache {
    rows: Arc<Rows>,
    stages: usize,
    pictures: usize,
}

/// Views of a class's pictures that share a file.
struct Group<'a> {
    path: PathBuf,
    pictures: &'a [usize],
    views: Range<usize>,
}

impl Group<'_> {
    fn rows(&self) -> usize {
        self.pictures.len() * self.views.len()
    }
}

impl FeatureCache {
    /// The test view and `views` augmented views of every picture at `boundary`: from the files of earlier runs, or computed and kept. Nothing
    /// if it would take more than `train.cache_gib`.
    ///
    /// # Errors
    /// When a picture cannot be read. A file that cannot be used or written is told to `observe` and done without.
    pub fn of(network: &FrozenNetwork, boundary: Boundary, dataset: &Dataset, views: usize, observe: Observer) -> Result<Option<Self>> {
        let (pictures, config) = (dataset.samples.len(), network.config);
        let stages = match boundary {
            Boundary::Stage(stages) => stages,
            Boundary::Pooled => network.encoder.backbone.stages(),
        };
        let shape = network.embedder().row_shape(Output::Boundary(boundary));
        let width: usize = shape.iter().product();
        if width == 0 {
            let size = config.preprocess.crop;
            return Err(Error::Data(format!("pictures of {size} x {size} pixels leave nothing of the backbone's map")));
        }
        let gib = (pictures * (1 + views) * width * 4) as f64 / f64::from(1u32 << 30);
        if gib > config.train.cache_gib {
            observe(Event::Note(format!(
                "the features of {pictures} pictures would take {gib:.1} GiB, more than train.cache_gib: computed whenever they are needed"
            )));
            return Ok(None);
        }

        let mut rows = Rows { shape, values: vec![0.0; pictures * (1 + views) * width] };
        let classes = by_class(dataset);
        let mut missing = Vec::new();
        for group in groups(network, boundary, dataset, &classes, views)? {
            match cache_file::read(&group.path, group.rows()) {
                Ok(Some(found)) if found.shape == rows.shape => place(&mut rows, pictures, &group, &found.values),
                Ok(_) => missing.push(group),
                Err(error) => {
                    observe(Event::Note(format!("{error}: computed again")));
                    missing.push(group);
                }
            }
        }
        compute(network, boundary, dataset, &missing, &mut rows, observe)?;
        Ok(Some(Self { rows: Arc::new(rows), stages, pictures }))
    }

    /// A batch of rows as what a network goes on from.
    fn input(&self, rows: &[usize], device: &Device) -> EncoderInput {
        let values: Vec<f32> = rows.iter().flat_map(|&row| self.rows.row(row)).copied().collect();
        let stages = self.stages;
        match *self.rows.shape.as_slice() {
            [features] => EncoderInput::Pooled(Tensor::from_data(TensorData::new(values, [rows.len(), features]), device)),
            [tokens, width] => {
                let features = Tensor::from_data(TensorData::new(values, [rows.len(), tokens, width]), device);
                EncoderInput::Staged { features: Features::Tokens(features), stages }
            }
            [channels, height, width] => {
                let features = Tensor::from_data(TensorData::new(values, [rows.len(), channels, height, width]), device);
                EncoderInput::Staged { features: Features::Map(features), stages }
            }
            _ => unreachable!("a row has one to three axes: the file was checked, and no network makes others"),
        }
    }

    /// One batch of a step: a view of each picture, drawn for this place of the run.
    pub fn batch(&self, pictures: &[usize], seed: u64, at: At, device: &Device) -> EncoderInput {
        let views = self.rows.len() / self.pictures;
        let drawn = |(row, picture): (usize, &usize)| {
            let view = generator(seed, Purpose::Augment, at.epoch, at.step, row).random_range(0..views);
            view * self.pictures + picture
        };
        let rows: Vec<usize> = pictures.iter().enumerate().map(drawn).collect();
        self.input(&rows, device)
    }

    /// The test views of these pictures, in batches.
    pub fn test_batches<'a>(&'a self, pictures: &'a [usize], device: &'a Device) -> impl Iterator<Item = EncoderInput> + 'a {
        pictures.chunks(BATCH).map(|pictures| self.input(pictures, device))
    }
}

fn by_class(dataset: &Dataset) -> Vec<Vec<usize>> {
    let mut classes = vec![Vec::new(); dataset.classes.len()];
    for (picture, sample) in dataset.samples.iter().enumerate() {
        classes[sample.label].push(picture);
    }
    classes.retain(|pictures| !pictures.is_empty());
    classes
}

fn groups<'a>(
    network: &FrozenNetwork,
    boundary: Boundary,
    dataset: &Dataset,
    classes: &'a [Vec<usize>],
    views: usize,
) -> Result<Vec<Group<'a>>> {
    let config = network.config;
    let folder = cache_file::folder(&config.train.cache)?;
    let mut groups = Vec::new();
    for pictures in classes {
        for range in [0..1, 1..1 + views].into_iter().filter(|range| !range.is_empty()) {
            let recipe = FeatureRecipe {
                weights: network.weights.clone(),
                backbone: &config.encoder.backbone,
                pooling: config.encoder.pooling,
                boundary,
                preprocess: &config.preprocess,
                augmented: (range.start > 0).then_some((views, &config.augment)),
            };
            let path = folder.join(format!("{}.features", cache_file::key(&recipe, dataset, pictures)?));
            groups.push(Group { path, pictures, views: range });
        }
    }
    Ok(groups)
}

/// Fills the rows of groups that were in no file, and writes a file for each. A batch never has pictures of two groups, so that what is
/// in a file does not depend on what else was missing.
fn compute(
    network: &FrozenNetwork,
    boundary: Boundary,
    dataset: &Dataset,
    missing: &[Group],
    rows: &mut Rows,
    observe: Observer,
) -> Result<()> {
    let of: usize = missing.iter().map(Group::rows).sum();
    if of == 0 {
        return Ok(());
    }
    observe(Event::Note(format!("features: {of} views of pictures to compute, once for this and all later runs")));
    let mut batches = Vec::new();
    for group in missing {
        for view in group.views.clone() {
            batches.extend(group.pictures.chunks(BATCH).map(|pictures| (view, pictures)));
        }
    }
    let requests = batches.iter().flat_map(|&(view, pictures)| {
        let samples = pictures.iter().map(|&picture| &dataset.samples[picture]);
        samples.map(move |sample| Request { pixels: sample.pixels.clone(), view: View::shared(sample, view) })
    });
    let embedder = network.embedder();
    let mut computed = embedder.rows(requests, batches.iter().map(|(_, pictures)| pictures.len()), Output::Boundary(boundary));
    let (mut done, mut writable) = (0usize, true);
    for group in missing {
        let mut values = Vec::with_capacity(group.rows() * rows.width());
        for row in computed.by_ref().take(group.rows()) {
            values.extend_from_slice(&row?);
            done += 1;
            if done.is_multiple_of(BATCH) || done == of {
                observe(Event::Cached { done, of });
            }
        }
        place(rows, dataset.samples.len(), group, &values);
        let file = Rows { shape: rows.shape.clone(), values };
        // A full disk is told once, not once a class.
        if writable && let Err(error) = cache_file::write(&group.path, &file) {
            writable = false;
            observe(Event::Note(format!("{error}: the next run computes the features again")));
        }
    }
    Ok(())
}

/// Copies a group's values to where its pictures and views have their rows.
fn place(rows: &mut Rows, pictures: usize, group: &Group, values: &[f32]) {
    let width = rows.width();
    let places = group.views.clone().flat_map(|view| group.pictures.iter().map(move |picture| view * pictures + picture));
    for (row, values) in places.zip(values.chunks_exact(width)) {
        rows.values[row * width..][..width].copy_from_slice(values);
    }
}
