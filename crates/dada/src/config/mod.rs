//! The configuration of a run: defaults, then a TOML file, then `--set key=value`, each layer overriding the one before.
//!
//! Every section lives beside the module it configures. Unknown keys are errors that name the nearest valid one.

mod layers;

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::adversarial::{DadaConfig, Recipe};
use crate::data::DataConfig;
use crate::data::loader::Preparation;
use crate::data::pictures::augment::AugmentConfig;
use crate::data::pictures::preprocess::Preprocess;
use crate::data::sampler::SamplerConfig;
use crate::device::DeviceKind;
use crate::error::{AtPath, Error, Result};
use crate::loss::{LossConfig, ProxyLossConfig};
use crate::model::encoder::EncoderConfig;
use crate::train::config::TrainConfig;
use crate::train::optimizer::OptimizerConfig;
use crate::validate::not_negative;

pub use layers::parse_setting;
use layers::{flatten, located, merge, switch_variants};

/// The configuration of `dada train` without a file: the embedded data set.
pub const EMOJI: &str = include_str!("../../configs/emoji.toml");

/// Everything a run depends on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunConfig {
    /// Every random draw follows from it.
    pub seed: u64,
    /// Where to compute.
    pub device: DeviceKind,
    /// The pictures and how their classes are split.
    pub data: DataConfig,
    /// What every picture goes through.
    pub preprocess: Preprocess,
    /// What training pictures go through besides.
    pub augment: AugmentConfig,
    /// How batches are drawn.
    pub sampler: SamplerConfig,
    /// The network.
    pub encoder: EncoderConfig,
    /// The proxy loss.
    pub loss: LossConfig,
    /// The adversarial part.
    pub dada: DadaConfig,
    /// The loop.
    pub train: TrainConfig,
    /// The optimizers.
    pub optimizer: OptimizerConfig,
}

impl RunConfig {
    /// The configuration that `layers` of TOML give, the last one winning; `dada.mode` and `loss.name` among them choose the defaults.
    ///
    /// # Errors
    /// For an unknown key, a value of the wrong type, and values that make no sense together.
    pub fn resolve(layers: &[Table]) -> Result<Self> {
        let config = Self::overlaid(layers)?;
        config.check()?;
        Ok(config)
    }

    /// As [`RunConfig::resolve`], whether or not its values go together.
    fn overlaid(layers: &[Table]) -> Result<Self> {
        let last = |section: &str, key: &str| layers.iter().rev().find_map(|layer| layer.get(section)?.get(key)).cloned();
        let mode = last("dada", "mode").map(|mode| mode.try_into::<Recipe>().map_err(|error| Error::Config(format!("dada.mode: {error}"))));
        let mut defaults = Self::defaults(mode.transpose()?.unwrap_or_default());
        // A name that no loss has is an error further down.
        let named = last("loss", "name").map(|name| Table::from_iter([("name".to_owned(), name)]).try_into::<ProxyLossConfig>());
        if let Some(Ok(loss)) = named {
            defaults.loss.weight = loss.default_weight();
        }
        let mut table = defaults.to_table();
        for layer in layers {
            switch_variants(&mut table, layer, |table| Ok(Self::from_table(table)?.to_table()))?;
            merge(&mut table, layer, "")?;
        }
        let mut config = Self::from_table(table)?;
        // Where a layer had chosen another loss in between, the defaults of its own came with this one.
        if last("loss", "positive_mean").is_none() {
            config.dada.mode.adjust(&mut config.loss.kind);
        }
        Ok(config)
    }

    /// Reads a complete configuration, such as a run folder's.
    ///
    /// # Errors
    /// As [`RunConfig::resolve`], and when the file cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        Self::resolve(&[read_layer(path)?])
    }

    fn defaults(mode: Recipe) -> Self {
        let mut config = Self { dada: mode.dada(), optimizer: OptimizerConfig::of(mode), ..Self::default() };
        mode.adjust(&mut config.loss.kind);
        config
    }

    /// The whole configuration as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.to_table()).expect("a table is TOML")
    }

    fn to_table(&self) -> Table {
        Table::try_from(self).expect("every field is a TOML value")
    }

    fn from_table(table: Table) -> Result<Self> {
        // Through text: an error then has a place, from which its key follows.
        let text = toml::to_string(&table).expect("a table is TOML");
        toml::from_str(&text).map_err(|error| Error::Config(located(&text, &error)))
    }

    /// # Errors
    /// For values that no run can be made of.
    pub fn check(&self) -> Result<()> {
        self.sampler.check()?;
        self.train.check()?;
        self.dada.check()?;
        if self.dada.enabled && self.dada.d_warmup_epochs >= self.train.epochs {
            let (warm_ups, epochs) = (self.dada.d_warmup_epochs, self.train.epochs);
            let problem = format!("dada.d_warmup_epochs is {warm_ups} of {epochs} train.epochs: the encoder would never learn");
            return Err(Error::Config(problem));
        }
        self.optimizer.check()?;
        not_negative("loss.weight", self.loss.weight)?;
        self.loss.kind.check()?;
        self.data.check()?;
        self.preprocess.check()?;
        self.augment.check()?;
        self.encoder.check()?;
        self.encoder.backbone.check_size(self.preprocess.crop as usize)
    }

    /// Every value by its full key.
    pub fn values(&self) -> Vec<(String, Value)> {
        flatten(&self.to_table())
    }

    /// The first key in which another run's configuration differs, unless it cannot matter to the result.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let (ours, theirs) = (self.values(), other.values());
        let matters = |key: &str| !["train.loader_threads", "train.cache"].contains(&key);
        let differs = |(key, value): &&(String, Value)| matters(key) && !theirs.contains(&((*key).clone(), (*value).clone()));
        let (key, value) = ours.iter().find(differs)?;
        let theirs = theirs.iter().find(|(other, _)| other == key).map_or("absent".to_owned(), |(_, value)| value.to_string());
        Some(format!("{key} is {theirs} there and {value} here"))
    }

    /// What every picture goes through.
    pub fn preparation(&self) -> Preparation {
        Preparation { preprocess: self.preprocess.clone(), augment: self.augment.clone() }
    }

    /// Epochs at the start for which schedules and ramps wait. The discriminators' warm-up counts without DADA too: "everything else equal"
    /// includes the schedule.
    pub fn warm_ups(&self) -> usize {
        self.train.warmup_epochs.max(self.dada.d_warmup_epochs)
    }
}

/// Reads one layer from a file.
///
/// # Errors
/// When the file cannot be read or is not TOML, for an unknown key and for a value of the wrong type.
pub fn read_layer(path: &Path) -> Result<Table> {
    let text = fs::read_to_string(path).at(path)?;
    let layer: Table = toml::from_str(&text).map_err(|error| Error::format(path, error.to_string().trim_end()))?;
    // Tried here, where the file still has a name.
    match RunConfig::overlaid(std::slice::from_ref(&layer)) {
        Err(Error::Config(problem)) => Err(Error::format(path, problem)),
        other => other.map(|_| layer),
    }
}

#[cfg(test)]
mod tests {
    use dada_compute::Decay;

    use super::*;
    use crate::adversarial::{Norm, Update};
    use crate::loss::PositiveMean;

    fn resolve(settings: &[&str]) -> Result<RunConfig> {
        let layers: Vec<Table> = settings.iter().map(|setting| parse_setting(setting).unwrap()).collect();
        RunConfig::resolve(&layers)
    }

    #[test]
    fn the_last_layer_wins_and_the_result_survives_a_file() {
        let config = resolve(&["train.epochs=3", "loss.alpha_positive=50", "train.epochs=4", "optimizer.schedule.name=constant"]).unwrap();
        assert_eq!(config.train.epochs, 4);
        assert_eq!(config.optimizer.schedule, crate::train::schedule::Schedule::Constant);
        assert_eq!(RunConfig::resolve(&[toml::from_str(&config.to_toml()).unwrap()]).unwrap(), config);
    }

    #[test]
    fn every_default_is_a_key_that_can_be_set() {
        for mode in [Recipe::Corrected, Recipe::Compat] {
            let config = RunConfig::defaults(mode);
            for (key, value) in flatten(&config.to_table()) {
                let again = resolve(&[&format!("dada.mode={}", Value::try_from(mode).unwrap()), &format!("{key}={value}")]).unwrap();
                assert_eq!(again, config, "{key}");
            }
        }
    }

    #[test]
    fn numbers_are_written_as_they_were_typed() {
        // Every number that a configuration can hold, as a decimal fraction that has no exact binary form.
        let table = RunConfig::default().to_table();
        let settings: Vec<String> = flatten(&table)
            .into_iter()
            .filter_map(|(key, value)| match value {
                Value::Float(_) => Some(format!("{key}=0.3")),
                Value::Array(values) if values.first().is_some_and(Value::is_float) => Some(format!("{key}={:?}", vec![0.3; values.len()])),
                _ => None,
            })
            .collect();
        let config = resolve(&settings.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        assert!(settings.len() > 20 && config.to_toml().matches("0.3").count() >= settings.len(), "{settings:?}");
        assert!(!config.to_toml().contains("0.30"), "{}", config.to_toml());
    }

    #[test]
    fn a_loss_brings_its_weight_unless_one_is_given() {
        let weight = |settings: &[&str]| resolve(settings).unwrap().loss.weight;
        assert_eq!(weight(&[]), 0.0075);
        assert_eq!(weight(&["loss.name=cosface"]), 0.05);
        assert_eq!(weight(&["loss.weight=0.2", "loss.name=cosface"]), 0.2);
        assert_eq!(weight(&["loss.name=cosface", "loss.name=proxy-anchor"]), 0.0075);
    }

    #[test]
    fn compat_changes_the_defaults_whatever_the_order() {
        let config = resolve(&["dada.domain.hidden=[64]", "dada.mode=compat"]).unwrap();
        assert_eq!(config.dada.domain.discriminator.norm, Norm::BatchPerDomain);
        assert_eq!(config.dada.domain.discriminator.hidden, [64]);
        assert_eq!(config.optimizer.decay, Decay::Coupled);
        assert_eq!((config.dada.update, config.dada.d_steps), (Update::Alternating, 3));
        assert_eq!(config.dada.category.discriminator.hidden, [512, 128]);
        assert_eq!(config.optimizer.discriminators.learning_rate, 5e-4);
        assert_eq!(resolve(&[]).unwrap().dada.domain.discriminator.norm, Norm::BatchJoint);
        let mean = |settings: &[&str]| match resolve(&[&["dada.mode=compat"], settings].concat()).unwrap().loss.kind {
            ProxyLossConfig::ProxyAnchor(loss) => loss.positive_mean,
            other => panic!("{other:?}"),
        };
        assert_eq!(mean(&["loss.name=soft-triple", "loss.name=proxy-anchor"]), PositiveMean::Rows);
        assert_eq!(mean(&["loss.positive_mean=classes"]), PositiveMean::Classes);
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("train.epoch=3", "unknown key train.epoch; the nearest valid one is train.epochs"),
            ("trian.epochs=3", "unknown key trian; the nearest valid one is train"),
            ("train.epochs=many", "train.epochs = \"many\": invalid type"),
            ("train.epochs=0", "train.epochs is 0"),
            ("sampler.batch_size=7", "sampler.batch_size is 7"),
            ("dada.mode=fixed", "dada.mode"),
            ("loss.name=proxy-ankle", "proxy-anchor"),
            ("dada.category.dropout=1.0", "dropout"),
            ("data.source=folder", "data.path"),
            ("data.test_share=1.5", "data.test_share"),
            ("dada.mix.beta=0.0", "above 0"),
            ("dada.mix.shift_scale=1.5", "dada.mix.shift_scale is 1.5"),
            ("dada.domain.confusion=uniform", "needs dada.update = \"alternating\""),
            ("dada.update=alternating", "needs dada.d_steps"),
        ];
        for (setting, expected) in cases {
            let message = resolve(&[setting]).unwrap_err().to_string();
            assert!(message.contains(expected), "{setting}: {message}");
        }
    }

    #[test]
    fn a_variant_brings_the_keys_it_cannot_do_without() {
        let layer: Table = toml::from_str("optimizer = { schedule = { name = \"step\", every = 4, factor = 0.45 } }").unwrap();
        let config = RunConfig::resolve(std::slice::from_ref(&layer)).unwrap();
        assert_eq!(config.optimizer.schedule, crate::train::schedule::Schedule::Step { every: 4, factor: 0.45 });
        let missing = toml::from_str("optimizer = { schedule = { name = \"step\", every = 4 } }").unwrap();
        assert!(RunConfig::resolve(&[missing]).unwrap_err().to_string().contains("factor"));
        let misspelt = toml::from_str("optimizer = { schedule = { name = \"step\", every = 4, factor = 0.45, evry = 2 } }").unwrap();
        assert!(RunConfig::resolve(&[layer, misspelt]).unwrap_err().to_string().contains("evry"));
    }

    #[test]
    fn a_value_that_no_run_can_use_is_named() {
        let refused = |setting: &str| resolve(&[setting]).unwrap_err().to_string();
        assert!(refused("dada.category.weight=-1").contains("dada.category.weight is -1"));
        assert!(refused("loss.weight=nan").contains("loss.weight is NaN"));
        assert!(refused("optimizer.proxies.learning_rate=inf").contains("optimizer.proxies.learning_rate is inf"));
        assert!(refused("optimizer.beta2=1.0").contains("optimizer.beta2 is 1"));
        assert!(refused("dada.domain.dropout=1.0").contains("dada.domain.dropout is 1"));
        assert!(refused("loss.delta_negative=nan").contains("loss.delta_negative is NaN"));
        assert!(refused("loss={ name = \"cosface\", margin = inf }").contains("loss.margin is inf"));
        assert!(refused("dada.mix.alpha=inf").contains("dada.mix.alpha is inf"));
        assert!(refused("optimizer.schedule={ name = \"step\", every = 0, factor = 0.5 }").contains("schedule.every is 0"));
        assert!(refused("train.epochs=1").contains("dada.d_warmup_epochs is 1 of 1"));
        assert!(
            resolve(&["dada.domain.norm=none", "dada.domain.output_norm=true"])
                .unwrap_err()
                .to_string()
                .contains("dada.domain.output_norm needs")
        );
        let layer_norm = ["dada.category.norm=layer", "dada.category.output_norm=true", "dada.category.sampled_classes=4"];
        assert!(resolve(&layer_norm).unwrap_err().to_string().contains("sampled_classes needs dada.category.norm"));
        assert!(resolve(&["train.epochs=1", "dada.enabled=false"]).is_ok());
    }

    #[test]
    fn another_loss_starts_from_its_own_defaults_and_keeps_the_weight() {
        let config = resolve(&["loss.name=cosface", "loss.margin=0.2", "loss.weight=0.5", "loss.name=arcface"]).unwrap();
        assert_eq!(config.loss, LossConfig { weight: 0.5, kind: ProxyLossConfig::ArcFace(Default::default()) });
        let config = resolve(&["loss.name=cosface", "loss.margin=0.2", "encoder.backbone.name=resnet18"]).unwrap();
        let ProxyLossConfig::CosFace(loss) = config.loss.kind else { unreachable!("cosface was chosen") };
        assert_eq!(loss.margin, 0.2);
        for loss in ProxyLossConfig::all() {
            let table = Table::try_from(LossConfig { weight: 0.5, kind: loss.clone() }).unwrap();
            let layer = Table::from_iter([("loss".to_owned(), Value::Table(table))]);
            assert_eq!(RunConfig::resolve(&[layer]).unwrap().loss.kind, loss);
        }
        for (setting, expected) in
            [("loss.temperature=0", "above 0"), ("loss.name=soft-triple", "0"), ("loss.margn=1", "the nearest valid one")]
        {
            let name = if setting.starts_with("loss.temp") { "loss.name=normalized-softmax" } else { "loss.name=soft-triple" };
            let last = if setting.contains("name") { "loss.centres=0" } else { setting };
            let message = resolve(&[name, last]).unwrap_err().to_string();
            assert!(message.contains(expected), "{setting}: {message}");
        }
    }

    #[test]
    fn every_configuration_in_the_folder_resolves() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs"));
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            RunConfig::load(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }

    #[test]
    fn the_embedded_configuration_is_valid_and_differs_from_another_seed_by_the_seed() {
        let emoji: Table = toml::from_str(EMOJI).unwrap();
        let config = RunConfig::resolve(std::slice::from_ref(&emoji)).unwrap();
        let other = RunConfig::resolve(&[emoji, parse_setting("seed=9").unwrap()]).unwrap();
        assert_eq!(config.difference(&config), None);
        assert_eq!(config.difference(&other).unwrap(), format!("seed is 9 there and {} here", config.seed));
    }
}
