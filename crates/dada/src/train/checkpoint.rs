//! A checkpoint: one directory with everything a run needs to go on as if it had never stopped, committed by one rename.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{AtPath, Error, Result};
use crate::formats::NamedTensors;
use crate::formats::safetensors::{read_safetensors, write_safetensors};
use crate::model::parameters;
use crate::train::learner::Learner;
use crate::train::optimizer::Adam;
use crate::train::schedule::At;

const VERSION: u32 = 1;

/// What a checkpoint says besides its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format.
    pub version: u32,
    /// The next step to take.
    pub at: At,
    /// Best validation figure so far and its epoch.
    pub best: Option<Best>,
    /// Bytes of the journal that belong to this state.
    pub journal: u64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Names of the training classes, in the order of the proxies.
    pub classes: Vec<String>,
    /// BLAKE3 of each tensor file.
    pub checksums: BTreeMap<String, String>,
    /// Updates of each parameter, by optimizer and path.
    pub updates: BTreeMap<String, BTreeMap<String, u64>>,
}

/// The best epoch so far, by validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Zero-based epoch; none for a pre-trained encoder before training.
    pub epoch: Option<usize>,
    /// Its figure on the validation classes.
    pub value: f64,
}

impl Header {
    /// A header whose checksums and updates [`save`] fills in.
    pub fn new(at: At, best: Option<Best>, journal: u64, seconds: f64, classes: &[String]) -> Self {
        let (checksums, updates) = Default::default();
        Self { version: VERSION, at, best, journal, seconds, classes: classes.to_vec(), checksums, updates }
    }
}

/// Writes the checkpoint `name` of a run folder. A process killed at any moment leaves the old one or the new one.
///
/// # Errors
/// When the disk is full, for example; the old checkpoint stays.
pub fn save(folder: &Path, name: &str, mut header: Header, learner: &Learner) -> Result<()> {
    let root = folder.join("checkpoints");
    let [partial, previous, target] = [".partial", ".previous", ""].map(|suffix| root.join(format!("{name}{suffix}")));
    remove(&partial)?;
    fs::create_dir_all(&partial).at(&partial)?;
    let mut write = |file: &str, tensors: &NamedTensors| {
        let path = partial.join(format!("{file}.safetensors"));
        write_safetensors(tensors, &path)?;
        header.checksums.insert(file.to_owned(), checksum(&path)?);
        Ok::<_, Error>(())
    };
    write("encoder", &parameters::tensors(&learner.encoder))?;
    write("proxies", &parameters::tensors(&learner.loss))?;
    if let Some(discriminators) = &learner.discriminators {
        write("discriminators", &parameters::tensors(discriminators))?;
    }
    for (file, adam) in optimizers(learner) {
        let (tensors, updates) = adam.state();
        write(file, &tensors)?;
        header.updates.insert(file.to_owned(), updates);
    }
    let path = partial.join("checkpoint.json");
    fs::write(&path, serde_json::to_vec_pretty(&header).expect("a header has string keys")).at(&path)?;
    for entry in fs::read_dir(&partial).at(&partial)? {
        let path = entry.at(&partial)?.path();
        fs::File::open(&path).and_then(|file| file.sync_all()).at(&path)?;
    }

    // Killed here once already, a process left its only checkpoint in `previous`.
    if target.exists() {
        remove(&previous)?;
        fs::rename(&target, &previous).at(&target)?;
    }
    fs::rename(&partial, &target).at(&target)?;
    remove(&previous)
}

/// Where the checkpoint `name` is, if there is one.
pub fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    // Killed between the two renames of `save`, a process leaves the old checkpoint under its second name.
    let candidates = [name.to_owned(), format!("{name}.previous")].map(|name| folder.join("checkpoints").join(name));
    candidates.into_iter().find(|path| path.join("checkpoint.json").exists())
}

/// Reads the header of a checkpoint directory.
///
/// # Errors
/// When it is missing, malformed or of another version.
pub fn header(directory: &Path) -> Result<Header> {
    let path = directory.join("checkpoint.json");
    let bytes = fs::read(&path).at(&path)?;
    let header: Header = serde_json::from_slice(&bytes).map_err(|error| Error::format(&path, error.to_string()))?;
    if header.version != VERSION {
        return Err(Error::mismatch(path.display().to_string(), format!("version {}", header.version), format!("version {VERSION}")));
    }
    Ok(header)
}

/// Puts a checkpoint's tensors in the place of a freshly made learner's.
///
/// # Errors
/// When a file is missing or does not have its checksum, or a tensor does not fit.
pub fn restore(directory: &Path, header: &Header, mut learner: Learner) -> Result<Learner> {
    let read = |file: &str| checked(directory, header, file);
    let (tensors, what) = read("encoder")?;
    learner.encoder = parameters::load(learner.encoder, &tensors, &what)?;
    let (tensors, what) = read("proxies")?;
    learner.loss = parameters::load(learner.loss, &tensors, &what)?;
    if let Some(discriminators) = learner.discriminators.take() {
        let (tensors, what) = read("discriminators")?;
        learner.discriminators = Some(parameters::load(discriminators, &tensors, &what)?);
    }
    let device = learner.loss.proxies().device().inner();
    let adam = |file: &str| {
        let updates = header.updates.get(file).cloned().unwrap_or_default();
        Adam::restore(&read(file)?.0, &updates, &device)
    };
    let [encoder, proxies, discriminators] = optimizers(&learner).map(|(file, _)| adam(file));
    learner.encoder_adam = encoder?;
    learner.proxies_adam = proxies?;
    learner.discriminators_adam = discriminators?;
    Ok(learner)
}

/// Puts only the encoder of a checkpoint in the place of `encoder`.
///
/// # Errors
/// As [`restore`].
pub fn restore_encoder<M: burn::module::Module>(directory: &Path, encoder: M) -> Result<M> {
    let (tensors, what) = checked(directory, &header(directory)?, "encoder")?;
    parameters::load(encoder, &tensors, &what)
}

/// The tensors of one file, which has the checksum that the header names, and the file's name for messages.
fn checked(directory: &Path, header: &Header, file: &str) -> Result<(NamedTensors, String)> {
    let path = directory.join(format!("{file}.safetensors"));
    let (found, expected) = (checksum(&path)?, header.checksums.get(file));
    if expected != Some(&found) {
        let expected = expected.map_or("no such file".to_owned(), |sum| format!("BLAKE3 {sum}"));
        return Err(Error::mismatch(path.display().to_string(), format!("BLAKE3 {found}"), expected));
    }
    Ok((read_safetensors(&path)?, path.display().to_string()))
}

fn optimizers(learner: &Learner) -> [(&'static str, &Adam); 3] {
    [
        ("adam-encoder", &learner.encoder_adam),
        ("adam-proxies", &learner.proxies_adam),
        ("adam-discriminators", &learner.discriminators_adam),
    ]
}

fn checksum(path: &Path) -> Result<String> {
    Ok(blake3::hash(&fs::read(path).at(path)?).to_hex().to_string())
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() { fs::remove_dir_all(directory).at(directory) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};
    use rand::RngExt;

    #[test]
    fn a_header_gives_back_every_digit() {
        let mut random = generator(1, Purpose::Sample, 0, 0, 0);
        for _ in 0..1000 {
            let best = Best { epoch: Some(3), value: random.random_range(0.0..1.0) };
            let header = Header::new(At { epoch: 4, step: 1 }, Some(best), 7, random.random_range(0.0..1e4), &[]);
            let read: Header = serde_json::from_slice(&serde_json::to_vec_pretty(&header).unwrap()).unwrap();
            assert_eq!((read.best, read.seconds), (header.best, header.seconds));
        }
    }
}
