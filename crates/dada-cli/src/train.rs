//! `dada train`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use dada::config::{self, RunConfig};
use dada::device::DeviceKind;
use dada::report;
use dada::train::{self, Metrics, Outcome};
use toml::{Table, Value};

use super::configuration::{base_layer, name};
use super::interrupt::{self, INTERRUPTED};
use super::progress::TrainingProgress;
use super::table;

/// What `dada train` is told.
#[derive(Args)]
pub struct Arguments {
    /// Configuration file; without one, the embedded emoji
    config: Option<PathBuf>,
    /// Overrides one value of the configuration
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    settings: Vec<String>,
    /// Run folder [default: runs/ and the configuration's name, numbered]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Go on from the last checkpoint of the run folder
    #[arg(long)]
    resume: bool,
    /// The same as --set seed=N
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The same as --set device=NAME
    #[arg(long, value_name = "NAME")]
    device: Option<DeviceKind>,
    /// Show what would be done, and the whole configuration, and stop
    #[arg(long)]
    dry_run: bool,
}

/// Trains.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let config = RunConfig::resolve(&layers(arguments)?)?;
    if arguments.dry_run {
        println!("{}", config.to_toml());
        for line in train::plan(&config)? {
            eprintln!("{line}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let folder = match &arguments.out {
        Some(folder) => folder.clone(),
        None => default_folder(arguments.config.as_deref(), arguments.resume),
    };
    let stop = interrupt::listen()?;
    eprintln!("run folder {}", folder.display());
    let mut progress = TrainingProgress::new();
    let outcome = train::train(&config, &folder, arguments.resume, &stop, &mut |event| progress.show(event));
    progress.finish();
    match outcome? {
        Outcome::Finished(metrics) => {
            report::run::page(&folder)?.write(&folder.join("report.html"))?;
            summarise(&folder, &metrics);
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Stopped(at) => {
            eprintln!(
                "stopped before epoch {}, step {}; the same command with --resume --out {} goes on",
                at.epoch + 1,
                at.step,
                folder.display()
            );
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

fn layers(arguments: &Arguments) -> Result<Vec<Table>> {
    let mut layers = vec![base_layer(arguments.config.as_deref())?];
    for setting in &arguments.settings {
        layers.push(config::parse_setting(setting)?);
    }
    if let Some(seed) = arguments.seed {
        let seed = i64::try_from(seed).context("--seed")?;
        layers.push(Table::from_iter([("seed".to_owned(), Value::Integer(seed))]));
    }
    if let Some(device) = &arguments.device {
        layers.push(Table::from_iter([("device".to_owned(), Value::try_from(device).context("--device")?)]));
    }
    Ok(layers)
}

/// `runs/NAME`, or the first `runs/NAME-2`, `-3`, … that is free; to resume, the last that is not.
fn default_folder(config: Option<&Path>, resume: bool) -> PathBuf {
    let first = Path::new("runs").join(name(config));
    let (mut free, mut taken) = (first.clone(), first);
    let mut number = 1;
    while free.exists() {
        number += 1;
        taken = free;
        free = Path::new("runs").join(format!("{}-{number}", name(config)));
    }
    if resume { taken } else { free }
}

fn summarise(folder: &Path, metrics: &Metrics) {
    let mut columns = vec![("untrained", &metrics.untrained), ("trained", &metrics.test)];
    if let Some(frozen) = &metrics.frozen {
        columns.insert(0, ("frozen features", frozen));
    }
    if !metrics.test.is_empty() {
        println!("\n{}\n", table::render(&columns));
    }
    println!("{}", metrics.about());
    match metrics.best_epoch {
        Some(_) if metrics.validation.is_empty() => {}
        Some(epoch) => println!("the best of the epochs by validation is {}", epoch + 1),
        None => println!("no epoch was better on the validation classes than the encoder before training, which is what was kept"),
    }
    println!("{:.0} s of training; how it went: {}", metrics.seconds, folder.join("report.html").display());
    let neighbours = folder.join("neighbours.png");
    if neighbours.is_file() {
        println!("queries and what was found: {}", neighbours.display());
    }
    println!("model: {}", folder.join("model").display());
}
