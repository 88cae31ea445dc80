//! `dada embed`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use dada::device::DeviceKind;
use dada::embed::to_file::embed_to_file;
use dada::progress::Message;

use super::progress::Counter;

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
    let shown = Mutex::new((Instant::now(), Counter::new("{bar:30} {pos}/{len}  {per_sec}  {eta} left")));
    let observer = |message| {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Message::Stage(_) = message {
            // Reading the model is not what a rate is about.
            shown.0 = Instant::now();
        }
        show(&mut shown.1, message);
    };
    let made = embed_to_file(&arguments.model, &arguments.inputs, &arguments.out, arguments.strict, arguments.device, &observer)?;
    let (started, counter) = shown.into_inner().unwrap_or_else(PoisonError::into_inner);
    drop(counter);
    let rate = (made.rows + made.skipped) as f64 / started.elapsed().as_secs_f64();
    let out = arguments.out.display();
    eprintln!("{} embeddings in {out}, {} pictures skipped, {rate:.0} pictures/s", made.rows, made.skipped);
    Ok(ExitCode::SUCCESS)
}

fn show(counter: &mut Counter, message: Message) {
    match message {
        Message::Note(note) => counter.note(&note),
        Message::Stage(_) => {}
        Message::Done(done, total) => counter.show(done as u64, Some(total as u64), |bar| {
            format!("{done}/{total}  {:.0} pictures/s  about {:.0} s left", bar.per_sec(), bar.eta().as_secs_f64())
        }),
    }
}
