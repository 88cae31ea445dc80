//! Where to compute.

use std::str::FromStr;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use toml::Value;

use crate::error::{Error, Result};

/// Where tensors live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// The processor.
    #[default]
    Cpu,
}

impl FromStr for DeviceKind {
    type Err = Error;

    /// Reads a name as configurations spell it.
    fn from_str(name: &str) -> Result<Self> {
        Value::from(name).try_into().map_err(|error: toml::de::Error| Error::Config(format!("device: {}", error.message())))
    }
}

impl DeviceKind {
    /// The engine's device.
    pub fn open(self) -> Device {
        match self {
            Self::Cpu => Device::flex(),
        }
    }
}
