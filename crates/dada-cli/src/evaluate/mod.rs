//! `dada evaluate`

mod show;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use dada::data::DataConfig;
use dada::device::DeviceKind;
use dada::evaluate::Definitions;
use dada::evaluate::approximate::Approximation;
use dada::measure::approximations::measure_approximations;
use dada::measure::ensemble::evaluate_together;
use dada::measure::evaluation::{LEAST_RESAMPLES, Options, evaluate, per_class};
use dada::measure::{Input, Models, RoleFiles, Vectors};
use dada::progress::{Stage, begin};

use super::progress::StageBar;

/// What `dada evaluate` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    from: From,
    /// The k of recall@k
    #[arg(long, value_name = "K,…", value_delimiter = ',', default_values_t = [1, 2, 4, 8])]
    k: Vec<usize>,
    /// Score the same ranking as other tools define their metrics
    #[arg(long, value_name = "WHOSE", value_parser = whose(), conflicts_with_all = ["against", "html", "per_class", "bootstrap"])]
    definitions: Option<Whose>,
    /// Cluster by k-means, and say how well the clusters agree with the classes
    #[arg(long)]
    clusters: bool,
    /// 95 % intervals over queries, from this many resamples [default: none; 1000 with --html and --against]
    #[arg(long, value_name = "RESAMPLES", num_args = 0..=1, default_missing_value = "1000")]
    bootstrap: Option<usize>,
    /// Compare with another model on the same pictures, or with other embeddings of the same rows, query by query
    #[arg(long, value_name = "MODEL|FILE")]
    against: Option<PathBuf>,
    /// What cheaper storage and search would lose: f16, bf16, int8, pca-64, hnsw [default: all of them]
    #[arg(long, value_name = "HOW,…", value_delimiter = ',', num_args = 0.., conflicts_with_all = ["definitions", "html", "against", "bootstrap"])]
    approximate: Option<Vec<Approximation>>,
    /// Seed of resampling, clusters and the samples of a page
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write a page with curves, similarities, classes, the worst queries and maps
    #[arg(long, value_name = "PAGE.html")]
    html: Option<PathBuf>,
    /// Write the metrics of each class as a list
    #[arg(long, value_name = "FILE.csv")]
    per_class: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Where the embeddings and labels come from.
#[derive(Args)]
struct From {
    /// Run folder or model directory; a run's own test classes are measured unless --data names others. Several are measured on the same
    /// pictures, each alone and all concatenated
    #[arg(value_name = "MODEL", required_unless_present_any = ["embeddings", "data"], conflicts_with = "embeddings")]
    models: Vec<PathBuf>,
    /// What to measure on: emoji, or folder:PATH, csv:PATH, features:PATH, cub200:PATH, …; all its pictures are one test set, or its
    /// queries and gallery where it names them
    #[arg(long, value_name = "SOURCE", conflicts_with = "embeddings")]
    data: Option<DataConfig>,
    /// Anybody's embeddings, .npy, .safetensors or .parquet; several are of the same rows, measured as several models are
    #[arg(long, value_name = "FILE", num_args = 1..)]
    embeddings: Vec<PathBuf>,
    /// Labels of the rows, .csv, .npy or .txt [default: those beside the embeddings]
    #[arg(long, value_name = "FILE", requires = "embeddings")]
    labels: Option<PathBuf>,
    /// Rows that are searched for, .npy or .txt, from 0 [default: all, each in all others]
    #[arg(long, value_name = "FILE", requires_all = ["embeddings", "gallery"])]
    query: Option<PathBuf>,
    /// Rows that are searched
    #[arg(long, value_name = "FILE", requires = "query")]
    gallery: Option<PathBuf>,
    /// Where to compute embeddings
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    device: DeviceKind,
}

impl From {
    fn input(&self) -> Input {
        if self.embeddings.is_empty() {
            return Input::Models(Models { folders: self.models.clone(), data: self.data.clone(), device: self.device });
        }
        let roles = self.query.clone().zip(self.gallery.clone()).map(|(query, gallery)| RoleFiles { query, gallery });
        Input::Vectors(Vectors { embeddings: self.embeddings.clone(), labels: self.labels.clone(), roles })
    }
}

/// Whose definitions to show.
#[derive(Clone, Copy, PartialEq)]
enum Whose {
    One(Definitions),
    All,
}

/// The library's names, and one for all of them.
fn whose() -> impl TypedValueParser<Value = Whose> {
    let names = Definitions::ALL.map(Definitions::name).into_iter().chain(["all"]);
    PossibleValuesParser::new(names).map(|name| {
        let found = Definitions::ALL.into_iter().find(|definitions| definitions.name() == name);
        found.map_or(Whose::All, Whose::One)
    })
}

impl Arguments {
    fn options(&self) -> Options {
        Options {
            ks: self.k.clone(),
            clusters: self.clusters,
            resamples: self.bootstrap,
            against: self.against.clone(),
            page: self.html.is_some(),
            seed: self.seed,
        }
    }
}

/// Evaluates.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(few) = arguments.bootstrap.filter(|&resamples| resamples < LEAST_RESAMPLES) {
        bail!("--bootstrap is {few}, expected at least {LEAST_RESAMPLES}: the ends of a 95 % interval are the outermost fortieths");
    }
    let input = arguments.from.input();
    let models = input.named().len();
    if models > 1 {
        refuse_what_is_of_one(arguments, models)?;
    }
    let bar = StageBar::default();
    let observer = |message| bar.show(message);
    let subjects = input.subjects(&observer)?;
    if models > 1 {
        let found = evaluate_together(&subjects, &arguments.options(), &observer)?;
        drop(bar);
        show::ensemble(&found, arguments.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let subject = &subjects[0];
    if let Some(whose) = arguments.definitions {
        let mut scored = subject.task.compare(&arguments.k, &begin(&observer, Stage::Ranking))?;
        scored.retain(|scored| whose == Whose::All || whose == Whose::One(scored.definitions));
        drop(bar);
        show::definitions(&scored, arguments.json)?;
    } else if let Some(named) = &arguments.approximate {
        let found = measure_approximations(&subject.task, named, &arguments.k, arguments.seed, &observer)?;
        drop(bar);
        show::approximations(&found, arguments.json)?;
    } else {
        let found = evaluate(subject, &arguments.options(), &observer)?;
        drop(bar);
        if let (Some(path), Some(page)) = (&arguments.html, &found.page) {
            page.write(path)?;
        }
        if let Some(path) = &arguments.per_class {
            fs::write(path, per_class(&found.retrieval, &subject.classes)).with_context(|| path.display().to_string())?;
        }
        show::evaluation(&found, arguments.json)?;
        if let Some(path) = &arguments.html {
            eprintln!("{}: open it in a browser", path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What looks into one model's ranking has no answer for several, and is not left out without a word.
fn refuse_what_is_of_one(arguments: &Arguments, models: usize) -> Result<()> {
    let flags = [
        ("--definitions", arguments.definitions.is_some()),
        ("--bootstrap", arguments.bootstrap.is_some()),
        ("--against", arguments.against.is_some()),
        ("--approximate", arguments.approximate.is_some()),
        ("--html", arguments.html.is_some()),
        ("--per-class", arguments.per_class.is_some()),
    ];
    for (flag, is_given) in flags {
        if is_given {
            bail!("{flag} is for one model: found {models} to measure");
        }
    }
    Ok(())
}
