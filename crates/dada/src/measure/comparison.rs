//! A whole comparison: which runs it has, all of them made, and the tables and the page about them.

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use toml::Table;

use crate::compare::grid::{self, Arm};
use crate::compare::preset::Preset;
use crate::compare::run::{self, Launcher, Run};
use crate::compare::table::{self, Row};
use crate::config::RunConfig;
use crate::error::{AtPath, Error, Result};
use crate::report::comparison::page;
use crate::train::metric_names;

/// What to compare.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The configuration that every run starts from.
    pub base: Table,
    /// What becomes of it.
    pub variants: Variants,
    /// `section.key=value` in all runs.
    pub settings: Vec<String>,
    /// Runs are paired by seed.
    pub seeds: Vec<u64>,
    /// Into how many folds the training classes are divided: seed s leaves out fold s modulo this, which its arms are compared on. Without it,
    /// they are compared on the test classes.
    pub folds: Option<NonZeroUsize>,
    /// Runs at once, each with its share of the cores.
    pub jobs: NonZeroUsize,
    /// What the tables show.
    pub metrics: Vec<String>,
    /// Folder for all runs and the tables; runs in it that are done are not made again.
    pub out: PathBuf,
    /// How the comparison can be made again, for the tables: a command, for example.
    pub command: String,
}

/// Where the arms come from. The first is what the others are compared with.
#[derive(Clone, Debug)]
pub enum Variants {
    /// Every combination of values, see [`grid::arms`]; without any, one arm.
    Vary(Vec<String>),
    /// Arms by name, see [`grid::named`].
    Named(Vec<String>),
    /// A comparison that everybody makes.
    Preset(Preset),
}

/// What happens while a comparison is made.
pub enum ComparisonEvent<'a> {
    /// An arm of a preset is left out; the sentence says why.
    LeftOut(&'a str),
    /// A run begins, or is found done.
    Begun {
        /// Which, from 0.
        number: usize,
        /// Of how many.
        of: usize,
        /// Its arm.
        arm: &'a Arm,
        /// Its seed.
        seed: u64,
    },
    /// A run is done.
    Made {
        /// Its arm.
        arm: &'a Arm,
        /// What came out.
        run: &'a Run,
    },
}

/// A comparison that is complete.
pub struct Compared {
    /// What was varied.
    pub arms: Vec<Arm>,
    /// Arm by arm, each with the same seeds in the same order.
    pub runs: Vec<Run>,
    /// What was there before training, then each arm.
    pub rows: Vec<Row>,
    /// The page about it.
    pub page: PathBuf,
}

impl Comparison {
    /// Makes the runs that are not there yet, each in a process that `launcher` describes, and writes `comparison.md`, `.csv`, `.json` and
    /// `.html` into the folder. Nothing when `stop` was raised: a later call goes on. `observer` is told from any thread.
    ///
    /// # Errors
    /// Before anything runs, for arms, settings, seeds, folds and metrics that make no sense; then for a run that fails, and what the disk
    /// refuses.
    pub fn run(&self, launcher: Launcher, stop: &AtomicBool, observer: &(dyn Fn(ComparisonEvent) + Sync)) -> Result<Option<Compared>> {
        let (arms, left_out) = self.arms()?;
        left_out.iter().for_each(|sentence| observer(ComparisonEvent::LeftOut(sentence)));
        self.check(&arms)?;
        fs::create_dir_all(&self.out).at(&self.out)?;
        let made = self.runs(&arms, launcher, stop, observer);
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut runs = made?;
        runs.sort_by_key(|run| run.arm);
        let rows = table::rows(&arms, &runs, &self.metrics)?;
        table::write(&self.out, &format!("`{}`", self.command), &rows, &arms, &runs)?;
        let path = self.out.join("comparison.html");
        page(&self.command, &rows, &arms, &runs)?.write(&path)?;
        Ok(Some(Compared { arms, runs, rows, page: path }))
    }

    /// The first metric that no run has.
    pub fn unknown_metric(&self) -> Option<&str> {
        let known = metric_names();
        self.metrics.iter().find(|metric| !known.contains(metric)).map(String::as_str)
    }

    /// The arms, and a sentence about each that is left out.
    fn arms(&self) -> Result<(Vec<Arm>, Vec<String>)> {
        let arms = match &self.variants {
            Variants::Vary(values) => grid::arms(values)?,
            Variants::Named(texts) => grid::named(texts)?,
            Variants::Preset(preset) => self.preset(*preset)?,
        };
        grid::check_settings(self.settings.iter().chain(arms.iter().flat_map(|arm| &arm.settings)), self.folds.is_some())?;
        let Some(&seed) = self.seeds.first() else { return Err(Error::Config("no seed to compare on".to_owned())) };
        grid::distinct(arms, matches!(self.variants, Variants::Preset(_)), |arm| self.config(arm, seed))
    }

    fn preset(&self, preset: Preset) -> Result<Vec<Arm>> {
        let mut arms = preset.arms(&grid::resolve(&self.base, &self.settings)?.loss);
        // Of a preset's losses each has a weight of its own, unless one is given for all.
        if self.settings.iter().any(|setting| is_loss_weight(setting)) {
            for arm in &mut arms {
                arm.settings.retain(|setting| !is_loss_weight(setting));
            }
        }
        Ok(arms)
    }

    fn check(&self, arms: &[Arm]) -> Result<()> {
        let mut folders = Vec::new();
        for arm in arms {
            let folder = run::folder(&self.out, arm, 0);
            if folders.contains(&folder) {
                let folder = run::folder(&self.out, arm, self.seeds[0]);
                return Err(Error::Request(format!(
                    "arm {:?} would have the folder of an earlier one, {}: choose another name",
                    arm.title(),
                    folder.display()
                )));
            }
            folders.push(folder);
        }
        match self.unknown_metric() {
            Some(unknown) => Err(Error::Config(format!("found the metric {unknown:?}, expected some of {}", metric_names().join(", ")))),
            None => Ok(()),
        }
    }

    fn config(&self, arm: &Arm, seed: u64) -> Result<RunConfig> {
        grid::resolve(&self.base, &grid::settings(&self.settings, arm, seed, self.folds))
    }

    /// Seed by seed, so that a comparison that is cut short has whole pairs.
    fn runs(&self, arms: &[Arm], launcher: Launcher, stop: &AtomicBool, observer: &(dyn Fn(ComparisonEvent) + Sync)) -> Result<Vec<Run>> {
        let wanted: Vec<(u64, usize)> = self.seeds.iter().flat_map(|&seed| (0..arms.len()).map(move |arm| (seed, arm))).collect();
        let threads = run::threads_each(self.jobs.get());
        run::at_once(self.jobs.get(), &wanted, stop, |number, &(seed, index)| {
            let arm = &arms[index];
            observer(ComparisonEvent::Begun { number, of: wanted.len(), arm, seed });
            let folder = run::folder(&self.out, arm, seed);
            let metrics = run::make(launcher, &self.config(arm, seed)?, threads, &folder)?;
            let run = Run { arm: index, seed, folder, metrics, on_fold: self.folds.is_some() };
            observer(ComparisonEvent::Made { arm, run: &run });
            Ok(run)
        })
    }
}

fn is_loss_weight(setting: &str) -> bool {
    setting.starts_with("loss.weight")
}
