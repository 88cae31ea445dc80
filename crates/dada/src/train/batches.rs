//! What the steps of an epoch are given.

use std::sync::Arc;

use crate::data::Dataset;
use crate::data::loader::{Loader, Request, View};
use crate::embed::images;
use crate::error::Result;
use crate::model::encoder::EncoderInput;
use crate::train::frozen::FrozenNetwork;
use crate::train::schedule::At;
use crate::train::split_data::SplitData;

/// One step's pictures, as the part of the network that learns is given them.
pub struct Batch {
    /// Pictures, or what the frozen part made of them.
    pub input: EncoderInput,
    /// The class of each.
    pub labels: Vec<usize>,
}

/// The steps of an epoch, in order.
pub struct Batches<'a> {
    split: SplitData,
    network: FrozenNetwork<'a>,
    pictures: std::vec::IntoIter<Vec<usize>>,
    at: At,
    /// Where nothing is kept of the pictures.
    loader: Option<Loader<Box<dyn Iterator<Item = Request>>>>,
}

impl<'a> Batches<'a> {
    /// The epoch's `pictures`, one list of indices a step, from step `at` on; step i is varied the same, also after a resumption.
    pub fn new(split: &SplitData, network: &FrozenNetwork<'a>, pictures: Vec<Vec<usize>>, at: At) -> Self {
        let ahead = 2 * pictures.first().map_or(1, Vec::len);
        let rest = pictures[at.step.min(pictures.len())..].to_vec();
        let config = network.config;
        let loader = split.cache().is_none().then(|| {
            let requests: Box<dyn Iterator<Item = Request>> = Box::new(requests(split.dataset.clone(), rest.clone(), config.seed, at));
            Loader::new(requests, config.preparation(), config.train.loader_threads, ahead)
        });
        Self { split: split.clone(), network: network.clone(), pictures: rest.into_iter(), at, loader }
    }

    fn batch(&mut self, pictures: &[usize]) -> Result<Batch> {
        let FrozenNetwork { config, device, .. } = &self.network;
        let labels = pictures.iter().map(|&picture| self.split.dataset.samples[picture].label).collect();
        let input = if let Some(loader) = &mut self.loader {
            let pixels = loader.batch(pictures.len())?;
            self.network.advance(images(pixels, pictures.len(), config.preprocess.crop, device))
        } else {
            let cache = self.split.cache().expect("there is a loader where nothing is kept");
            cache.batch(pictures, config.seed, self.at, &device.clone().autodiff())
        };
        Ok(Batch { input, labels })
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let pictures = self.pictures.next()?;
        let batch = self.batch(&pictures);
        self.at.step += 1;
        Some(batch)
    }
}

fn requests(dataset: Arc<Dataset>, batches: Vec<Vec<usize>>, seed: u64, at: At) -> impl Iterator<Item = Request> {
    let rows = batches
        .into_iter()
        .enumerate()
        .flat_map(move |(step, pictures)| pictures.into_iter().enumerate().map(move |(row, picture)| (at.step + step, row, picture)));
    rows.map(move |(step, row, picture)| {
        let view = View::Augmented { seed, epoch: at.epoch, step, row };
        Request { pixels: dataset.samples[picture].pixels.clone(), view }
    })
}
