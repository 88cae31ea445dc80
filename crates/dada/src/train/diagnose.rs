//! The proxy doctor: diagnostics before training and after every epoch, on the same training pictures as the test view shows them.

use std::fs;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use rand::seq::SliceRandom;

use crate::adversarial::MixMode;
use crate::config::RunConfig;
use crate::embeddings::Embeddings;
use crate::error::{AtPath, Result};
use crate::evaluate::diagnostics::{Diagnosis, MAX_SAMPLES, PointSet, Snapshot, diagnose, evenly_spaced, warnings};
use crate::formats::NamedTensors;
use crate::formats::safetensors::write_safetensors;
use crate::model::layers::normalize;
use crate::random::{Purpose, generator};
use crate::train::learner::Learner;
use crate::train::split_data::SplitData;

/// Most proxies that a snapshot keeps.
const PROXIES: usize = 512;

/// The pictures that are looked at every time, and what was found first.
pub struct Diagnostics<'a> {
    split: SplitData,
    config: &'a RunConfig,
    device: Device,
    pictures: Vec<usize>,
    labels: Vec<usize>,
    first: Option<Diagnosis>,
}

impl<'a> Diagnostics<'a> {
    /// Chooses at most [`MAX_SAMPLES`] pictures of `split`, from as many classes as possible. `first` is what a run that goes on found at first.
    pub fn new(split: &SplitData, config: &'a RunConfig, device: &Device, first: Option<Diagnosis>) -> Self {
        let all = split.dataset.labels();
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.shuffle(&mut generator(config.seed, Purpose::Probe, 0, 0, 0));
        let mut seen = vec![0usize; split.dataset.classes.len()];
        let mut rounds: Vec<(usize, usize)> = Vec::with_capacity(order.len());
        for picture in order {
            rounds.push((seen[all[picture]], picture));
            seen[all[picture]] += 1;
        }
        rounds.sort_by_key(|&(round, _)| round);
        let pictures: Vec<usize> = rounds.into_iter().take(MAX_SAMPLES).map(|(_, picture)| picture).collect();
        let labels = pictures.iter().map(|&picture| all[picture]).collect();
        Self { split: split.clone(), config, device: device.clone(), pictures, labels, first }
    }

    /// Examines `learner` as it is after `epochs` epochs, and says what is alarming. An examination before training, at half time and at the end
    /// leaves a snapshot in the run folder for the report's maps.
    ///
    /// # Errors
    /// When a picture cannot be read, or an embedding is not finite.
    pub fn examine(&mut self, learner: &Learner, epochs: usize, folder: &Path) -> Result<(Diagnosis, Vec<String>)> {
        let (dim, rows) = (self.config.encoder.dim, self.pictures.len());
        let encoder = learner.encoder.valid();
        let values = self.split.embed_some(&self.pictures, &encoder, self.config, &self.device)?;
        let x: Tensor<2> = Tensor::from_data(TensorData::new(values.clone(), [rows, dim]), &self.device);
        let own = learner.loss.valid().proxy_rows(x.clone(), &self.labels);
        let all = learner.loss.valid().proxies();
        let [count, _] = all.dims();
        let plain = |tensor: &Tensor<2>| tensor.to_data().try_into_vec_as::<f32>().expect("embeddings are floating point");
        let [samples, owned] = [values, plain(&own)].map(|values| Embeddings::new(values, rows, dim));
        let (samples, owned, proxies) = (samples?, owned?, Embeddings::new(plain(&all), count, dim)?);
        let centres = count / learner.loss.classes();
        let proxy_labels: Vec<usize> = (0..count).map(|proxy| proxy / centres).collect();
        let snapshot = Snapshot {
            samples: PointSet::of(&samples),
            labels: &self.labels,
            positives: PointSet::of(&owned),
            proxies: PointSet::of(&proxies),
            proxy_labels: &proxy_labels,
        };
        let found = diagnose(&snapshot, self.config.seed, epochs);
        if let Some(name) = self.snapshot(epochs) {
            let kept: Vec<f32> = evenly_spaced(count, PROXIES).flat_map(|row| proxies.row(row)).copied().collect();
            let tensor = |values: &[f32], rows| TensorData::new(values.to_vec(), [rows, dim]);
            let mut tensors = NamedTensors::from([
                ("samples".to_owned(), tensor(samples.values(), rows)),
                ("proxies".to_owned(), tensor(&kept, kept.len() / dim)),
            ]);
            let mix = &self.config.dada.mix;
            if self.config.dada.enabled && mix.mode != MixMode::Nothing {
                let coefficients = mix.coefficients(rows, &mut generator(self.config.seed, Purpose::Probe, epochs, 0, 2));
                let discriminators = learner.discriminators.as_ref().map(|discriminators| discriminators.valid());
                let mixer = discriminators.as_ref().and_then(|discriminators| discriminators.mixer.as_ref());
                tensors.insert("mixed".to_owned(), normalize(mix.mix(mixer, x, own, &coefficients)).into_data());
            }
            let snapshots = folder.join("snapshots");
            fs::create_dir_all(&snapshots).at(&snapshots)?;
            write_safetensors(&tensors, &snapshots.join(format!("{name}.safetensors")))?;
        }
        let warnings = self.first.as_ref().map_or(Vec::new(), |first| warnings(&found, first));
        self.first.get_or_insert_with(|| found.clone());
        Ok((found, warnings))
    }

    fn snapshot(&self, epochs: usize) -> Option<&'static str> {
        let all = self.config.train.epochs;
        [(0, "before"), (all.div_ceil(2), "half-way"), (all, "after")]
            .into_iter()
            .rev()
            .find(|(epoch, _)| *epoch == epochs)
            .map(|(_, name)| name)
    }
}
