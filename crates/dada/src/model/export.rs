//! A trained model on disk: an encoder, its weights under timm's names, and the pre-processing they were trained with.

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::data::pictures::preprocess::Preprocess;
use crate::error::{AtPath, Error, Result};
use crate::formats::file::write_whole;
use crate::formats::json;
use crate::formats::safetensors::{read_safetensors, write_safetensors};
use crate::model::encoder::{Encoder, EncoderConfig};
use crate::model::layers::Initializer;
use crate::model::parameters;

const VERSION: u32 = 1;
const BACKBONE: &str = "backbone.";

/// An encoder that is ready to use.
pub struct Model {
    /// The architecture.
    pub config: EncoderConfig,
    /// What a picture goes through first.
    pub preprocess: Preprocess,
    /// The network, without autodiff.
    pub encoder: Encoder,
}

/// `config.json`
#[derive(Serialize, Deserialize)]
struct Description {
    format: String,
    version: u32,
    architecture: String,
    encoder: EncoderConfig,
}

impl Model {
    /// Writes `config.json`, `model.safetensors` (the backbone under timm's keys, `projection.weight` and `projection.bias`),
    /// `preprocessor_config.json` and a `README.md` with `description`.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn save(&self, folder: &Path, description: &str) -> Result<()> {
        fs::create_dir_all(folder).at(folder)?;
        let tensors = parameters::tensors(&self.encoder);
        let tensors = tensors.into_iter().map(|(name, data)| (name.strip_prefix(BACKBONE).unwrap_or(&name).to_owned(), data)).collect();
        write_safetensors(&tensors, &folder.join("model.safetensors"))?;
        let about = Description {
            format: "dada".to_owned(),
            version: VERSION,
            architecture: self.config.backbone.name().to_owned(),
            encoder: self.config.clone(),
        };
        json::write(&folder.join("config.json"), &about)?;
        json::write(&folder.join("preprocessor_config.json"), &self.preprocess)?;
        write_whole(&folder.join("README.md"), description.as_bytes())
    }

    /// Reads what [`Model::save`] wrote.
    ///
    /// # Errors
    /// When a file is missing or malformed, or a tensor does not fit the architecture.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let path = folder.join("config.json");
        let about: Description = json::read(&path)?;
        if about.version != VERSION {
            return Err(Error::mismatch(path.display().to_string(), format!("version {}", about.version), format!("version {VERSION}")));
        }
        about.encoder.check()?;
        let preprocess: Preprocess = json::read(&folder.join("preprocessor_config.json"))?;
        preprocess.check()?;
        let path = folder.join("model.safetensors");
        let tensors = read_safetensors(&path)?.into_iter();
        let tensors = tensors.map(|(name, data)| (if name.starts_with("projection.") { name } else { format!("{BACKBONE}{name}") }, data));
        let encoder = about.encoder.init(&mut Initializer::new(device, 0));
        let encoder = parameters::load(encoder, &tensors.collect(), &path.display().to_string())?.valid();
        Ok(Self { config: about.encoder, preprocess, encoder })
    }
}

/// The model directory of a run folder, or the folder itself.
pub fn model_folder(folder: &Path) -> PathBuf {
    let inside = folder.join("model");
    if inside.join("config.json").is_file() { inside } else { folder.to_owned() }
}
