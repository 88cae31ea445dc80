//! ProxyNCA++: Proxy-NCA as a probability over all proxies, with a temperature that sharpens it.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::loss::proxy_nca::{ProxyNca, ProxyNcaConfig, Sum};
use crate::loss::settings::{LossSettings, check_positive};
use crate::model::layers::Initializer;

/// ProxyNCA++ (Teh et al., ECCV 2020).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyNcaPlusPlusConfig {
    /// T, by which squared distances are divided.
    pub temperature: f64,
}

impl Default for ProxyNcaPlusPlusConfig {
    fn default() -> Self {
        Self { temperature: 1.0 / 9.0 }
    }
}

/// Proxy-NCA with a sum over all proxies.
pub type ProxyNcaPlusPlus = ProxyNca;

impl LossSettings for ProxyNcaPlusPlusConfig {
    type Loss = ProxyNcaPlusPlus;

    fn check(&self) -> Result<()> {
        check_positive("temperature", self.temperature)
    }

    /// Proxies drawn from a normal distribution of deviation 1/8, as published.
    fn init(&self, classes: usize, dim: usize, init: &mut Initializer) -> ProxyNcaPlusPlus {
        ProxyNcaConfig { scale: 1.0 / self.temperature, sum: Sum::All }.init(classes, dim, init)
    }
}
