//! `dada compare`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use clap::Args;
use dada::compare::grid::{self, Arm};
use dada::compare::preset::Preset;
use dada::compare::run::{self, Run};
use dada::compare::table;
use dada::config::{self, EMOJI};
use dada::report::comparison;
use dada::train;

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
    let base = match &arguments.config {
        Some(path) => config::read_layer(path)?,
        None => toml::from_str(EMOJI).context("the embedded configuration")?,
    };
    let mut arms = match arguments.preset {
        Some(preset) => preset.arms(&grid::resolve(&base, &arguments.settings)?.loss),
        None if arguments.arm.is_empty() => grid::arms(&arguments.vary)?,
        None => grid::named(&arguments.arm)?,
    };
    let is_weight = |setting: &String| setting.starts_with("loss.weight");
    if arguments.preset.is_some() && arguments.settings.iter().any(is_weight) {
        // Of a preset's losses each has a weight of its own, unless one is given for all.
        arms.iter_mut().for_each(|arm| arm.settings.retain(|setting| !is_weight(setting)));
    }
    let out = arguments.out.clone().unwrap_or_else(|| default_folder(arguments));
    let seeds = grid::seeds(&arguments.seeds)?;
    if arguments.folds.is_some_and(|folds| folds < 2) {
        bail!("--folds is {}, expected at least 2", arguments.folds.unwrap_or_default());
    }
    if arguments.jobs == 0 {
        bail!("--jobs is 0, expected at least 1");
    }
    let settings = |arm: &Arm, seed| grid::settings(&arguments.settings, arm, seed, arguments.folds);
    grid::check_settings(arguments.settings.iter().chain(arms.iter().flat_map(|arm| &arm.settings)), arguments.folds)?;
    let (arms, left_out) = grid::distinct(arms, arguments.preset.is_some(), |arm| grid::resolve(&base, &settings(arm, seeds[0])))?;
    left_out.iter().for_each(|told| eprintln!("{told}"));
    let folder = |arm: &Arm| run::folder(&out, arm, seeds[0]);
    if let Some((_, arm)) = arms.iter().enumerate().find(|(at, arm)| arms[..*at].iter().any(|other| folder(other) == folder(arm))) {
        bail!("arm {:?} would have the folder of an earlier one, {}: choose another name", arm.title(), folder(arm).display());
    }
    let known = train::metric_names();
    if let Some(unknown) = arguments.metrics.iter().find(|metric| !known.contains(metric)) {
        bail!("--metrics has {unknown:?}, expected some of {}", known.join(", "));
    }

    // An interrupted run stops by itself, with a checkpoint; only then does this program.
    let stop = interrupt::listen()?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    // Seed by seed, so that a comparison that is cut short has whole pairs.
    let wanted: Vec<(u64, usize)> = seeds.iter().flat_map(|&seed| (0..arms.len()).map(move |arm| (seed, arm))).collect();
    let threads = run::threads_each(arguments.jobs);
    let make = |number: usize, &(seed, arm): &(u64, usize)| -> Result<Run> {
        let (index, arm) = (arm, &arms[arm]);
        eprintln!("{}/{}  {}  seed {seed}", number + 1, wanted.len(), arm.title());
        let folder = run::folder(&out, arm, seed);
        let config = grid::resolve(&base, &settings(arm, seed))?;
        let metrics = run::make(&program, &config, threads, &folder)?;
        let run = Run { arm: index, seed, folder, metrics, on_fold: arguments.folds.is_some() };
        let shown = arguments.metrics.iter().filter_map(|name| run.figures().get(name).map(|value| format!("{name} {value:.4}")));
        eprintln!("    {}  seed {seed}  {}  {:.1} s", arm.title(), shown.collect::<Vec<_>>().join("  "), run.metrics.seconds);
        Ok(run)
    };
    let made = run::at_once(arguments.jobs, &wanted, &stop, make);
    if stop.load(Ordering::Relaxed) {
        eprintln!("stopped; the same command goes on");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let mut runs = made?;
    runs.sort_by_key(|run| run.arm);

    let rows = table::rows(&arms, &runs, &arguments.metrics)?;
    let made = format!("dada {}", std::env::args().skip(1).map(quoted).collect::<Vec<_>>().join(" "));
    table::write(&out, &format!("`{made}`"), &rows, &arms, &runs)?;
    comparison::page(&made, &rows, &arms, &runs)?.write(&out.join("comparison.html"))?;
    println!("\n{}", table::markdown(&rows));
    println!(
        "measured {}; seeds: {}; ± is the standard deviation over them, a difference is from {} on the same seed and classes",
        table::measured(&runs),
        seeds.len(),
        grid::compared_with(&arms)
    );
    println!("{}", out.join("comparison.html").display());
    Ok(ExitCode::SUCCESS)
}

/// `runs/compare-NAME` and the preset's name, the same whenever the command is: it goes on with what is there.
fn default_folder(arguments: &Arguments) -> PathBuf {
    let stem = arguments.config.as_deref().and_then(Path::file_stem).map_or("emoji".into(), |stem| stem.to_string_lossy());
    let preset = arguments.preset.map_or(String::new(), |preset| format!("-{}", preset.name()));
    PathBuf::from("runs").join(format!("compare-{stem}{preset}"))
}

/// An argument as a shell takes it, so that the command in the tables can be run again.
fn quoted(argument: String) -> String {
    let plain = |character: char| character.is_alphanumeric() || "-_=.,:/@+%".contains(character);
    if !argument.is_empty() && argument.chars().all(plain) { argument } else { format!("'{}'", argument.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_shell_reads_back_what_was_given() {
        let cases =
            [("--vary", "--vary"), ("", "''"), ("a=[1,2]", "'a=[1,2]'"), ("none: x=1; y=2", "'none: x=1; y=2'"), ("it's", r"'it'\''s'")];
        for (given, expected) in cases {
            assert_eq!(quoted(given.to_owned()), expected);
        }
    }
}
