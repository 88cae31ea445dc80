//! What values a network's weights were trained to see: it travels with the weights.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{AtPath, Error, Result};

/// Size and normalisation of a picture: RGB in [0, 1], less `mean`, over `std`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Height and width in pixels.
    pub size: usize,
    /// Of each channel.
    pub mean: [f32; 3],
    /// Of each channel.
    pub std: [f32; 3],
}

/// How far two means or deviations may lie apart and still be called the same: timm's 0.5 for TensorFlow's 127 / 255 is.
const TOLERANCE: f32 = 0.01;

impl Preprocess {
    /// ImageNet's own statistics.
    pub const IMAGENET: Self = Self { size: 224, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
    /// -1 to 1.
    pub const HALVES: Self = Self { size: 224, mean: [0.5; 3], std: [0.5; 3] };
    /// (x - 127) / 128 of values in 0-255, as TensorFlow trained the EfficientNet-lite family.
    pub const LITE: Self = Self { size: 224, mean: [127.0 / 255.0; 3], std: [128.0 / 255.0; 3] };

    /// What timm's `config.json` beside a file of weights says, where there is one.
    ///
    /// # Errors
    /// When it cannot be read, or has a mean that is not one.
    pub fn beside(weights: &Path) -> Result<Option<Self>> {
        #[derive(Deserialize)]
        struct Timm {
            pretrained_cfg: Option<Pretrained>,
        }
        #[derive(Deserialize)]
        struct Pretrained {
            mean: [f32; 3],
            std: [f32; 3],
            input_size: [usize; 3],
        }
        let path = weights.with_file_name("config.json");
        if !path.is_file() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).at(&path)?;
        let timm: Timm = serde_json::from_str(&text).map_err(|error| Error::format(&path, error.to_string()))?;
        Ok(timm.pretrained_cfg.map(|Pretrained { mean, std, input_size: [_, size, _] }| Self { size, mean, std }))
    }

    /// # Errors
    /// When weights were trained with another mean or deviation than this. Another size is a choice.
    pub fn check(&self, weights: &Self, path: &Path) -> Result<()> {
        let near = |a: &[f32; 3], b: &[f32; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= TOLERANCE);
        if near(&self.mean, &weights.mean) && near(&self.std, &weights.std) {
            return Ok(());
        }
        let told = |Self { mean, std, .. }: &Self| format!("mean {mean:?}, std {std:?}");
        Err(Error::mismatch(format!("{}: pre-processing", path.display()), told(self), told(weights)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_beside_the_weights_is_read_and_compared() {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("model.safetensors");
        assert_eq!(Preprocess::beside(&weights).unwrap(), None);
        let config = folder.path().join("config.json");
        fs::write(
            &config,
            r#"{"architecture":"x","pretrained_cfg":{"mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5],"input_size":[3,240,240],"tag":"in1k"}}"#,
        )
        .unwrap();
        let found = Preprocess::beside(&weights).unwrap().unwrap();
        assert_eq!(found, Preprocess { size: 240, ..Preprocess::HALVES });
        assert!(Preprocess::LITE.check(&found, &weights).is_ok());
        let message = Preprocess::IMAGENET.check(&found, &weights).unwrap_err().to_string();
        assert!(message.contains("model.safetensors") && message.contains("0.485") && message.contains("0.5"), "{message}");
        assert!(Preprocess { mean: [0.48, 0.5, 0.5], ..found }.check(&found, &weights).is_err());
        assert!(Preprocess { std: [0.5, 0.5, 0.52], ..found }.check(&found, &weights).is_err());
        fs::write(&config, r#"{"pretrained_cfg":{"mean":[0.5]}}"#).unwrap();
        assert!(Preprocess::beside(&weights).unwrap_err().to_string().contains("config.json"));
    }
}
