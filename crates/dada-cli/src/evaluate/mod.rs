//! `dada evaluate`

mod cost;
mod html;
pub mod measured;
mod several;

use std::collections::HashSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use dada::evaluate::approximate::Approximation;
use dada::evaluate::clustering::agreement;
use dada::evaluate::definitions::Scored;
use dada::evaluate::intervals::{Bootstrap, Paired, paired_bootstrap};
use dada::evaluate::kmeans::{KMeans, k_means};
use dada::evaluate::{Definitions, Retrieval, Task};
use serde_json::{Map, Value, json};

use super::progress::Bar;
use super::table;
use measured::{From, Measured};

/// Fewest resamples that an interval is made of.
const LEAST_RESAMPLES: usize = 20;

/// What `dada evaluate` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    from: From,
    /// The k of recall@k
    #[arg(long, value_name = "K,…", value_delimiter = ',', default_values_t = [1, 2, 4, 8])]
    k: Vec<usize>,
    /// Score the same ranking as other tools define their metrics
    #[arg(long, value_name = "WHOSE", conflicts_with_all = ["against", "html", "per_class", "bootstrap"])]
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

/// Whose definitions to show.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Whose {
    Ours,
    Reference,
    Pml,
    Oml,
    Inshop,
    All,
}

/// Evaluates.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(few) = arguments.bootstrap.filter(|&resamples| resamples < LEAST_RESAMPLES) {
        bail!("--bootstrap is {few}, expected at least {LEAST_RESAMPLES}: the ends of a 95 % interval are the outermost fortieths");
    }
    if arguments.from.named().len() > 1 {
        several::run(arguments)?;
        return Ok(ExitCode::SUCCESS);
    }
    let measured = arguments.from.measure()?.swap_remove(0);
    if let Some(whose) = arguments.definitions {
        let ranking = Bar::new("ranking");
        let scored = measured.task.compare(&arguments.k, &ranking.observer())?.into_iter();
        drop(ranking);
        show_definitions(&scored.filter(|scored| whose.includes(scored.definitions)).collect::<Vec<_>>(), arguments.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(named) = &arguments.approximate {
        cost::run(&measured.task, named, &arguments.k, arguments.seed, arguments.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let clusters = if arguments.clusters { cluster(&measured.task, arguments.seed)? } else { Vec::new() };
    let wanted = arguments.bootstrap.map(|resamples| Bootstrap { resamples, seed: arguments.seed });
    let bootstrap = wanted.unwrap_or(Bootstrap { seed: arguments.seed, ..Bootstrap::default() });
    let ranking = Bar::new("ranking");
    let retrieval = match &arguments.html {
        Some(path) => html::write(path, &measured, &arguments.k, &clusters, bootstrap, &ranking.observer())?,
        None => measured.task.retrieval(&arguments.k, &ranking.observer())?,
    };
    drop(ranking);
    if let Some(path) = &arguments.per_class {
        std::fs::write(path, per_class(&retrieval, &measured.classes)).with_context(|| path.display().to_string())?;
    }
    let result = Measurement {
        figures: retrieval.means.entries().into_iter().chain(clusters).collect(),
        intervals: wanted.map(|wanted| retrieval.intervals(&wanted)).transpose()?,
        against: arguments.against.as_deref().map(|other| compare(&measured, &retrieval, other, &bootstrap)).transpose()?,
        retrieval,
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&result.to_json())?);
    } else {
        result.show();
    }
    if let Some(path) = &arguments.html {
        eprintln!("{}: open it in a browser", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// What is printed.
struct Measurement {
    retrieval: Retrieval,
    figures: Vec<(String, f64)>,
    /// In the order of the retrieval's figures.
    intervals: Option<Vec<(f64, f64)>>,
    /// The other model's retrieval, and the differences to it.
    against: Option<(Retrieval, Vec<Paired>)>,
}

impl Measurement {
    fn show(&self) {
        let names = || self.retrieval.means.entries().into_iter().map(|(name, _)| name);
        let mut rows: Vec<(&str, Vec<(String, f64)>)> = vec![("", self.figures.clone())];
        let mut ends = |intervals: &[(f64, f64)]| {
            rows.push(("95 % from", names().zip(intervals.iter().map(|interval| interval.0)).collect()));
            rows.push(("to", names().zip(intervals.iter().map(|interval| interval.1)).collect()));
        };
        if let Some(intervals) = &self.intervals {
            ends(intervals);
        }
        let rows: Vec<(&str, &[(String, f64)])> = rows.iter().map(|(name, row)| (*name, row.as_slice())).collect();
        println!("{}", table::columns(&rows));
        if let Some((other, differences)) = &self.against {
            let part = |of: &dyn Fn(&Paired) -> f64| names().zip(differences.iter().map(of)).collect::<Vec<_>>();
            let rows = [
                ("this", self.retrieval.means.entries()),
                ("other", other.means.entries()),
                ("this - other", part(&|paired| paired.difference)),
                ("95 % from", part(&|paired| paired.interval.0)),
                ("to", part(&|paired| paired.interval.1)),
            ];
            let rows: Vec<(&str, &[(String, f64)])> = rows.iter().map(|(name, row)| (*name, row.as_slice())).collect();
            println!("\n{}", table::columns(&rows));
            let clear: Vec<String> = names().zip(differences).filter(|(_, paired)| paired.is_clear()).map(|(name, _)| name).collect();
            match clear.is_empty() {
                true => println!("no difference is larger than other queries would make it"),
                false => println!("larger than other queries would make it: {}", clear.join(", ")),
            }
        }
        if self.retrieval.without_match() > 0 {
            let (lone, all) = (self.retrieval.without_match(), self.retrieval.queries.len());
            println!("{lone} of {all} queries have nothing to find and enter no mean");
        }
    }

    fn to_json(&self) -> Value {
        let mut object: Map<String, Value> = self.figures.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
        object.insert("queries".into(), self.retrieval.queries.len().into());
        object.insert("scored_queries".into(), self.retrieval.scored().into());
        object.insert("queries_without_match".into(), self.retrieval.without_match().into());
        let names = || self.retrieval.means.entries().into_iter().map(|(name, _)| name);
        if let Some(intervals) = &self.intervals {
            object.insert("intervals".into(), names().zip(intervals.iter().map(|interval| json!(interval))).collect::<Map<_, _>>().into());
        }
        if let Some((other, differences)) = &self.against {
            let differences: Map<_, _> = names().zip(differences.iter().map(|paired| json!(paired))).collect();
            object.insert("against".into(), json!({ "figures": other, "differences": differences }));
        }
        object.into()
    }
}

/// The other model on the same queries; differences are this one minus the other.
fn compare(measured: &Measured, retrieval: &Retrieval, other: &Path, bootstrap: &Bootstrap) -> Result<(Retrieval, Vec<Paired>)> {
    let task = measured.against(other)?;
    let ranking = Bar::new("ranking the other");
    let found = task.retrieval(&retrieval.ks(), &ranking.observer())?;
    let differences = paired_bootstrap(&found.figures(), &retrieval.figures(), retrieval.means.entries().len(), bootstrap)?;
    Ok((found, differences))
}

/// `class,queries,recall@1,…` with a line for each class, by falling map@r.
fn per_class(retrieval: &Retrieval, classes: &[String]) -> String {
    let mut text = "class,queries".to_owned();
    for (name, _) in retrieval.means.entries() {
        let _infallible = write!(text, ",{name}");
    }
    let mut order: Vec<_> = retrieval.classes.iter().collect();
    order.sort_by(|a, b| b.means.map_at_r.total_cmp(&a.means.map_at_r));
    for class in order {
        let name = &classes[class.label];
        let name = if name.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.clone() };
        let _infallible = write!(text, "\n{name},{}", class.queries);
        for (_, value) in class.means.entries() {
            let _infallible = write!(text, ",{value:.6}");
        }
    }
    text + "\n"
}

fn cluster(task: &Task, seed: u64) -> Result<Vec<(String, f64)>> {
    let classes = task.labels().iter().collect::<HashSet<_>>().len();
    let config = KMeans { seed, ..KMeans::default() };
    let passes = Bar::new("clustering");
    let found = agreement(task.labels(), &k_means(task.embeddings(), classes, &config, &passes.observer())?.assignment)?;
    Ok([("nmi", found.nmi), ("ami", found.ami), ("f1", found.f1)].map(|(name, value)| (name.to_owned(), value)).to_vec())
}

fn show_definitions(scored: &[Scored], json: bool) -> Result<()> {
    if json {
        let object: Map<String, Value> = scored
            .iter()
            .map(|scored| {
                let means: Map<String, Value> = scored.means.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
                (scored.definitions.name().to_owned(), means.into())
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&object)?);
        return Ok(());
    }
    let rows: Vec<(&str, &[(String, f64)])> = scored.iter().map(|scored| (scored.definitions.name(), scored.means.as_slice())).collect();
    println!("{}\n", table::columns(&rows));
    for Scored { definitions, .. } in scored {
        println!("{}: {}", definitions.name(), definitions.explanation());
    }
    Ok(())
}

impl Whose {
    fn includes(self, definitions: Definitions) -> bool {
        match self {
            Self::All => true,
            Self::Ours => definitions == Definitions::Ours,
            Self::Reference => definitions == Definitions::Reference,
            Self::Pml => definitions == Definitions::Pml,
            Self::Oml => definitions == Definitions::Oml,
            Self::Inshop => definitions == Definitions::Inshop,
        }
    }
}
