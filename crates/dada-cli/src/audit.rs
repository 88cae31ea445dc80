//! `dada audit`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use dada::data::DataConfig;
use dada::device::DeviceKind;
use dada::evaluate::audit::{Audit, K, Leakage, SplitAudit};
use dada::measure::audit::{AuditInput, LabelledVectors, audit};

use super::progress::StageBar;

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

/// Audits. Exit code 1 says that two splits share something.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if !(-1.0..=1.0).contains(&arguments.threshold) {
        bail!("--threshold is {}, expected a cosine: -1 to 1", arguments.threshold);
    }
    if arguments.k.contains(&0) {
        bail!("--k has 0, expected at least 1");
    }
    let bar = StageBar::default();
    let report = audit(&input(arguments)?, &arguments.k, arguments.threshold, &|message| bar.show(message))?;
    drop(bar);
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        show(&report);
    }
    Ok(if report.leakages.iter().all(Leakage::is_clean) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn input(arguments: &Arguments) -> Result<AuditInput> {
    if arguments.embeddings.is_empty() {
        let folder = arguments.model.clone().context("name a run folder or model directory, or --embeddings")?;
        return Ok(AuditInput::Model { folder, data: arguments.data.clone(), device: DeviceKind::default() });
    }
    let (given, files) = (arguments.labels.len(), arguments.embeddings.len());
    if given > 0 && given != files {
        bail!("found {given} files of labels, expected {files}, one for each file of embeddings");
    }
    let mut labels = arguments.labels.iter().cloned();
    let labelled = |path: &PathBuf| LabelledVectors { embeddings: path.clone(), labels: labels.next() };
    Ok(AuditInput::Vectors(arguments.embeddings.iter().map(labelled).collect()))
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
