//! A run while it is going.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use serde_json::json;

use crate::config::RunConfig;
use crate::cost::Cost;
use crate::data::sampler::{SamplerConfig, epoch_batches};
use crate::data::{Dataset, Loaded, Split};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::encoder::Encoder;
use crate::model::layers::Initializer;
use crate::roles::Roles;
use crate::train::artifacts::{self, figures};
use crate::train::batches::{Batch, Batches};
use crate::train::checkpoint::{self, Best, Header};
use crate::train::diagnose::Diagnostics;
use crate::train::folder;
use crate::train::frozen::FrozenNetwork;
use crate::train::journal::{self, Journal};
use crate::train::learner::Learner;
use crate::train::losses::LossMonitor;
use crate::train::metrics::{Figures, Metrics};
use crate::train::observer::{Event, Observer};
use crate::train::prepare::{fitting, prepare};
use crate::train::schedule::{At, Clock};
use crate::train::split_data::SplitData;
use crate::train::start::{self, Before};
use crate::train::step::{self, Context, Record};

/// A run between two epochs. While it lives, its folder belongs to it.
pub struct Session<'a> {
    config: &'a RunConfig,
    folder: PathBuf,
    _lock: File,
    device: Device,
    network: FrozenNetwork<'a>,
    train: SplitData,
    validation: SplitData,
    test: (Dataset, Option<Roles>),
    sampler: SamplerConfig,
    clock: Clock,
    /// The encoder as training starts from it.
    untrained: Encoder,
    before: Option<Before>,
    learner: Learner,
    losses: LossMonitor,
    at: At,
    best: Option<Best>,
    /// The last recorded terms.
    record: Record,
    journal: Journal,
    diagnostics: Option<Diagnostics<'a>>,
    /// Seconds of training before this process.
    seconds: f64,
    started: Instant,
}

/// What a run folder was opened to.
pub enum Opened<'a> {
    /// A run that goes on.
    Going(Box<Session<'a>>),
    /// A run that was finished before, with what its `metrics.json` says.
    Finished(Box<Metrics>),
}

/// How an epoch ended.
pub enum Epoch<'a> {
    /// With a checkpoint; the run goes on.
    Done(Box<Session<'a>>),
    /// On request, with a checkpoint of the next step.
    Stopped(At),
}

impl<'a> Session<'a> {
    /// Takes the folder, reads the data, makes or loads the network, and goes back to the folder's last checkpoint if the run is resumed. A run
    /// that cannot begin leaves nothing behind.
    ///
    /// # Errors
    /// For a configuration without sense, a folder that is in use or holds another run, data that cannot be read or are too few, weights that do
    /// not fit, and a checkpoint of other classes.
    pub fn open(config: &'a RunConfig, folder: &Path, resume: bool, observe: Observer) -> Result<Opened<'a>> {
        config.check()?;
        let (lock, is_new) = folder::claim(folder, config, resume)?;
        if let Some(metrics) = Metrics::read(folder)? {
            return Ok(Opened::Finished(Box::new(metrics)));
        }
        let opened = Self::begin(config, folder, lock, resume, observe);
        if opened.is_err() && is_new && !folder.join("journal.jsonl").exists() {
            folder::leave(folder);
        }
        Ok(Opened::Going(Box::new(opened?)))
    }

    fn begin(config: &'a RunConfig, folder: &Path, lock: File, resume: bool, observe: Observer) -> Result<Self> {
        let device = config.device.open();
        let Loaded { splits, roles, .. } = prepare(config, observe)?;
        let mut init = Initializer::new(&device.clone().autodiff(), config.seed);
        let encoder = start::encoder(config, &mut init, observe)?;
        let network = FrozenNetwork::new(encoder.valid(), config, &device);
        let train = SplitData::new(&network, splits.train, None, config.train.views, observe)?;
        let validation = SplitData::new(&network, splits.validation, None, 0, observe)?;
        let untrained = start::with_head(encoder, &network, &train, observe)?;
        let classes = train.dataset.classes.len();
        let sampler = fitting(&config.sampler, classes, observe);
        let before = Before::measure(&network, &untrained.valid(), &validation, observe)?;
        if let Some(summary) = before.as_ref().and_then(Before::summary) {
            observe(Event::Note(summary));
        }

        let mut learner = Learner::new(untrained.clone(), config, classes, &mut init);
        let (mut at, mut best, mut seconds, mut journaled) = (At::default(), None, 0.0, 0);
        if let Some(directory) = checkpoint::find(folder, "last").filter(|_| resume) {
            let header = checkpoint::header(&directory)?;
            if header.classes != train.dataset.classes {
                return Err(Error::Data(format!("{}: the training classes are not those of the checkpoint", directory.display())));
            }
            learner = checkpoint::restore(&directory, &header, learner)?;
            (at, best, seconds, journaled) = (header.at, header.best, header.seconds, header.journal);
            observe(Event::Note(format!("resuming at epoch {}, step {}", at.epoch + 1, at.step)));
        } else if let Some(before) = before.as_ref().filter(|before| before.frozen.is_some()) {
            // No training may make of a pre-trained network less than it was.
            best = Some(Best { epoch: None, value: before.untrained.means.map_at_r });
            checkpoint::save(folder, "best", Header::new(at, best, 0, 0.0, &train.dataset.classes), &learner)?;
        }

        let steps = sampler.steps(train.dataset.samples.len());
        let journal = Journal::open(folder, journaled, steps)?;
        let started = Instant::now();
        let is_new = at == At::default();
        let first = if is_new { None } else { journal::first_finding(folder)? };
        let diagnostics = config.train.doctor.then(|| Diagnostics::new(&train, config, &device, first));
        let mut session = Self {
            config,
            folder: folder.to_owned(),
            _lock: lock,
            device,
            network,
            train,
            validation,
            test: (splits.test, roles),
            sampler,
            clock: Clock { epochs: config.train.epochs, warm_ups: config.warm_ups(), steps },
            untrained,
            before,
            learner,
            losses: LossMonitor::default(),
            at,
            best,
            record: Record::default(),
            journal,
            diagnostics,
            seconds,
            started,
        };
        if is_new {
            session.diagnose(observe)?;
        }
        Ok(session)
    }

    /// Whether all epochs are done.
    pub fn is_done(&self) -> bool {
        self.at.epoch >= self.config.train.epochs
    }

    /// Learns from every batch of the epoch that comes next, or from those that are left of it, measures, and saves.
    ///
    /// # Errors
    /// For a picture that cannot be read, for a loss that is not finite, and for a folder that cannot be written to.
    pub fn epoch(mut self, stop: &AtomicBool, observe: Observer) -> Result<Epoch<'a>> {
        let config = self.config;
        let pictures = epoch_batches(&self.train.dataset.labels(), &self.sampler, config.seed, self.at.epoch)?;
        for batch in Batches::new(&self.train, &self.network, pictures, self.at) {
            let Batch { input, labels } = batch?;
            let context =
                Context { config, clock: self.clock, at: self.at, recording: self.at.step.is_multiple_of(config.train.journal_every) };
            let (learner, record) = step::update(self.learner, input, &labels, context, &mut self.losses);
            self.learner = learner;
            if let Some(record) = record {
                self.losses.look()?;
                self.record = record;
                let At { epoch, step } = self.at;
                self.journal.write(&json!({ "epoch": epoch, "step": step, "steps": self.clock.steps, "terms": self.record }))?;
            }
            let Clock { epochs, steps, .. } = self.clock;
            observe(Event::Step { at: self.at, steps, epochs, pictures: labels.len(), record: &self.record });
            self.at.step += 1;
            if stop.load(Ordering::Relaxed) {
                self.losses.look()?;
                checkpoint::save(&self.folder, "last", self.header(), &self.learner)?;
                return Ok(Epoch::Stopped(self.at));
            }
        }
        self.losses.look()?;
        self.at = At { epoch: self.at.epoch + 1, step: 0 };
        self.diagnose(observe)?;
        let is_best = self.validate(observe)?;
        let header = self.header();
        if is_best || (self.is_done() && self.best.is_none()) {
            checkpoint::save(&self.folder, "best", header.clone(), &self.learner)?;
        }
        checkpoint::save(&self.folder, "last", header, &self.learner)?;
        Ok(Epoch::Done(Box::new(self)))
    }

    /// Measures the best epoch's encoder, exports it, and says that the run is finished.
    ///
    /// # Errors
    /// For a picture that cannot be read, and for a folder that cannot be written to.
    pub fn finish(mut self, observe: Observer) -> Result<Metrics> {
        let (config, device) = (self.config, self.device.clone());
        let (seconds, cost) = (self.seconds(), Cost::so_far());
        let best_epoch = self.best.map_or(Some(config.train.epochs - 1), |best| best.epoch);
        let chosen = checkpoint::find(&self.folder, "best");
        let chosen = chosen.ok_or_else(|| Error::Data(format!("{}: no best checkpoint", self.folder.display())))?;
        let chosen = checkpoint::restore_encoder(&chosen, self.untrained.clone())?.valid();
        let (test, roles) = std::mem::take(&mut self.test);
        let test = SplitData::new(&self.network, test, roles, 0, observe)?;
        let (measured_on, test) = if test.is_empty() { (Split::Validation, &self.validation) } else { (Split::Test, &test) };
        let before_test = Before::measure(&self.network, &self.untrained.valid(), test, observe)?;
        let (frozen, untrained) = before_test.map(|before| before.figures()).unwrap_or_default();
        let (validation_frozen, validation_untrained) = self.before.as_ref().map(Before::figures).unwrap_or_default();
        let last = self.learner.encoder.valid();
        let metrics = Metrics {
            measured_on,
            seen_classes: test.dataset.classes.iter().any(|class| self.train.dataset.classes.contains(class)),
            test: score(&chosen, test, config, &device)?,
            test_final: score(&last, test, config, &device)?,
            validation: score(&chosen, &self.validation, config, &device)?,
            validation_final: score(&last, &self.validation, config, &device)?,
            untrained,
            validation_untrained,
            frozen,
            validation_frozen,
            best_epoch,
            seconds,
            cpu_seconds: cost.cpu_seconds,
            peak_memory_gib: cost.peak_bytes / f64::from(1u32 << 30),
        };
        artifacts::neighbours(&chosen, test, config, &device, &self.folder.join("neighbours.png"))?;
        let model = Model { config: config.encoder.clone(), preprocess: config.preprocess.clone(), encoder: chosen };
        model.save(&self.folder.join("model"), &artifacts::model_card(config, &metrics))?;
        self.journal.write(&json!({ "epochs": config.train.epochs, "metrics": metrics }))?;
        metrics.write(&self.folder)?;
        Ok(metrics)
    }

    /// Seconds of training and validation so far.
    fn seconds(&self) -> f64 {
        self.seconds + self.started.elapsed().as_secs_f64()
    }

    fn header(&self) -> Header {
        Header::new(self.at, self.best, self.journal.length(), self.seconds(), &self.train.dataset.classes)
    }

    /// Lets the proxy doctor look at the learner after so many epochs.
    fn diagnose(&mut self, observe: Observer) -> Result<()> {
        let Some(diagnostics) = &mut self.diagnostics else { return Ok(()) };
        let (finding, alarms) = diagnostics.examine(&self.learner, self.at.epoch, &self.folder)?;
        for alarm in alarms {
            observe(Event::Note(alarm));
        }
        self.journal.write(&json!({ "epochs": self.at.epoch, "doctor": finding }))
    }

    /// Measures on the validation classes, if it is their turn, and says whether no epoch before was better.
    fn validate(&mut self, observe: Observer) -> Result<bool> {
        let is_due = self.is_done() || self.at.epoch.is_multiple_of(self.config.train.evaluate_every);
        if self.validation.is_empty() || !is_due {
            return Ok(false);
        }
        let epoch = self.at.epoch - 1;
        let embeddings = self.validation.embed(&self.learner.encoder.valid(), self.config, &self.device)?;
        let figures = self.validation.score(&embeddings)?;
        let value = figures.means.map_at_r;
        let is_best = self.best.is_none_or(|best| value > best.value);
        if is_best {
            self.best = Some(Best { epoch: Some(epoch), value });
        }
        self.journal.write(&json!({ "epoch": epoch, "validation": figures, "best": is_best, "seconds": self.seconds() }))?;
        observe(Event::Evaluated { epoch, validation: &figures, best: is_best });
        Ok(is_best)
    }
}

/// Figures of an encoder on a part of the data; none where there are no pictures.
fn score(encoder: &Encoder, split: &SplitData, config: &RunConfig, device: &Device) -> Result<Figures> {
    if split.is_empty() {
        return Ok(Figures::new());
    }
    Ok(figures(&split.score(&split.embed(encoder, config, device)?)?))
}
