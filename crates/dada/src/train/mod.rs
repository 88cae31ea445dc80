//! Training: the loop, from a configuration to a run folder.
//!
//! Read `run` from top to bottom: it is everything that happens, in order. What one update does is in [`step`].

pub mod cache;
pub mod checkpoint;
mod examine;
pub mod features;
mod folder;
pub mod journal;
mod kept;
mod metrics;
pub mod optimizer;
pub mod pull;
mod report;
pub mod schedule;
mod start;
pub mod step;
mod tensorboard;
pub mod tune;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::Module;
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::checkpoint::{Best, Header};
use self::examine::Rounds;
use self::features::{Base, Part};
use self::journal::Journal;
use self::start::Before;
use self::step::{Learner, Record};
use self::tune::Tune;
use crate::config::RunConfig;
use crate::cost::Cost;
use crate::data::sampler::{SamplerConfig, epoch_batches};
use crate::data::{self, Dataset, Loaded, Split};
use crate::error::{Error, Result};
use crate::evaluate::Retrieval;
use crate::model::encoder::Encoder;
use crate::model::export::Model;
use crate::model::layers::Initializer;

pub use metrics::{Figures, Metrics, metric_names};

/// The k of recall@k in every table.
pub const KS: [usize; 4] = [1, 2, 4, 8];

/// The `[train]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainConfig {
    /// Passes over the training pictures.
    pub epochs: usize,
    /// Epochs at the start in which the backbone is frozen and only projection and proxies learn.
    pub warmup_epochs: usize,
    /// Add one mixture for each class of a batch that has two pictures.
    pub class_mixup: bool,
    /// Epochs between evaluations on the validation classes.
    pub evaluate_every: usize,
    /// Steps between lines of the journal.
    pub journal_every: usize,
    /// Threads that decode and augment.
    pub loader_threads: usize,
    /// Let the proxy doctor look at some training pictures after every epoch; it tells the journal, and changes nothing.
    pub doctor: bool,
    /// How much of the network learns.
    pub tune: Tune,
    /// Augmented views of each training picture that are kept, besides the test view, where a part of the network is frozen.
    pub views: usize,
    /// Folder for what a frozen part made; by default one in the user's cache.
    pub cache: PathBuf,
    /// Most memory, in GiB, for what a frozen part made; beyond that it is computed in every step.
    pub cache_gib: f64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 60,
            warmup_epochs: 0,
            class_mixup: false,
            evaluate_every: 1,
            journal_every: 10,
            loader_threads: 2,
            doctor: true,
            tune: Tune::Full,
            views: 4,
            cache: PathBuf::new(),
            cache_gib: 4.0,
        }
    }
}

/// A place in a run: the step that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// Zero-based epoch.
    pub epoch: usize,
    /// Zero-based step within the epoch.
    pub step: usize,
}

/// What an observer is told.
pub enum Event<'a> {
    /// Something worth saying once.
    Note(String),
    /// The frozen part of the network went over so many of all the views that are to be kept.
    Kept {
        /// Views that are done.
        done: usize,
        /// Views that had to be computed.
        of: usize,
    },
    /// A step was taken: of `steps` in each of `epochs`. The record is there where the journal got one.
    Step {
        /// The step taken.
        at: At,
        /// Steps in an epoch.
        steps: usize,
        /// Epochs in the run.
        epochs: usize,
        /// Pictures in the batch.
        pictures: usize,
        /// The last recorded terms.
        record: &'a Record,
    },
    /// The validation classes were evaluated after this epoch.
    Evaluated {
        /// Zero-based epoch.
        epoch: usize,
        /// The figures.
        validation: &'a Retrieval,
        /// Whether no epoch before was better.
        best: bool,
    },
}

/// How a run ended.
pub enum Outcome {
    /// All epochs are done; what `metrics.json` says.
    Finished(Box<Metrics>),
    /// Stopped on request, with a checkpoint of the next step.
    Stopped(At),
}

/// Trains as `config` says, into `folder`, and reports to `observe`; `resume` goes on from the folder's last checkpoint.
/// A raised `stop` ends the run cleanly after the current step.
///
/// # Errors
/// For a folder that is in use or holds another run, for data that cannot be read or are too few, and for a loss that is not finite.
pub fn train(config: &RunConfig, folder: &Path, resume: bool, stop: &AtomicBool, observe: &mut dyn FnMut(Event)) -> Result<Outcome> {
    config.check()?;
    let (_lock, is_new) = folder::claim(folder, config, resume)?;
    let outcome = run(config, folder, resume, stop, observe);
    if outcome.is_err() && is_new && !folder.join("journal.jsonl").exists() {
        folder::leave(folder);
    }
    outcome
}

fn run(config: &RunConfig, folder: &Path, resume: bool, stop: &AtomicBool, observe: &mut dyn FnMut(Event)) -> Result<Outcome> {
    if let Some(metrics) = Metrics::read(folder)? {
        return Ok(Outcome::Finished(Box::new(metrics)));
    }
    let device = config.device.open();
    let Loaded { splits, roles, .. } = prepare(config, observe)?;

    let mut init = Initializer::new(&device.clone().autodiff(), config.seed);
    let encoder = start::encoder(config, &mut init, observe)?;
    let pretrained = encoder.valid();
    let base = Base::new(&pretrained, config, &device);
    let train = base.part(splits.train, None, config.train.views, observe)?;
    let validation = base.part(splits.validation, None, 0, observe)?;
    let labels = train.dataset.labels();
    let classes = &train.dataset.classes;
    let untrained = start::with_head(encoder, &base, &train, config, observe)?;
    let sampler = fitting(&config.sampler, classes.len(), observe);
    let before = before(&base, &untrained.valid(), &validation, config, observe)?;
    if let Some(told) = before.as_ref().and_then(Before::told) {
        observe(Event::Note(told));
    }

    let mut learner = Learner::new(untrained.clone(), config, classes.len(), &mut init);
    let mut at = At::default();
    let mut best: Option<Best> = None;
    let mut seconds = 0.0;
    let mut journaled = 0;
    if let Some(directory) = checkpoint::find(folder, "last").filter(|_| resume) {
        let header = checkpoint::header(&directory)?;
        if &header.classes != classes {
            return Err(Error::Data(format!("{}: the training classes are not those of the checkpoint", directory.display())));
        }
        learner = checkpoint::restore(&directory, &header, learner)?;
        (at, best, seconds, journaled) = (header.at, header.best, header.seconds, header.journal);
        observe(Event::Note(format!("resuming at epoch {}, step {}", at.epoch + 1, at.step)));
    } else if let Some(before) = before.as_ref().filter(|before| before.frozen.is_some()) {
        // No training may make of a pre-trained network less than it was.
        best = Some(Best { epoch: None, value: before.untrained.means.map_at_r });
        checkpoint::save(folder, "best", Header::new(at, best, 0, 0.0, classes), &learner)?;
    }
    let steps = sampler.steps(labels.len());
    let mut journal = Journal::open(folder, journaled, steps)?;
    let started = Instant::now();
    let spent = |before: f64| before + started.elapsed().as_secs_f64();

    let first = if at == At::default() { None } else { journal::first_finding(folder)? };
    let mut rounds = config.train.doctor.then(|| Rounds::new(&train, config, &device, first));
    let mut visit = |learner: &Learner, epochs, journal: &mut Journal, observe: &mut dyn FnMut(Event)| -> Result<()> {
        let Some(rounds) = &mut rounds else { return Ok(()) };
        let (finding, alarms) = rounds.visit(learner, epochs, folder)?;
        alarms.into_iter().for_each(|alarm| observe(Event::Note(alarm)));
        journal.write(&json!({ "epochs": epochs, "doctor": finding }))
    };
    if at == At::default() {
        visit(&learner, 0, &mut journal, observe)?;
    }
    let mut record = Record::default();
    while at.epoch < config.train.epochs {
        let batches = epoch_batches(&labels, &sampler, config.seed, at.epoch)?;
        for batch in train.batches(&base, batches, at) {
            let (input, labels) = batch?;
            let recording = at.step % config.train.journal_every == 0;
            let (updated, latest) = step::update(learner, input, &labels, config, at, steps, recording)?;
            learner = updated;
            if recording {
                record = latest;
                journal.write(&json!({ "epoch": at.epoch, "step": at.step, "steps": steps, "terms": record }))?;
            }
            observe(Event::Step { at, steps, epochs: config.train.epochs, pictures: labels.len(), record: &record });
            at.step += 1;
            if stop.load(Ordering::Relaxed) {
                let header = Header::new(at, best, journal.length(), spent(seconds), classes);
                checkpoint::save(folder, "last", header, &learner)?;
                return Ok(Outcome::Stopped(at));
            }
        }

        let epoch = at.epoch;
        at = At { epoch: epoch + 1, step: 0 };
        visit(&learner, at.epoch, &mut journal, observe)?;
        let last_epoch = at.epoch == config.train.epochs;
        let mut is_best = false;
        if !validation.dataset.samples.is_empty() && (last_epoch || at.epoch % config.train.evaluate_every == 0) {
            let figures = validation.score(&validation.embed(&learner.encoder.valid(), config, &device)?)?;
            let value = figures.means.map_at_r;
            is_best = best.is_none_or(|best| value > best.value);
            if is_best {
                best = Some(Best { epoch: Some(epoch), value });
            }
            journal.write(&json!({ "epoch": epoch, "validation": figures, "best": is_best, "seconds": spent(seconds) }))?;
            observe(Event::Evaluated { epoch, validation: &figures, best: is_best });
        }
        let header = Header::new(at, best, journal.length(), spent(seconds), classes);
        if is_best || (last_epoch && best.is_none()) {
            checkpoint::save(folder, "best", header.clone(), &learner)?;
        }
        checkpoint::save(folder, "last", header, &learner)?;
    }

    let (seconds, cost) = (spent(seconds), Cost::so_far());
    let best_epoch = best.map_or(Some(config.train.epochs - 1), |best| best.epoch);
    let chosen = checkpoint::find(folder, "best").ok_or_else(|| Error::Data(format!("{}: no best checkpoint", folder.display())))?;
    let chosen = checkpoint::restore_encoder(&chosen, untrained.clone())?.valid();
    let test = base.part(splits.test, roles, 0, observe)?;
    let (measured_on, test) = if test.dataset.samples.is_empty() { (Split::Validation, &validation) } else { (Split::Test, &test) };
    let figures = |encoder: &Encoder, part: &Part| match part.dataset.samples.is_empty() {
        true => Ok(Figures::new()),
        false => Ok::<_, Error>(report::figures(&part.score(&part.embed(encoder, config, &device)?)?)),
    };
    let (frozen, before_test) =
        self::before(&base, &untrained.valid(), test, config, observe)?.map(|before| before.figures()).unwrap_or_default();
    let (validation_frozen, validation_untrained) = before.map(|before| before.figures()).unwrap_or_default();
    let last = learner.encoder.valid();
    let metrics = Metrics {
        measured_on,
        seen_classes: test.dataset.classes.iter().any(|class| classes.contains(class)),
        test: figures(&chosen, test)?,
        test_final: figures(&last, test)?,
        validation: figures(&chosen, &validation)?,
        validation_final: figures(&last, &validation)?,
        untrained: before_test,
        validation_untrained,
        frozen,
        validation_frozen,
        best_epoch,
        seconds,
        cpu_seconds: cost.cpu_seconds,
        peak_memory_gib: cost.peak_bytes / f64::from(1u32 << 30),
    };
    report::neighbours(&chosen, test, config, &device, &folder.join("neighbours.png"))?;
    let model = Model { config: config.encoder.clone(), preprocess: config.preprocess.clone(), encoder: chosen };
    model.save(&folder.join("model"), &report::model_card(config, &metrics))?;
    journal.write(&json!({ "epochs": config.train.epochs, "metrics": metrics }))?;
    metrics.write(folder)?;
    Ok(Outcome::Finished(Box::new(metrics)))
}

/// Batches that so few classes can fill: with a class at most once in each.
fn fitting(sampler: &SamplerConfig, classes: usize, observe: &mut dyn FnMut(Event)) -> SamplerConfig {
    let most = classes * sampler.images_per_class;
    if sampler.replacement || sampler.batch_size <= most || most == 0 {
        return sampler.clone();
    }
    observe(Event::Note(format!("{classes} training classes: batches of {most} pictures instead of {}", sampler.batch_size)));
    SamplerConfig { batch_size: most, ..sampler.clone() }
}

/// What a part scores before training, if it has pictures.
fn before(base: &Base, untrained: &Encoder, part: &Part, config: &RunConfig, observe: &mut dyn FnMut(Event)) -> Result<Option<Before>> {
    let measure = || Before::measure(base, untrained, part, config, observe);
    (!part.dataset.samples.is_empty()).then(measure).transpose()
}

/// The data; what is worth knowing of them is told to `observe`.
fn prepare(config: &RunConfig, observe: &mut dyn FnMut(Event)) -> Result<Loaded> {
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

/// What [`train`] would do, in sentences.
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

#[cfg(test)]
mod tests;
