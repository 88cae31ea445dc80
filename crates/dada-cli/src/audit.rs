//! `dada audit`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use dada::data::pictures::decode::{MAX_FILE_BYTES, read_bounded};
use dada::data::{DataConfig, Dataset, Pixels, sources};
use dada::device::DeviceKind;
use dada::embeddings::Embeddings;
use dada::evaluate::Task;
use dada::evaluate::audit::{Audit, AuditedSplit, K, Leakage, SplitAudit, audit};
use dada::formats::{dump, labels};

use super::evaluate::measured::{embedded, no_run, run_data};

/// What `dada audit` is told.
#[derive(Args)]
pub struct Arguments {
    /// Run folder or model directory; a run's own splits are looked at unless --data names pictures
    #[arg(required_unless_present = "embeddings", conflicts_with = "embeddings")]
    model: Option<PathBuf>,
    /// What to embed and look at: emoji, or folder:PATH, csv:PATH, cub200:PATH, …
    #[arg(long, value_name = "SOURCE", conflicts_with = "embeddings")]
    data: Option<DataConfig>,
    /// Anybody's embeddings, .npy or .safetensors; several are the splits of one data set
    #[arg(long, value_name = "FILE", num_args = 1..)]
    embeddings: Vec<PathBuf>,
    /// Their labels, .csv, .npy or .txt, one file for each [default: those beside the embeddings]
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "embeddings")]
    labels: Vec<PathBuf>,
    /// The cosine from which on items of two splits are nearly the same
    #[arg(long, default_value_t = 0.98)]
    threshold: f64,
    /// The k of recall@k in ceilings
    #[arg(long, value_name = "K,…", value_delimiter = ',', default_values_t = [1, 8])]
    k: Vec<usize>,
    /// Print JSON instead of a report
    #[arg(long)]
    json: bool,
}

/// A part with what it refers to.
struct Owned {
    name: String,
    task: Task,
    classes: Vec<String>,
    names: Vec<String>,
    norms: Option<Vec<f64>>,
    contents: Option<Vec<u64>>,
}

/// Audits. Exit code 1 says that two splits share something.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if !(-1.0..=1.0).contains(&arguments.threshold) {
        bail!("--threshold is {}, expected a cosine: -1 to 1", arguments.threshold);
    }
    if arguments.k.contains(&0) {
        bail!("--k has 0, expected at least 1");
    }
    let parts = parts(arguments)?;
    let views: Vec<AuditedSplit> = parts
        .iter()
        .map(|part| AuditedSplit {
            name: &part.name,
            task: &part.task,
            classes: &part.classes,
            names: &part.names,
            norms: part.norms.as_deref(),
            contents: part.contents.as_deref(),
        })
        .collect();
    let report = audit(&views, &arguments.k, arguments.threshold)?;
    match arguments.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => show(&report),
    }
    Ok(if report.leakages.iter().all(Leakage::is_clean) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn parts(arguments: &Arguments) -> Result<Vec<Owned>> {
    if !arguments.embeddings.is_empty() {
        let given = arguments.labels.len();
        if given > 0 && given != arguments.embeddings.len() {
            bail!("found {given} files of labels, expected {}, one for each file of embeddings", arguments.embeddings.len());
        }
        let dumps = arguments.embeddings.iter().enumerate();
        return dumps.map(|(at, path)| dump(path, arguments.labels.get(at).map(PathBuf::as_path))).collect();
    }
    let folder = arguments.model.as_deref().context("name a run folder or model directory, or --embeddings")?;
    let datasets = match &arguments.data {
        Some(config) => {
            let (dataset, _, notes) = sources::load_everything(config)?;
            notes.iter().for_each(|note| eprintln!("{note}"));
            vec![("all", dataset)]
        }
        None => {
            let loaded = run_data(folder)?.with_context(|| no_run(folder))?;
            let splits = loaded.splits;
            vec![("train", splits.train), ("validation", splits.validation), ("test", splits.test)]
        }
    };
    datasets.into_iter().filter(|(_, dataset)| !dataset.samples.is_empty()).map(|(name, dataset)| pictures(name, dataset, folder)).collect()
}

fn dump(path: &Path, given: Option<&Path>) -> Result<Owned> {
    let found = match given {
        None => dump::read(path)?,
        Some(given) => {
            let (values, [rows, dim]) = dump::read_vectors(path)?;
            let (classes, labels) = labels::number_classes(labels::read_labels(given)?);
            dump::Features { values, dim, labels, classes, names: (0..rows).map(|row| row.to_string()).collect(), roles: None }
        }
    };
    let norm = |row: &[f32]| row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    let norms = found.values.chunks_exact(found.dim.max(1)).map(norm).collect();
    let rows = found.names.len();
    Ok(Owned {
        name: path.file_stem().map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned()),
        task: Task::new(Embeddings::new(found.values, rows, found.dim)?, found.labels, None).with_context(|| path.display().to_string())?,
        classes: found.classes,
        names: found.names,
        norms: Some(norms),
        contents: None,
    })
}

fn pictures(name: &str, dataset: Dataset, folder: &Path) -> Result<Owned> {
    let dataset = Arc::new(dataset);
    let contents = dataset.samples.iter().map(|sample| content(&sample.pixels)).collect::<Result<_>>()?;
    Ok(Owned {
        name: name.to_owned(),
        // The encoder's last step scales to length 1: there are no other lengths to report.
        task: Task::new(embedded(folder, &dataset, DeviceKind::default())?, dataset.labels(), None)?,
        classes: dataset.classes.clone(),
        names: dataset.samples.iter().map(|sample| sample.name.clone()).collect(),
        norms: None,
        contents: Some(contents),
    })
}

fn content(pixels: &Pixels) -> Result<u64> {
    let hash = match pixels {
        Pixels::Turned(pixels, _) => return content(pixels),
        Pixels::File(path) => blake3::hash(&read_bounded(path, MAX_FILE_BYTES)?),
        Pixels::Memory(picture) => blake3::hash(picture.as_raw()),
    };
    Ok(u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight of thirty-two bytes")))
}

fn show(report: &Audit) {
    for part in &report.splits {
        show_part(part);
    }
    for crossing in &report.leakages {
        show_crossing(crossing);
    }
}

fn show_part(part: &SplitAudit) {
    let SplitAudit { name, rows, dim, classes, singletons, spectrum, norms, hubs, copies, ceilings } = part;
    println!("{name}: {rows} rows of {dim}, {classes} classes, {singletons} of them with one row");
    println!(
        "  directions    effective rank {:.1} of {dim}, 90 % of the variance in {}, {} collapsed, rho {:.3}",
        spectrum.effective_rank, spectrum.for_90_percent, spectrum.collapsed, spectrum.rho
    );
    match norms {
        Some(norms) => println!(
            "  lengths       {:.4} to {:.4}, mean {:.4}, deviation {:.1} % of it",
            norms.least,
            norms.most,
            norms.mean,
            100.0 * norms.spread
        ),
        None => println!("  lengths       all 1: the encoder normalises"),
    }
    println!("  copies        {} rows share their vector within their class, {} with another class", copies[0], copies[1]);
    println!("  hubs          among the {K} nearest: skewness {:.2}, {} rows are nobody's neighbour", hubs.skewness, hubs.never);
    let most: Vec<String> = hubs.most.iter().take(3).map(|(name, count)| format!("{name} ({count} times)")).collect();
    println!("                most often found: {}", most.join(", "));
    if ceilings.is_empty() {
        println!("  ceilings      none: no row has another of its class to find");
    }
    for (at, (definitions, figures)) in ceilings.iter().enumerate() {
        let figures: Vec<String> = figures.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
        println!("  {:<12}  {definitions:<10} {}", if at == 0 { "ceilings" } else { "" }, figures.join("  "));
    }
}

fn show_crossing(crossing: &Leakage) {
    let [first, second] = &crossing.splits;
    if crossing.is_clean() {
        println!("{first} and {second} share nothing");
    } else {
        println!("{first} and {second} share");
        if crossing.class_count > 0 {
            let more = if crossing.class_count > crossing.classes.len() { ", …" } else { "" };
            println!("  {} classes: {}{more}", crossing.class_count, crossing.classes.join(", "));
        }
        let counts = [("names", crossing.names), ("contents", crossing.contents), ("vectors", crossing.vectors)];
        for (what, count) in counts.into_iter().filter(|&(_, count)| count > 0) {
            println!("  {count} {what}");
        }
        if crossing.near > 0 {
            println!("  {} rows of {second} have a row of {first} at a cosine of {} or more", crossing.near, crossing.threshold);
        }
    }
    if let Some((a, b, cosine)) = crossing.nearest.first() {
        println!("  nearest pair: {a} and {b}, cosine {cosine:.4}");
    }
}
