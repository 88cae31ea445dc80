//! `dada evaluate`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use dada::config::RunConfig;
use dada::data;
use dada::model::Model;
use dada::train;

use super::table;

/// What `dada evaluate` is told.
#[derive(Args)]
pub struct Arguments {
    /// Run folder
    run: PathBuf,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Evaluates.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let config = RunConfig::load(&arguments.run.join("config.toml"))?;
    let device = config.device.open();
    let model = Model::load(&arguments.run.join("model"), &device)?;
    let test = Arc::new(data::load(&config.data, config.seed)?.splits.test);
    let retrieval = train::evaluate(&model.encoder, &test, &config, &device)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&retrieval)?);
    } else {
        println!("{}", table::render(&[("test", &retrieval.means.entries().into_iter().collect())]));
    }
    Ok(ExitCode::SUCCESS)
}
