//! What values a network's weights were trained to see: it travels with the weights.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::data::pictures::preprocess::Preprocess;
use crate::error::{Error, Result};
use crate::formats::json;

/// Mean and deviation of each channel of 0..1 values.
pub type Statistics = [[f64; 3]; 2];

/// ImageNet's own statistics.
pub const IMAGENET: Statistics = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];
/// -1 to 1.
pub const HALVES: Statistics = [[0.5; 3]; 2];
/// (x - 127) / 128 of values in 0-255, as TensorFlow trained the EfficientNet-lite family.
pub const LITE: Statistics = [[127.0 / 255.0; 3], [128.0 / 255.0; 3]];

/// How far two means or deviations may lie apart and still be called the same: timm's 0.5 for TensorFlow's 127 / 255 is.
const TOLERANCE: f64 = 0.01;

/// The usual test view of a network that sees `crop` × `crop` pixels: the short side is resized to 256 for a crop of 224.
pub fn usual(crop: u32, [mean, std]: Statistics) -> Preprocess {
    Preprocess { resize: (f64::from(crop) * 256.0 / 224.0).round() as u32, crop, mean, std, squash: false }
}

/// What the description beside a file of weights says: `preprocessor_config.json` of an exported model, or timm's `config.json`.
///
/// # Errors
/// When it cannot be read, or has a mean that is not one.
pub fn beside(weights: &Path) -> Result<Option<Preprocess>> {
    #[derive(Deserialize)]
    struct Timm {
        pretrained_cfg: Option<Pretrained>,
    }
    #[derive(Deserialize)]
    struct Pretrained {
        mean: [f64; 3],
        std: [f64; 3],
        input_size: [u32; 3],
    }
    if let Some(exported) = read(&weights.with_file_name("preprocessor_config.json"))? {
        return Ok(Some(exported));
    }
    let timm: Option<Timm> = read(&weights.with_file_name("config.json"))?;
    let pretrained = timm.and_then(|timm| timm.pretrained_cfg);
    Ok(pretrained.map(|Pretrained { mean, std, input_size: [_, size, _] }| usual(size, [mean, std])))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if !path.is_file() {
        return Ok(None);
    }
    json::read(path).map(Some)
}

/// Compares what a run does to pictures with what its weights were trained with.
///
/// # Errors
/// When mean or deviation differ; `path` names the weights in the message. Another size is a choice.
pub fn check(used: &Preprocess, trained: &Preprocess, path: &Path) -> Result<()> {
    let near = |a: &[f64; 3], b: &[f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= TOLERANCE);
    if near(&used.mean, &trained.mean) && near(&used.std, &trained.std) {
        return Ok(());
    }
    let in_words = |Preprocess { mean, std, .. }: &Preprocess| format!("preprocess.mean = {mean:?}, std = {std:?}");
    Err(Error::mismatch(format!("pre-processing for the weights {}", path.display()), in_words(used), in_words(trained)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_usual_view_keeps_the_proportion_of_crop_and_resize() {
        assert_eq!(usual(224, IMAGENET), Preprocess::default());
        assert_eq!(usual(128, LITE).resize, 146);
    }

    #[test]
    fn a_description_beside_the_weights_is_read_and_compared() {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("model.safetensors");
        assert_eq!(beside(&weights).unwrap(), None);
        let config = folder.path().join("config.json");
        fs::write(
            &config,
            r#"{"architecture":"x","pretrained_cfg":{"mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5],"input_size":[3,240,240],"tag":"in1k"}}"#,
        )
        .unwrap();
        let found = beside(&weights).unwrap().unwrap();
        assert_eq!(found, usual(240, HALVES));
        assert!(check(&usual(128, LITE), &found, &weights).is_ok());
        let message = check(&Preprocess::default(), &found, &weights).unwrap_err().to_string();
        assert!(message.contains("model.safetensors") && message.contains("0.485") && message.contains("0.5"), "{message}");
        assert!(check(&Preprocess { mean: [0.48, 0.5, 0.5], ..found.clone() }, &found, &weights).is_err());
        assert!(check(&Preprocess { std: [0.5, 0.5, 0.52], ..found.clone() }, &found, &weights).is_err());
        fs::write(&config, r#"{"pretrained_cfg":{"mean":[0.5]}}"#).unwrap();
        assert!(beside(&weights).unwrap_err().to_string().contains("config.json"));
        // The description of an exported model is the whole of it.
        let exported = Preprocess { squash: true, ..usual(128, LITE) };
        fs::write(weights.with_file_name("preprocessor_config.json"), serde_json::to_vec(&exported).unwrap()).unwrap();
        assert_eq!(beside(&weights).unwrap(), Some(exported));
    }
}
