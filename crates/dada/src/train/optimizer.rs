//! Adam over a module's parameters, with its state keyed by their paths.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};
use serde::{Deserialize, Serialize};

use crate::adversarial::Recipe;
use crate::error::{Error, Result};
use crate::formats::NamedTensors;
use crate::model::parameters::ModulePath;
use crate::train::schedule::Schedule;
use crate::validate::not_negative;
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

impl OptimizerConfig {
    /// The defaults under a recipe of the adversarial part.
    pub fn of(recipe: Recipe) -> Self {
        let mut config = Self::default();
        if let Some(defaults) = recipe.optimizer() {
            config.decay = defaults.decay;
            config.discriminators.learning_rate = defaults.discriminator_learning_rate;
        }
        config
    }

    /// # Errors
    /// [`Error::Config`] that names the first key whose value makes no sense.
    pub fn check(&self) -> Result<()> {
        for (name, rate) in [("encoder", self.encoder), ("proxies", self.proxies), ("discriminators", self.discriminators)] {
            not_negative(&format!("optimizer.{name}.learning_rate"), rate.learning_rate)?;
            not_negative(&format!("optimizer.{name}.weight_decay"), rate.weight_decay)?;
        }
        for (key, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return Err(Error::Config(format!("optimizer.{key} is {beta}, expected 0 up to, but without, 1")));
            }
        }
        if self.epsilon.is_nan() || self.epsilon <= 0.0 {
            return Err(Error::Config(format!("optimizer.epsilon is {}, expected a number above 0", self.epsilon)));
        }
        self.schedule.check()
    }
}

/// Gradients of a module's parameters by path, each flattened, without those of parameters that have none.
#[derive(Default)]
pub struct ParameterGradients(BTreeMap<String, Tensor<1>>);

impl ParameterGradients {
    /// Takes the gradients of `module`'s parameters out of those of a backward pass.
    pub fn take<M: Module>(module: &M, gradients: &mut Gradients) -> Self {
        let mut visitor = TakeGradients { path: ModulePath::default(), gradients, taken: Self::default() };
        module.visit(&mut visitor);
        visitor.taken
    }

    /// The sums; a parameter that has a gradient in one of both keeps it.
    pub fn sum(mut self, other: Self) -> Self {
        for (path, gradient) in other.0 {
            let sum = match self.0.remove(&path) {
                Some(ours) => ours + gradient,
                None => gradient,
            };
            self.0.insert(path, sum);
        }
        self
    }
}

struct TakeGradients<'a> {
    path: ModulePath,
    gradients: &'a mut Gradients,
    taken: ParameterGradients,
}

impl ModuleVisitor for TakeGradients<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad_remove(self.gradients) {
            let values = gradient.shape().num_elements();
            self.taken.0.insert(self.path.name(), gradient.reshape([values]));
        }
    }
}

/// Adam for one module.
#[derive(Debug, Default)]
pub struct Adam {
    moments: BTreeMap<String, Moments>,
}

impl Adam {
    /// Updates every parameter that has a gradient; `factor` is the schedule's. Where `finite` (`[1]`) is 0 nothing changes.
    pub fn step<M: Module>(
        &mut self,
        module: M,
        gradients: ParameterGradients,
        config: &OptimizerConfig,
        rate: Rate,
        factor: f64,
        finite: &Tensor<1>,
    ) -> M {
        let hyper = AdamHyper {
            learning_rate: rate.learning_rate * factor,
            beta1: config.beta1,
            beta2: config.beta2,
            eps: config.epsilon,
            weight_decay: rate.weight_decay,
            decay: config.decay,
        };
        module.map(&mut AdamStep { path: ModulePath::default(), moments: &mut self.moments, gradients: gradients.0, hyper, finite })
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

struct AdamStep<'a> {
    path: ModulePath,
    moments: &'a mut BTreeMap<String, Moments>,
    gradients: BTreeMap<String, Tensor<1>>,
    hyper: AdamHyper,
    finite: &'a Tensor<1>,
}

impl ModuleMapper for AdamStep<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.remove(&self.path.name()) else { return param };
        let moments = self.moments.entry(self.path.name()).or_insert_with(|| Moments::zeros(&param.val()));
        param.map(|value| {
            let gradient = gradient.reshape(value.shape());
            Tensor::from_inner(adam_update(value, gradient, moments, &self.hyper, self.finite)).require_grad()
        })
    }
}
