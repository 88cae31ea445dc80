//! The data of a run, and what a run would do with them.

use burn::module::Module;

use crate::config::RunConfig;
use crate::data::sampler::{SamplerConfig, epoch_batches};
use crate::data::{self, Dataset, Loaded};
use crate::error::Result;
use crate::model::layers::Initializer;
use crate::train::learner::Learner;
use crate::train::observer::{Event, Observer};

/// The data; what is worth knowing of them is told to `observe`.
pub fn prepare(config: &RunConfig, observe: Observer) -> Result<Loaded> {
    let mut loaded = data::load(&config.data, config.seed)?;
    if config.data.turned_classes {
        loaded.splits.train = std::mem::take(&mut loaded.splits.train).with_turned_classes();
    }
    loaded.notes.iter().for_each(|note| observe(Event::Note(note.clone())));
    let size = |part: &Dataset| format!("{} pictures of {} classes", part.samples.len(), part.classes.len());
    let splits = &loaded.splits;
    let [train, validation, test] = [&splits.train, &splits.validation, &splits.test].map(size);
    observe(Event::Note(format!("train on {train}, validate on {validation}, test on {test}")));
    let instead = match (splits.validation.samples.is_empty(), splits.test.samples.is_empty()) {
        (false, false) => return Ok(loaded),
        (false, true) => "no test classes: metrics.json has the validation figures in their place",
        (true, false) => "no validation classes: the last epoch is kept",
        (true, true) => "no validation and no test classes: the last epoch is kept, and nothing is measured",
    };
    observe(Event::Note(instead.to_owned()));
    Ok(loaded)
}

/// Batches that so few classes can fill: with a class at most once in each.
pub fn fitting(sampler: &SamplerConfig, classes: usize, observe: Observer) -> SamplerConfig {
    let most = classes * sampler.images_per_class;
    if sampler.replacement || sampler.batch_size <= most || most == 0 {
        return sampler.clone();
    }
    observe(Event::Note(format!("{classes} training classes: batches of {most} pictures instead of {}", sampler.batch_size)));
    SamplerConfig { batch_size: most, ..sampler.clone() }
}

/// What [`crate::train::train`] would do, in sentences.
///
/// # Errors
/// For data that cannot be read or are too few.
pub fn plan(config: &RunConfig) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut note = |event: Event| {
        if let Event::Note(note) = event {
            lines.push(note);
        }
    };
    let train = prepare(config, &mut note)?.splits.train;
    let sampler = fitting(&config.sampler, train.classes.len(), &mut note);
    let steps = epoch_batches(&train.labels(), &sampler, config.seed, 0)?.len();
    let mut init = Initializer::new(&config.device.open(), config.seed);
    let encoder = config.encoder.init(&mut init);
    config.train.tune.check(&config.encoder.backbone, encoder.backbone.stages())?;
    let learner = Learner::new(encoder, config, train.classes.len(), &mut init);
    let discriminators = learner.discriminators.as_ref().map_or(0, Module::num_params);
    lines.push(format!("{} epochs of {steps} steps of {} pictures", config.train.epochs, sampler.batch_size));
    lines.push(format!(
        "{} weights in the encoder, {} in the proxies, {discriminators} in the discriminators",
        learner.encoder.num_params(),
        learner.loss.num_params()
    ));
    Ok(lines)
}
