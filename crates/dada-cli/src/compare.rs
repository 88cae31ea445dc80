//! `dada compare`

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;
use dada::compare::{Preset, grid, table};
use dada::measure::comparison::{Compared, Comparison, ComparisonEvent, Variants};
use dada::train::metric_names;

use super::configuration::{base_layer, name};
use super::interrupt::{self, INTERRUPTED};

/// What `dada compare` is told.
#[derive(Args)]
pub struct Arguments {
    /// Configuration file; without one, the embedded emoji
    config: Option<PathBuf>,
    /// A value to vary, with what it becomes; given several times, every combination is run. The first is what the others are compared with.
    /// Without any, one configuration is run with every seed
    #[arg(long, value_name = "SECTION.KEY=A,B,…")]
    vary: Vec<String>,
    /// A comparison by name: ablation, deviations, discriminator-size, mixing, losses, classes or cost
    #[arg(long, value_name = "NAME", conflicts_with_all = ["vary", "arm"])]
    preset: Option<Preset>,
    /// One variant with a name; given several times, the first is what the others are compared with
    #[arg(long, value_name = "NAME: SECTION.KEY=VALUE; …", conflicts_with = "vary")]
    arm: Vec<String>,
    /// Overrides one value of the configuration in all runs
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    settings: Vec<String>,
    /// Seeds, such as 0..5 or 0,3,7; runs are paired by seed
    #[arg(long, default_value = "0..5")]
    seeds: String,
    /// Divides the training classes into so many folds; seed s leaves out fold s modulo this, which its arms are compared on [default: the
    /// configuration's validation classes, and compared on its test classes]
    #[arg(long, value_name = "K")]
    folds: Option<usize>,
    /// Runs at once, each with its share of the cores
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,
    /// What the table shows
    #[arg(long, value_name = "METRIC,…", value_delimiter = ',', default_values = ["recall@1", "map@r"])]
    metrics: Vec<String>,
    /// Folder for all runs and the tables; runs in it that are done are not made again [default: runs/compare-NAME, with the preset's name]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Compares.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let comparison = comparison(arguments)?;
    // An interrupted run stops by itself, with a checkpoint; only then does this program.
    let stop = interrupt::listen()?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let train = |config: &Path, folder: &Path| {
        let mut command = Command::new(&program);
        command.arg("train").arg(config).arg("--out").arg(folder).arg("--resume");
        command
    };
    match comparison.run(&train, &stop, &|event| show(event, &arguments.metrics))? {
        Some(compared) => {
            summarise(&compared, comparison.seeds.len());
            Ok(ExitCode::SUCCESS)
        }
        None => {
            eprintln!("stopped; the same command goes on");
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

fn comparison(arguments: &Arguments) -> Result<Comparison> {
    if let Some(folds) = arguments.folds.filter(|&folds| folds < 2) {
        bail!("--folds is {folds}, expected at least 2");
    }
    let Some(jobs) = NonZeroUsize::new(arguments.jobs) else {
        bail!("--jobs is 0, expected at least 1");
    };
    let comparison = Comparison {
        base: base_layer(arguments.config.as_deref())?,
        variants: match arguments.preset {
            Some(preset) => Variants::Preset(preset),
            None if arguments.arm.is_empty() => Variants::Vary(arguments.vary.clone()),
            None => Variants::Named(arguments.arm.clone()),
        },
        settings: arguments.settings.clone(),
        seeds: grid::seeds(&arguments.seeds)?,
        folds: arguments.folds.and_then(NonZeroUsize::new),
        jobs,
        metrics: arguments.metrics.clone(),
        out: arguments.out.clone().unwrap_or_else(|| default_folder(arguments)),
        command: format!("dada {}", std::env::args().skip(1).map(quoted).collect::<Vec<_>>().join(" ")),
    };
    if let Some(unknown) = comparison.unknown_metric() {
        bail!("--metrics has {unknown:?}, expected some of {}", metric_names().join(", "));
    }
    Ok(comparison)
}

/// `runs/compare-NAME` and the preset's name, the same whenever the command is: it goes on with what is there.
fn default_folder(arguments: &Arguments) -> PathBuf {
    let preset = arguments.preset.map_or(String::new(), |preset| format!("-{}", preset.name()));
    PathBuf::from("runs").join(format!("compare-{}{preset}", name(arguments.config.as_deref())))
}

fn show(event: ComparisonEvent, metrics: &[String]) {
    match event {
        ComparisonEvent::LeftOut(sentence) => eprintln!("{sentence}"),
        ComparisonEvent::Begun { number, of, arm, seed } => eprintln!("{}/{of}  {}  seed {seed}", number + 1, arm.title()),
        ComparisonEvent::Made { arm, run } => {
            let figures = metrics.iter().filter_map(|name| run.figures().get(name).map(|value| format!("{name} {value:.4}")));
            let figures = figures.collect::<Vec<_>>().join("  ");
            eprintln!("    {}  seed {}  {figures}  {:.1} s", arm.title(), run.seed, run.metrics.seconds);
        }
    }
}

fn summarise(compared: &Compared, seeds: usize) {
    println!("\n{}", table::markdown(&compared.rows));
    println!(
        "measured {}; seeds: {seeds}; ± is the standard deviation over them, a difference is from {} on the same seed and classes",
        table::measured(&compared.runs),
        grid::compared_with(&compared.arms)
    );
    println!("{}", compared.page.display());
}

/// An argument as a shell takes it, so that the command in the tables can be run again.
fn quoted(argument: String) -> String {
    // Settings and lists are left readable; the library would put every `=` between quotes.
    let is_plain = |character: char| character.is_alphanumeric() || "-_=.,:/@+%".contains(character);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument;
    }
    shlex::try_quote(&argument).expect("no argument of a process has a NUL").into_owned()
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_shell_reads_back_what_was_given() {
        let cases =
            [("--vary", "--vary"), ("", "''"), ("a=[1,2]", "'a=[1,2]'"), ("none: x=1; y=2", "'none: x=1; y=2'"), ("it's", "\"it's\"")];
        for (given, expected) in cases {
            assert_eq!(quoted(given.to_owned()), expected);
            assert_eq!(shlex::split(expected).unwrap(), [given]);
        }
    }
}
