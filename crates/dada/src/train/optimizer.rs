//! Adam over a module's parameters, with its state keyed by their paths.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Gradients, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::parameters::{ModulePath, NamedTensors};
use crate::train::schedule::Schedule;
use dada_compute::{AdamHyper, Decay, Moments, adam_update};

/// The `[optimizer]` section: three Adam optimizers, which share everything but step size and decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OptimizerConfig {
    /// How weight decay enters.
    pub decay: Decay,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment; it matters where the losses are scaled down.
    pub epsilon: f64,
    /// Backbone and projection.
    pub encoder: Rate,
    /// Proxies.
    pub proxies: Rate,
    /// Both discriminators.
    pub discriminators: Rate,
    /// How all three step sizes change over the run.
    pub schedule: Schedule,
}

/// One optimizer's own settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rate {
    /// Step size before the schedule.
    pub learning_rate: f64,
    /// Weight decay.
    pub weight_decay: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            decay: Decay::Decoupled,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            encoder: Rate { learning_rate: 1.2e-4, weight_decay: 1e-4 },
            proxies: Rate { learning_rate: 0.04, weight_decay: 0.0 },
            discriminators: Rate { learning_rate: 2e-3, weight_decay: 1e-4 },
            schedule: Schedule::default(),
        }
    }
}

/// Adam for one module.
#[derive(Debug, Default)]
pub struct Adam {
    moments: BTreeMap<String, Moments>,
}

impl Adam {
    /// Updates every parameter that has a gradient; `factor` is the schedule's.
    pub fn step<M: Module>(&mut self, module: M, gradients: &mut Gradients, config: &OptimizerConfig, rate: Rate, factor: f64) -> M {
        let hyper = AdamHyper {
            learning_rate: rate.learning_rate * factor,
            beta1: config.beta1,
            beta2: config.beta2,
            eps: config.epsilon,
            weight_decay: rate.weight_decay,
            decay: config.decay,
        };
        module.map(&mut Step { path: ModulePath::default(), moments: &mut self.moments, gradients, hyper })
    }

    /// The moments, under `first.` and `second.` and the parameter's path, and how often each parameter was updated.
    pub fn state(&self) -> (NamedTensors, BTreeMap<String, u64>) {
        let mut tensors = NamedTensors::new();
        for (path, moments) in &self.moments {
            tensors.insert(format!("first.{path}"), moments.first.to_data());
            tensors.insert(format!("second.{path}"), moments.second.to_data());
        }
        (tensors, self.moments.iter().map(|(path, moments)| (path.clone(), moments.steps)).collect())
    }

    /// The inverse of [`Adam::state`].
    ///
    /// # Errors
    /// When a moment is missing.
    pub fn restore(tensors: &NamedTensors, steps: &BTreeMap<String, u64>, device: &Device) -> Result<Self> {
        let get = |kind: &str, path: &str| {
            let name = format!("{kind}.{path}");
            let data = tensors.get(&name).ok_or_else(|| Error::mismatch("optimizer state", "nothing", format!("a tensor {name}")))?;
            Ok(Tensor::from_data(data.clone(), (device, data.dtype())))
        };
        let each = steps.iter().map(|(path, &steps)| {
            let moments = Moments { first: get("first", path)?, second: get("second", path)?, steps };
            Ok((path.clone(), moments))
        });
        Ok(Self { moments: each.collect::<Result<_>>()? })
    }
}

struct Step<'a> {
    path: ModulePath,
    moments: &'a mut BTreeMap<String, Moments>,
    gradients: &'a mut Gradients,
    hyper: AdamHyper,
}

impl ModuleMapper for Step<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = param.val().grad_remove(self.gradients) else { return param };
        let moments = self.moments.entry(self.path.name()).or_insert_with(|| Moments::zeros(&param.val()));
        param.map(|value| Tensor::from_inner(adam_update(value, gradient, moments, &self.hyper)).require_grad())
    }
}
