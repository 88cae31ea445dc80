//! `dada data`

use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, Subcommand};
use dada::data::DataConfig;
use dada::data::check::check;
use dada::data::fetch::{Archive, Step, Way, fetch, offer, offers};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between plain lines.
const INTERVAL: Duration = Duration::from_secs(10);

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
            let mut progress = Progress::new();
            let done = fetch(&offer, out, &mut |archive, step| progress.fetched(archive, step));
            progress.bar.finish_and_clear();
            done?;
            println!("{name} is in {}", out.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Exit code 1 says that something was found.
fn inspect(source: &DataConfig, json: bool) -> Result<ExitCode> {
    let progress = Mutex::new(Progress::new());
    let report = check(source, &|done, total| {
        if let Ok(mut progress) = progress.lock() {
            progress.show("looking at pictures", done as u64, Some(total as u64));
        }
    });
    if let Ok(progress) = progress.into_inner() {
        progress.bar.finish_and_clear();
    }
    let report = report?;
    match json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => print!("{report}"),
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A bar on a terminal, plain lines elsewhere.
struct Progress {
    bar: ProgressBar,
    printed: Instant,
}

impl Progress {
    fn new() -> Self {
        let style = ProgressStyle::with_template("{msg}  {bar:30} {percent} %  {eta} left").expect("the template is valid");
        let target = if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bar: ProgressBar::with_draw_target(None, target).with_style(style), printed: Instant::now() }
    }

    fn fetched(&mut self, archive: &Archive, step: Step) {
        let folder = &archive.folder;
        match step {
            Step::Downloading(done, total) => self.show(&format!("downloading {folder}"), done, total),
            Step::Verifying => eprintln!("verifying {folder}"),
            Step::Unpacking => eprintln!("unpacking {folder}"),
            Step::Present => eprintln!("{folder} is there already"),
        }
    }

    fn show(&mut self, what: &str, done: u64, total: Option<u64>) {
        self.bar.set_message(what.to_owned());
        if let Some(total) = total {
            self.bar.set_length(total);
        }
        // Threads report in no order.
        self.bar.set_position(done.max(self.bar.position()));
        if self.bar.is_hidden() && self.printed.elapsed() >= INTERVAL {
            self.printed = Instant::now();
            eprintln!("{what}: {done}{}", total.map_or(String::new(), |total| format!(" of {total}")));
        }
    }
}
