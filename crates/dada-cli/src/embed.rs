//! `dada embed`

use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use dada::data::inputs;
use dada::device::DeviceKind;
use dada::embed::files::{Part, embed_files};
use dada::formats::vectors::{Writer, list_beside};
use dada::model::export::Model;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between plain lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// What `dada embed` is told.
#[derive(Args)]
pub struct Arguments {
    /// Run folder or model directory
    model: PathBuf,
    /// Pictures, folders of them (one folder a class), or lists (.csv: path,label)
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// Where to write: X.parquet, or X.npy or X.safetensors with paths and labels in X.csv beside it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Stop at a picture that cannot be read, and write nothing
    #[arg(long)]
    strict: bool,
    /// Where to compute
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    device: DeviceKind,
}

/// Embeds.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    // Before anything is computed: an output that cannot be written should be known now.
    if let Some(list) = list_beside(&arguments.out).filter(|list| arguments.inputs.iter().any(|input| same_file(input, list))) {
        bail!("{} is among the inputs and would be overwritten by the list of the embeddings: choose another --out", list.display());
    }
    let mut writer = Writer::create(&arguments.out)?;
    let inputs = inputs::collect(&arguments.inputs)?;
    let device = arguments.device.open();
    let model = Model::load(&model_folder(&arguments.model), &device)?;

    let started = Instant::now();
    let mut progress = Progress::new(inputs.len());
    let mut skipped = 0;
    embed_files(&model, &inputs, &device, |Part { indices, values, unreadable }| {
        let done = indices.len() + unreadable.len();
        for (_, error) in unreadable {
            if arguments.strict {
                return Err(error);
            }
            progress.line(&format!("skipped {error}"));
            skipped += 1;
        }
        let paths: Vec<_> = indices.iter().map(|&index| inputs[index].path.to_string_lossy()).collect();
        let rows: Vec<(&str, &str)> =
            indices.iter().zip(&paths).map(|(&index, path)| (path.as_ref(), inputs[index].label.as_str())).collect();
        writer.write(&values, &rows)?;
        progress.advance(done);
        Ok(())
    })?;
    progress.finish();
    if skipped == inputs.len() {
        bail!("none of {skipped} pictures could be read");
    }
    let rows = writer.finish().context("the embeddings were made but not written")?;
    let rate = inputs.len() as f64 / started.elapsed().as_secs_f64();
    eprintln!("{rows} embeddings in {}, {skipped} pictures skipped, {rate:.0} pictures/s", arguments.out.display());
    Ok(ExitCode::SUCCESS)
}

fn same_file(a: &Path, b: &Path) -> bool {
    a.canonicalize().ok().zip(b.canonicalize().ok()).is_some_and(|(a, b)| a == b)
}

/// The model directory of a run folder, or the folder itself.
pub fn model_folder(folder: &Path) -> PathBuf {
    let inside = folder.join("model");
    if inside.join("config.json").is_file() { inside } else { folder.to_owned() }
}

/// A bar on a terminal, plain lines elsewhere.
struct Progress {
    bar: ProgressBar,
    printed: Instant,
}

impl Progress {
    fn new(total: usize) -> Self {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {per_sec}  {eta} left").expect("the template is valid");
        let target = if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bar: ProgressBar::with_draw_target(Some(total as u64), target).with_style(style), printed: Instant::now() }
    }

    fn advance(&mut self, pictures: usize) {
        self.bar.inc(pictures as u64);
        if self.bar.is_hidden() && self.printed.elapsed() >= INTERVAL {
            self.printed = Instant::now();
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
            eprintln!("{done}/{total}  {:.0} pictures/s  about {:.0} s left", self.bar.per_sec(), self.bar.eta().as_secs_f64());
        }
    }

    fn line(&self, text: &str) {
        match self.bar.is_hidden() {
            true => eprintln!("{text}"),
            false => self.bar.println(text),
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
