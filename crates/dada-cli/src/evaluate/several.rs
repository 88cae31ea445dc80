//! `dada evaluate` of several models on the same items: each alone, and all concatenated.

use anyhow::{Result, bail};
use dada::embeddings::Embeddings;
use dada::evaluate::intervals::mean_deviation;
use dada::evaluate::{Retrieval, Task};
use serde_json::{Map, Value, json};

use super::{Arguments, cluster};
use crate::progress::Bar;
use crate::table;

type Figures = Vec<(String, f64)>;

/// Measures and prints.
pub fn run(arguments: &Arguments) -> Result<()> {
    let named = arguments.from.named();
    refuse_what_is_of_one(arguments, named.len())?;
    let measured = arguments.from.measure()?;
    let parts: Vec<&Embeddings> = measured.iter().map(|measured| measured.task.embeddings()).collect();
    let together = measured[0].task.with(Embeddings::concatenate(&parts)?)?;
    let tasks = || measured.iter().map(|measured| &measured.task);
    let models = tasks().map(|task| Ok(figures(task, arguments)?.1)).collect::<Result<Vec<Figures>>>()?;
    let (retrieval, concatenated) = figures(&together, arguments)?;
    let (mean, deviation) = over_models(&models);
    if arguments.json {
        let models: Vec<Value> = named
            .iter()
            .zip(tasks().zip(&models))
            .map(|(name, (task, figures))| json!({ "model": name, "dim": task.embeddings().dim(), "figures": object(figures) }))
            .collect();
        let found = json!({
            "models": models,
            "mean": object(&mean),
            "deviation": object(&deviation),
            "concatenated": { "dim": together.embeddings().dim(), "figures": object(&concatenated) },
            "queries": retrieval.queries.len(),
            "scored_queries": retrieval.scored(),
            "queries_without_match": retrieval.without_match(),
        });
        println!("{}", serde_json::to_string_pretty(&found)?);
        return Ok(());
    }
    let names: Vec<String> = named.iter().map(|path| path.display().to_string()).collect();
    let rows: Vec<(&str, &[(String, f64)])> =
        names.iter().zip(&models).map(|(name, figures)| (name.as_str(), figures.as_slice())).collect();
    let all = [("mean", mean.as_slice()), ("deviation", &deviation), ("concatenated", &concatenated)];
    println!("{}\n", table::columns(&[rows, all.to_vec()].concat()));
    println!(
        "mean and deviation: of the {} models, each measured alone. concatenated: their embeddings side by side, {} numbers for each item.",
        named.len(),
        together.embeddings().dim()
    );
    if retrieval.without_match() > 0 {
        println!("{} of {} queries have nothing to find and enter no mean", retrieval.without_match(), retrieval.queries.len());
    }
    Ok(())
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
    match flags.iter().find(|(_, given)| *given) {
        Some((flag, _)) => bail!("{flag} is for one model: found {models} to measure"),
        None => Ok(()),
    }
}

fn figures(task: &Task, arguments: &Arguments) -> Result<(Retrieval, Figures)> {
    let clusters = if arguments.clusters { cluster(task, arguments.seed)? } else { Vec::new() };
    let ranking = Bar::new("ranking");
    let retrieval = task.retrieval(&arguments.k, &ranking.observer())?;
    let figures = retrieval.means.entries().into_iter().chain(clusters).collect();
    Ok((retrieval, figures))
}

/// Mean and deviation of each figure; every model has the same ones, in the same order.
fn over_models(models: &[Figures]) -> (Figures, Figures) {
    let of = |at: usize| mean_deviation(&models.iter().map(|figures| figures[at].1).collect::<Vec<_>>());
    let named = models[0].iter().map(|(name, _)| name.clone()).enumerate();
    named.map(|(at, name)| ((name.clone(), of(at).0), (name, of(at).1))).unzip()
}

fn object(figures: &Figures) -> Map<String, Value> {
    figures.iter().map(|(name, value)| (name.clone(), (*value).into())).collect()
}
