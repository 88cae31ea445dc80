//! `dada data`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use clap::{Args, Subcommand};
use dada::data::DataConfig;
use dada::data::check::check;
use dada::data::fetch::{Archive, ArchiveStatus, Way, fetch, offer, offers};

use super::progress::Counter;

const TEMPLATE: &str = "{msg}  {bar:30} {percent} %  {eta} left";

/// What `dada data` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Look for what would spoil a result: unreadable and duplicate pictures, classes in two parts, classes with one picture
    Check {
        /// emoji, or folder:PATH, csv:PATH, cub200:PATH, …
        source: DataConfig,
        /// Print JSON instead of a report
        #[arg(long)]
        json: bool,
    },
    /// Download a public data set, or say where it is to be had
    Fetch {
        /// Its name [default: show all]
        name: Option<String>,
        /// Where to put it
        #[arg(long, value_name = "FOLDER", default_value = "data")]
        out: PathBuf,
    },
}

/// Does it.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Command::Check { source, json } => inspect(source, *json),
        Command::Fetch { name: None, .. } => {
            for offer in offers() {
                println!("{}: {offer}", offer.name);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Fetch { name: Some(name), out } => {
            let offer = offer(name)?;
            if let Way::ByHand(_) = offer.way {
                print!("{offer}");
                return Ok(ExitCode::FAILURE);
            }
            eprint!("{offer}");
            let mut counter = Counter::new(TEMPLATE);
            let fetched = fetch(&offer, out, &mut |archive, status| show(&mut counter, archive, status));
            drop(counter);
            fetched?;
            println!("{name} is in {}", out.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Exit code 1 says that something was found.
fn inspect(source: &DataConfig, json: bool) -> Result<ExitCode> {
    let counter = Mutex::new(Counter::new(TEMPLATE));
    let report = check(source, &|done, total| {
        count(&mut counter.lock().unwrap_or_else(PoisonError::into_inner), "looking at pictures", done as u64, Some(total as u64));
    });
    drop(counter);
    let report = report?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(counter: &mut Counter, archive: &Archive, status: ArchiveStatus) {
    let folder = &archive.folder;
    match status {
        ArchiveStatus::Downloading(done, total) => count(counter, &format!("downloading {folder}"), done, total),
        ArchiveStatus::Verifying => eprintln!("verifying {folder}"),
        ArchiveStatus::Unpacking => eprintln!("unpacking {folder}"),
        ArchiveStatus::Present => eprintln!("{folder} is there already"),
    }
}

fn count(counter: &mut Counter, what: &str, done: u64, total: Option<u64>) {
    counter.set_message(what);
    counter.show(done, total, |_| format!("{what}: {done}{}", total.map_or(String::new(), |total| format!(" of {total}"))));
}
