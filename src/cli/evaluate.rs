//! `dada evaluate`

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use dada::config::{DeviceKind, RunConfig};
use dada::data::{self, DataConfig, Dataset, Roles, Source, features, labels, source};
use dada::embed::embed;
use dada::evaluate::clustering::agreement;
use dada::evaluate::definitions::{Scored, compare_gallery, compare_self};
use dada::evaluate::kmeans::{KMeans, k_means};
use dada::evaluate::{Definitions, Embeddings, SILENT, query_gallery, self_retrieval};
use dada::model::Model;
use serde_json::{Map, Value};

use super::embed::model_folder;
use super::table;

/// Threads that decode pictures.
const THREADS: usize = 2;

/// What `dada evaluate` is told.
#[derive(Args)]
pub struct Arguments {
    /// Run folder or model directory; a run's own test classes are measured unless --data names others
    #[arg(required_unless_present_any = ["embeddings", "data"], conflicts_with = "embeddings")]
    model: Option<PathBuf>,
    /// What to measure on: emoji, or folder:PATH, csv:PATH, features:PATH, cub200:PATH, …; all its pictures are one test set, or its
    /// queries and gallery where it names them
    #[arg(long, value_name = "SOURCE", conflicts_with = "embeddings")]
    data: Option<DataConfig>,
    /// Anybody's embeddings, .npy, .safetensors or .parquet
    #[arg(long, value_name = "FILE")]
    embeddings: Option<PathBuf>,
    /// Their labels, .csv, .npy or .txt [default: those beside the embeddings]
    #[arg(long, value_name = "FILE", requires = "embeddings")]
    labels: Option<PathBuf>,
    /// Rows that are searched for, .npy or .txt, from 0 [default: all, each in all others]
    #[arg(long, value_name = "FILE", requires_all = ["embeddings", "gallery"])]
    query: Option<PathBuf>,
    /// Rows that are searched
    #[arg(long, value_name = "FILE", requires = "query")]
    gallery: Option<PathBuf>,
    /// The k of recall@k
    #[arg(long, value_name = "K,…", value_delimiter = ',', default_values_t = [1, 2, 4, 8])]
    k: Vec<usize>,
    /// Score the same ranking as other tools define their metrics
    #[arg(long, value_name = "WHOSE")]
    definitions: Option<Whose>,
    /// Cluster by k-means, and say how well the clusters agree with the classes
    #[arg(long)]
    clusters: bool,
    /// Where to compute embeddings
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    device: DeviceKind,
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
    All,
}

/// What is measured.
struct Measured {
    embeddings: Embeddings,
    labels: Vec<usize>,
    /// Rows that ask and rows that answer, where not all do both.
    roles: Option<[Vec<usize>; 2]>,
}

/// Evaluates.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let measured = measure(arguments)?;
    if let Some(whose) = arguments.definitions {
        let scored = compare(&measured, &arguments.k)?.into_iter().filter(|scored| whose.includes(scored.definitions));
        show_definitions(&scored.collect::<Vec<_>>(), arguments.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Measured { embeddings, labels, roles } = &measured;
    let retrieval = match roles {
        None => self_retrieval(embeddings, labels, &arguments.k, SILENT)?,
        Some([query, gallery]) => {
            let part = |rows: &[usize]| -> Result<_> { Ok((embeddings.select(rows)?, pick(labels, rows))) };
            let (queries, gallery) = (part(query)?, part(gallery)?);
            query_gallery((&queries.0, &queries.1), (&gallery.0, &gallery.1), &arguments.k, SILENT)?
        }
    };
    let mut figures = retrieval.means.entries();
    if arguments.clusters {
        figures.extend(cluster(&measured)?);
    }
    if arguments.json {
        let counts = [
            ("queries", retrieval.queries.len()),
            ("scored_queries", retrieval.scored()),
            ("queries_without_match", retrieval.without_match()),
        ];
        let counts = counts.map(|(name, count)| (name.to_owned(), Value::from(count)));
        let object: Map<String, Value> = figures.into_iter().map(|(name, value)| (name, value.into())).chain(counts).collect();
        println!("{}", serde_json::to_string_pretty(&object)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", table::columns(&[("", figures.as_slice())]));
    if retrieval.without_match() > 0 {
        println!("{} of {} queries have nothing to find and enter no mean", retrieval.without_match(), retrieval.queries.len());
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(arguments: &Arguments) -> Result<Measured> {
    if let Some(path) = &arguments.embeddings {
        return dump(arguments, path);
    }
    if let Some(config @ DataConfig { source: Source::Features, .. }) = &arguments.data {
        if arguments.model.is_some() {
            eprintln!("the vectors of {} are measured as they are: the model is not used", config.path.display());
        }
        let found = features::read(&config.path)?;
        let rows = found.labels.len();
        let roles = found.roles.as_ref().map(rows_of).transpose()?;
        return Ok(Measured { embeddings: Embeddings::new(found.values, rows, found.dim)?, labels: found.labels, roles });
    }
    let folder = arguments.model.as_deref().context("name a run folder or model directory: only vectors are measured without one")?;
    let device = arguments.device.open();
    let model = Model::load(&model_folder(folder), &device)?;
    let (test, roles) = test_set(folder, arguments.data.as_ref())?;
    let test = Arc::new(test);
    let embeddings = embed(&model.encoder, &test, &model.preprocess, THREADS, &device)?;
    Ok(Measured { embeddings, labels: test.labels(), roles: roles.as_ref().map(rows_of).transpose()? })
}

fn test_set(folder: &Path, data: Option<&DataConfig>) -> Result<(Dataset, Option<Roles>)> {
    if let Some(config) = data {
        let (dataset, roles, notes) = source::load_everything(config)?;
        notes.iter().for_each(|note| eprintln!("{note}"));
        return Ok((dataset, roles));
    }
    let path = folder.join("config.toml");
    if !path.is_file() {
        bail!("{} is no run folder: --data names the pictures to measure on", folder.display());
    }
    let config = RunConfig::load(&path)?;
    let loaded = data::load(&config.data, config.seed)?;
    if loaded.splits.test.samples.is_empty() {
        bail!("the run's data have no test classes: --data names the pictures to measure on");
    }
    Ok((loaded.splits.test, loaded.roles))
}

fn dump(arguments: &Arguments, path: &Path) -> Result<Measured> {
    let (values, rows, dim, classes) = match &arguments.labels {
        Some(labels) => {
            let (values, [rows, dim]) = features::read_vectors(path)?;
            let found = labels::read_labels(labels)?;
            if found.len() != rows {
                bail!("{}: found {} labels, expected {rows}, one for each row of {}", labels.display(), found.len(), path.display());
            }
            (values, rows, dim, labels::number_classes(found).1)
        }
        None => {
            let found = features::read(path)?;
            (found.values, found.labels.len(), found.dim, found.labels)
        }
    };
    let roles = match (&arguments.query, &arguments.gallery) {
        (Some(query), Some(gallery)) => Some([labels::read_indices(query)?, labels::read_indices(gallery)?]),
        _ => None,
    };
    if let Some(roles) = &roles {
        check_roles(roles, rows)?;
    }
    Ok(Measured { embeddings: Embeddings::new(values, rows, dim)?, labels: classes, roles })
}

fn rows_of(roles: &Roles) -> Result<[Vec<usize>; 2]> {
    let rows = [&roles.query, &roles.gallery].map(|part| (0..part.len()).filter(|&row| part[row]).collect());
    check_roles(&rows, roles.query.len())?;
    Ok(rows)
}

/// A query that is in the gallery finds itself.
fn check_roles([query, gallery]: &[Vec<usize>; 2], rows: usize) -> Result<()> {
    if let Some(row) = query.iter().chain(gallery).find(|&&row| row >= rows) {
        bail!("found row {row} among queries and gallery, expected less than {rows}");
    }
    let gallery: HashSet<usize> = gallery.iter().copied().collect();
    match query.iter().filter(|row| gallery.contains(row)).count() {
        0 => Ok(()),
        both => bail!("{both} rows are in both query and gallery, where each would find itself"),
    }
}

fn pick(labels: &[usize], rows: &[usize]) -> Vec<usize> {
    rows.iter().map(|&row| labels[row]).collect()
}

fn compare(Measured { embeddings, labels, roles }: &Measured, ks: &[usize]) -> Result<Vec<Scored>> {
    Ok(match roles {
        None => compare_self(embeddings, labels, ks, SILENT)?,
        Some([query, gallery]) => {
            let (queries, found) = (embeddings.select(query)?, embeddings.select(gallery)?);
            compare_gallery((&queries, &pick(labels, query)), (&found, &pick(labels, gallery)), ks, SILENT)?
        }
    })
}

fn cluster(Measured { embeddings, labels, .. }: &Measured) -> Result<Vec<(String, f64)>> {
    let classes = labels.iter().collect::<HashSet<_>>().len();
    let found = agreement(labels, &k_means(embeddings, classes, &KMeans::default(), SILENT)?.assignment)?;
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
        }
    }
}
