//! What is measured: a run, a model on a data source, or a dump, as one thing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use dada::config::RunConfig;
use dada::data::pictures::decode;
use dada::data::{self, DataConfig, Dataset, Source, sources};
use dada::device::DeviceKind;
use dada::embed::Embedder;
use dada::embeddings::Embeddings;
use dada::evaluate::Task;
use dada::formats::{dump, labels};
use dada::model::export::Model;
use dada::roles::Roles;
use image::RgbImage;

use crate::embed::model_folder;
use crate::progress::Bar;

/// Where the embeddings and labels come from.
#[derive(Args)]
pub struct From {
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
    /// What was named to be measured: models, or files of embeddings.
    pub fn named(&self) -> &[PathBuf] {
        if self.embeddings.is_empty() { &self.models } else { &self.embeddings }
    }

    /// Reads, and embeds where there are only pictures: at least one, in the order in which they were named, all of the same items.
    pub fn measure(&self) -> Result<Vec<Measured>> {
        if !self.embeddings.is_empty() {
            return self.dumps();
        }
        if let Some(config @ DataConfig { source: Source::Features, .. }) = &self.data {
            match self.models.len() {
                0 => {}
                1 => eprintln!("the vectors of {} are measured as they are: the model is not used", config.path.display()),
                several => bail!("{}: {several} models need pictures to be measured on, and only vectors are here", config.path.display()),
            }
            return Ok(vec![described(&config.path, dump::read(&config.path)?, None)?]);
        }
        let first = self.models.first().context("name a run folder or model directory: only vectors are measured without one")?;
        let (test, roles) = test_set(first, self.data.as_ref())?;
        if self.data.is_none() {
            for other in &self.models[1..] {
                let (found, found_roles) = test_set(other, None)?;
                same_items((first, &Items::of(&test, roles.as_ref())), (other, &Items::of(&found, found_roles.as_ref())))?;
            }
        }
        let on = self.data.as_ref().map_or_else(
            || "its test classes".to_owned(),
            |config| match config.path.as_os_str().is_empty() {
                true => "the emoji".to_owned(),
                false => config.path.display().to_string(),
            },
        );
        let test = Arc::new(test);
        let measured = |folder: &PathBuf| {
            Ok(Measured {
                task: Task::new(embedded(folder, &test, self.device)?, test.labels(), roles.clone())?,
                classes: test.classes.clone(),
                names: test.samples.iter().map(|sample| sample.name.clone()).collect(),
                about: format!("{} on {on}", folder.display()),
                folder: Some(folder.clone()),
                pictures: Pictures::Of(test.clone()),
                device: self.device,
            })
        };
        self.models.iter().map(measured).collect()
    }

    fn dumps(&self) -> Result<Vec<Measured>> {
        let mut found: Vec<Measured> = Vec::new();
        for path in &self.embeddings {
            let dump = self.dump(path)?;
            if let Some(first) = found.first() {
                same_items((&self.embeddings[0], &first.items()), (path, &dump.items()))?;
            }
            found.push(dump);
        }
        Ok(found)
    }

    fn dump(&self, path: &Path) -> Result<Measured> {
        let found = match &self.labels {
            None => dump::read(path)?,
            Some(labels) => {
                let (values, [rows, dim]) = dump::read_vectors(path)?;
                let found = labels::read_labels(labels)?;
                if found.len() != rows {
                    bail!("{}: found {} labels, expected {rows}, one for each row of {}", labels.display(), found.len(), path.display());
                }
                let (classes, labels) = labels::number_classes(found);
                let names = (0..rows).map(|row| row.to_string()).collect();
                dump::Features { values, dim, labels, classes, names, roles: None }
            }
        };
        let roles = match (&self.query, &self.gallery) {
            (Some(query), Some(gallery)) => Some(Roles { query: labels::read_indices(query)?, gallery: labels::read_indices(gallery)? }),
            _ => None,
        };
        described(path, found, roles)
    }
}

fn described(path: &Path, found: dump::Features, roles: Option<Roles>) -> Result<Measured> {
    let roles = roles.or(found.roles);
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
    fn items(&self) -> Items<'_> {
        Items {
            names: self.names.iter().map(String::as_str).collect(),
            classes: self.task.labels().iter().map(|&label| self.classes[label].as_str()).collect(),
            roles: self.task.roles().cloned(),
        }
    }

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
            let (values, [rows, dim]) = dump::read_vectors(other)?;
            return Ok(self.task.with(Embeddings::new(values, rows, dim)?)?);
        }
        let Pictures::Of(dataset) = &self.pictures else {
            bail!("{}: a model needs pictures to be compared on, and only vectors are here", other.display());
        };
        Ok(self.task.with(embedded(other, dataset, self.device)?)?)
    }
}

/// What is ranked, whoever embedded it.
struct Items<'a> {
    names: Vec<&'a str>,
    /// The class of each.
    classes: Vec<&'a str>,
    roles: Option<Roles>,
}

impl<'a> Items<'a> {
    fn of(dataset: &'a Dataset, roles: Option<&Roles>) -> Self {
        Self {
            names: dataset.samples.iter().map(|sample| sample.name.as_str()).collect(),
            classes: dataset.samples.iter().map(|sample| dataset.classes[sample.label].as_str()).collect(),
            roles: roles.cloned(),
        }
    }
}

/// Figures of several models belong together only if all of them had the same items to rank.
fn same_items((first, wanted): (&Path, &Items), (other, found): (&Path, &Items)) -> Result<()> {
    let (first, other) = (first.display(), other.display());
    if found.names.len() != wanted.names.len() {
        bail!("{other}: found {} items to measure, expected {}, as {first} has", found.names.len(), wanted.names.len());
    }
    let item = |items: &Items, row: usize| format!("{:?} of class {:?}", items.names[row], items.classes[row]);
    let differs = |row: &usize| (found.names[*row], found.classes[*row]) != (wanted.names[*row], wanted.classes[*row]);
    if let Some(row) = (0..found.names.len()).find(differs) {
        bail!("{other}: found item {row} to be {}, expected {}, as {first} has", item(found, row), item(wanted, row));
    }
    if found.roles != wanted.roles {
        bail!("{other}: found other queries or another gallery than {first} has");
    }
    Ok(())
}

/// Embeddings of pictures by the model of a run folder or model directory.
pub fn embedded(folder: &Path, dataset: &Arc<Dataset>, device: DeviceKind) -> Result<Embeddings> {
    let device = device.open();
    let model = Model::load(&model_folder(folder), &device)?;
    let bar = Bar::new("embedding");
    let observer = bar.observer();
    Ok(Embedder::of(&model, &device).dataset(dataset, &observer)?)
}

fn test_set(folder: &Path, data: Option<&DataConfig>) -> Result<(Dataset, Option<Roles>)> {
    if let Some(config) = data {
        let (dataset, roles, notes) = sources::load_everything(config)?;
        notes.iter().for_each(|note| eprintln!("{note}"));
        return Ok((dataset, roles));
    }
    let loaded = run_data(folder)?.with_context(|| no_run(folder))?;
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

/// What to say of a folder that was to bring its own pictures.
pub fn no_run(folder: &Path) -> String {
    match folder.exists() {
        true => format!("{} is no run folder: --data names the pictures", folder.display()),
        false => format!("there is no {}, expected a run folder, or a model directory and --data", folder.display()),
    }
}
