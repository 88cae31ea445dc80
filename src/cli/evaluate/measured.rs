//! What is measured: a run, a model on a data source, or a dump, as one thing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use dada::config::{DeviceKind, RunConfig};
use dada::data::{self, DataConfig, Dataset, Roles, Source, decode, features, labels, source};
use dada::embed::embed;
use dada::evaluate::{self, Embeddings, Task};
use dada::model::Model;
use image::RgbImage;

use crate::cli::embed::model_folder;
use crate::cli::progress::Bar;

/// Threads that decode pictures.
const THREADS: usize = 2;
/// Pictures between two steps of the bar: a multiple of what a network is given at once.
const AT_ONCE: usize = 512;

/// Where the embeddings and labels come from.
#[derive(Args)]
pub struct From {
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
    /// Where to compute embeddings
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    device: DeviceKind,
}

/// Embeddings with all that is known about them.
pub struct Measured {
    /// Embeddings, classes and roles.
    pub task: Task,
    /// Class names; labels index them.
    pub classes: Vec<String>,
    /// What each row is called.
    pub names: Vec<String>,
    /// What was measured, on what.
    pub about: String,
    /// The run or model, if one made the embeddings.
    pub folder: Option<PathBuf>,
    /// Where embeddings were, and others will be, computed.
    pub device: DeviceKind,
    pictures: Pictures,
}

enum Pictures {
    None,
    Of(Arc<Dataset>),
    /// Rows are named by paths, which hold from this folder.
    Below(PathBuf),
}

impl From {
    /// Reads, and embeds where there are only pictures.
    pub fn measure(&self) -> Result<Measured> {
        if let Some(path) = &self.embeddings {
            return self.dump(path);
        }
        if let Some(config @ DataConfig { source: Source::Features, .. }) = &self.data {
            if self.model.is_some() {
                eprintln!("the vectors of {} are measured as they are: the model is not used", config.path.display());
            }
            return described(&config.path, features::read(&config.path)?, None);
        }
        let folder = self.model.as_deref().context("name a run folder or model directory: only vectors are measured without one")?;
        let (test, roles) = test_set(folder, self.data.as_ref())?;
        let test = Arc::new(test);
        let on = self.data.as_ref().map_or_else(
            || "its test classes".to_owned(),
            |config| match config.path.as_os_str().is_empty() {
                true => "the emoji".to_owned(),
                false => config.path.display().to_string(),
            },
        );
        Ok(Measured {
            task: Task::new(embedded(folder, &test, self.device)?, test.labels(), roles.as_ref().map(rows_of))?,
            classes: test.classes.clone(),
            names: test.samples.iter().map(|sample| sample.name.clone()).collect(),
            about: format!("{} on {on}", folder.display()),
            folder: Some(folder.to_owned()),
            pictures: Pictures::Of(test),
            device: self.device,
        })
    }

    fn dump(&self, path: &Path) -> Result<Measured> {
        let found = match &self.labels {
            None => features::read(path)?,
            Some(labels) => {
                let (values, [rows, dim]) = features::read_vectors(path)?;
                let found = labels::read_labels(labels)?;
                if found.len() != rows {
                    bail!("{}: found {} labels, expected {rows}, one for each row of {}", labels.display(), found.len(), path.display());
                }
                let (classes, labels) = labels::number_classes(found);
                let names = (0..rows).map(|row| row.to_string()).collect();
                features::Features { values, dim, labels, classes, names, roles: None }
            }
        };
        let roles = match (&self.query, &self.gallery) {
            (Some(query), Some(gallery)) => {
                Some(evaluate::Roles { query: labels::read_indices(query)?, gallery: labels::read_indices(gallery)? })
            }
            _ => None,
        };
        described(path, found, roles)
    }
}

fn described(path: &Path, found: features::Features, roles: Option<evaluate::Roles>) -> Result<Measured> {
    let roles = roles.or_else(|| found.roles.as_ref().map(rows_of));
    let embeddings = Embeddings::new(found.values, found.labels.len(), found.dim)?;
    let beside = path.parent().unwrap_or(Path::new("")).to_owned();
    let below =
        ["".into(), beside].into_iter().find(|folder: &PathBuf| found.names.first().is_some_and(|name| folder.join(name).is_file()));
    Ok(Measured {
        task: Task::new(embeddings, found.labels, roles)?,
        classes: found.classes,
        names: found.names,
        about: path.display().to_string(),
        folder: None,
        pictures: below.map_or(Pictures::None, Pictures::Below),
        device: DeviceKind::default(),
    })
}

impl Measured {
    /// Whether pictures can be shown.
    pub fn has_pictures(&self) -> bool {
        !matches!(self.pictures, Pictures::None)
    }

    /// The picture of a row.
    pub fn picture(&self, row: usize) -> dada::Result<Arc<RgbImage>> {
        match &self.pictures {
            Pictures::Of(dataset) => dataset.samples[row].picture(),
            Pictures::Below(folder) => decode::decode(&folder.join(&self.names[row])).map(Arc::new),
            Pictures::None => Err(dada::Error::Data("only vectors are here".into())),
        }
    }

    /// The same items under another model, or under other embeddings in the same order.
    pub fn against(&self, other: &Path) -> Result<Task> {
        if !other.is_dir() {
            let (values, [rows, dim]) = features::read_vectors(other)?;
            return Ok(self.task.with(Embeddings::new(values, rows, dim)?)?);
        }
        let Pictures::Of(dataset) = &self.pictures else {
            bail!("{}: a model needs pictures to be compared on, and only vectors are here", other.display());
        };
        Ok(self.task.with(embedded(other, dataset, self.device)?)?)
    }
}

/// Embeddings of pictures by the model of a run folder or model directory.
pub fn embedded(folder: &Path, dataset: &Arc<Dataset>, device: DeviceKind) -> Result<Embeddings> {
    let device = device.open();
    let model = Model::load(&model_folder(folder), &device)?;
    let bar = Bar::new("embedding");
    let (progress, total) = (bar.observer(), dataset.samples.len());
    let mut values = Vec::new();
    for samples in dataset.samples.chunks(AT_ONCE) {
        let part = Arc::new(Dataset { classes: dataset.classes.clone(), samples: samples.to_vec() });
        let embeddings = embed(&model.encoder, &part, &model.preprocess, THREADS, &device)?;
        values.extend_from_slice(embeddings.values());
        progress(values.len() / embeddings.dim(), total);
    }
    let dim = values.len().checked_div(total).unwrap_or(0);
    Ok(Embeddings::new(values, total, dim)?)
}

fn test_set(folder: &Path, data: Option<&DataConfig>) -> Result<(Dataset, Option<Roles>)> {
    if let Some(config) = data {
        let (dataset, roles, notes) = source::load_everything(config)?;
        notes.iter().for_each(|note| eprintln!("{note}"));
        return Ok((dataset, roles));
    }
    let loaded =
        run_data(folder)?.with_context(|| format!("{} is no run folder: --data names the pictures to measure on", folder.display()))?;
    if loaded.splits.test.samples.is_empty() {
        bail!("the run's data have no test classes: --data names the pictures to measure on");
    }
    Ok((loaded.splits.test, loaded.roles))
}

/// The data of a run folder, divided as the run divided them; nothing for another folder.
pub fn run_data(folder: &Path) -> Result<Option<data::Loaded>> {
    let path = folder.join("config.toml");
    if !path.is_file() {
        return Ok(None);
    }
    let config = RunConfig::load(&path)?;
    Ok(Some(data::load(&config.data, config.seed)?))
}

fn rows_of(roles: &Roles) -> evaluate::Roles {
    let [query, gallery] = [&roles.query, &roles.gallery].map(|part| (0..part.len()).filter(|&row| part[row]).collect());
    evaluate::Roles { query, gallery }
}
