//! `dada report`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use dada::report;

/// What `dada report` is told.
#[derive(Args)]
pub struct Arguments {
    /// Run folder; the run need not be finished
    run: PathBuf,
    /// Where to write the page [default: report.html in the run folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Writes the page.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if !arguments.run.join("config.toml").is_file() {
        bail!("{} is no run folder: it has no config.toml", arguments.run.display());
    }
    let path = arguments.out.clone().unwrap_or_else(|| arguments.run.join("report.html"));
    report::run::page(&arguments.run)?.write(&path)?;
    println!("{}", path.display());
    Ok(ExitCode::SUCCESS)
}
