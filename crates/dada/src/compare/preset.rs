//! Comparisons that everybody makes, by name.

use strum::{EnumIter, EnumString, IntoStaticStr, VariantNames};
use toml::Value;

use crate::compare::grid::Arm;
use crate::config::{RunConfig, parse_setting};
use crate::error::Error;
use crate::loss::{LossConfig, ProxyLossConfig};

/// Named lists of arms; each is compared with the first, with `losses` each loss with DADA with the same without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case", parse_err_ty = Error, parse_err_fn = unknown)]
pub enum Preset {
    /// What each part of the method buys.
    Ablation,
    /// What each correction of the released code changes: each put back alone.
    Deviations,
    /// Depth and width of the discriminators.
    DiscriminatorSize,
    /// How the mixed domain is made.
    Mixing,
    /// DADA off and on with every proxy loss.
    Losses,
    /// Category heads for many classes.
    Classes,
    /// What the method costs.
    Cost,
}

/// What the configuration of the data decides, not the method.
const OF_THE_DATA: [&str; 4] = ["dada.enabled", "dada.mix.alpha", "dada.mix.beta", "dada.d_warmup_epochs"];

/// The method as released, whatever the configuration sets: every key that `dada.mode` gives a default of its own, and all of `[dada]` but what
/// the data decide. The weights are those of most released configurations.
fn compat(configured: &LossConfig) -> Vec<String> {
    let corrected = RunConfig::default().values();
    let mode = parse_setting("dada.mode=compat").expect("a setting");
    let released = RunConfig::resolve(&[mode]).expect("the defaults of a mode are a configuration").values();
    let is_own = |(key, value): &(String, Value)| match key.as_str() {
        key if key.starts_with("loss.") => matches!(configured.kind, ProxyLossConfig::ProxyAnchor(_)) && key == "loss.positive_mean",
        key if key.starts_with("dada.") => !OF_THE_DATA.contains(&key),
        _ => !corrected.contains(&(key.clone(), value.clone())),
    };
    released.into_iter().filter(is_own).map(|(key, value)| format!("{key}={value}")).collect()
}

/// Arms that are compared with the first.
fn arms(list: &[(&str, &[&str])]) -> Vec<Arm> {
    let arm = |(name, settings): &(&str, &[&str])| Arm {
        name: (*name).to_owned(),
        settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
        against: 0,
    };
    list.iter().map(arm).collect()
}

fn with_compat(mut arms: Vec<Arm>, configured: &LossConfig) -> Vec<Arm> {
    arms.push(Arm { name: "compat".to_owned(), settings: compat(configured), against: 0 });
    arms
}

/// Every loss without DADA and with it.
fn losses(configured: &LossConfig) -> Vec<Arm> {
    let mut arms = Vec::new();
    for loss in ProxyLossConfig::all() {
        let name = loss.name();
        let against = arms.len();
        for (title, enabled) in [(name.to_owned(), false), (format!("{name} with DADA"), true)] {
            let mut settings = vec![format!("loss.name={name}"), format!("dada.enabled={enabled}")];
            // A file's weight suits its own loss.
            if name != configured.kind.name() {
                settings.push(format!("loss.weight={}", loss.default_weight()));
            }
            arms.push(Arm { name: title, settings, against });
        }
    }
    arms
}

fn unknown(name: &str) -> Error {
    Error::Config(format!("found the preset {name:?}, expected one of {}", Preset::VARIANTS.join(", ")))
}

impl Preset {
    /// What it is called.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Its arms, for a configuration with this loss.
    pub fn arms(self, configured: &LossConfig) -> Vec<Arm> {
        match self {
            Self::Ablation => with_compat(
                arms(&[
                    ("none", &["dada.enabled=false"]),
                    ("class mixup only", &["dada.enabled=false", "train.class_mixup=true"]),
                    ("domain", &["dada.category.weight=0", "dada.category.discrepancy_weight=0"]),
                    ("category", &["dada.domain.weight=0", "dada.domain.generator_weight=0"]),
                    ("both, no mixed domain", &["dada.mix.mode=nothing"]),
                    ("all", &[]),
                    ("all and class mixup", &["train.class_mixup=true"]),
                ]),
                configured,
            ),
            Self::Deviations => with_compat(
                arms(&[
                    ("corrected", &[]),
                    (
                        "domains normalised apart",
                        &[
                            "dada.domain.norm=batch-per-domain",
                            "dada.domain.output_norm=true",
                            "dada.category.norm=batch-per-domain",
                            "dada.category.output_norm=true",
                        ],
                    ),
                    ("raw vectors mixed", &["dada.mix.normalize=false"]),
                    ("one coefficient a batch", &["dada.mix.draw=batch"]),
                    ("domain term at full weight", &["dada.domain.generator_weight=0.99"]),
                    ("decay in the gradient", &["optimizer.decay=coupled"]),
                    ("positives averaged over rows", &["loss.positive_mean=rows"]),
                    ("three discriminator steps", &["dada.update=alternating", "dada.d_steps=3"]),
                    (
                        "category discriminator with hidden layers",
                        &["dada.category.hidden=[512,128]", "optimizer.discriminators.learning_rate=5e-4"],
                    ),
                ]),
                configured,
            ),
            Self::DiscriminatorSize => arms(&[
                ("as configured", &[]),
                ("domain 128", &["dada.domain.hidden=[128]"]),
                ("domain 2048", &["dada.domain.hidden=[2048]"]),
                ("domain 512 and 512", &["dada.domain.hidden=[512,512]"]),
                ("category 512", &["dada.category.hidden=[512]"]),
                ("category 512 and 128", &["dada.category.hidden=[512,128]"]),
                ("category 2048 and 512", &["dada.category.hidden=[2048,512]"]),
            ]),
            Self::Mixing => arms(&[
                ("per row", &[]),
                ("per batch", &["dada.mix.draw=batch"]),
                ("not normalised", &["dada.mix.normalize=false"]),
                ("spherical", &["dada.mix.mode=spherical"]),
                ("gated", &["dada.mix.mode=gated"]),
                ("projected", &["dada.mix.mode=projected"]),
                ("proxies appended", &["dada.mix.append_proxies=true"]),
                ("no mixed domain", &["dada.mix.mode=nothing"]),
                ("near samples", &["dada.mix.alpha=1", "dada.mix.beta=5"]),
                ("near proxies", &["dada.mix.alpha=5", "dada.mix.beta=1"]),
            ]),
            Self::Losses => losses(configured),
            Self::Classes => arms(&[
                ("none", &["dada.enabled=false"]),
                ("full", &[]),
                ("factorised", &["dada.category.rank=64"]),
                ("sampled", &["dada.category.sampled_classes=256"]),
            ]),
            Self::Cost => arms(&[
                ("none", &["dada.enabled=false"]),
                ("domain", &["dada.category.weight=0", "dada.category.discrepancy_weight=0"]),
                ("category", &["dada.domain.weight=0", "dada.domain.generator_weight=0"]),
                ("three discriminator steps", &["dada.update=alternating", "dada.d_steps=3"]),
                ("one discriminator step", &["dada.update=alternating", "dada.d_steps=1"]),
                ("reversal", &["dada.update=reversal", "dada.d_steps=0"]),
            ]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::grid::{resolve, settings};
    use crate::config::EMOJI;
    use strum::IntoEnumIterator;
    use toml::Table;

    #[test]
    fn a_preset_goes_by_its_name() {
        assert_eq!("discriminator-size".parse::<Preset>().unwrap(), Preset::DiscriminatorSize);
        let problem = "none".parse::<Preset>().unwrap_err().to_string();
        let names = "ablation, deviations, discriminator-size, mixing, losses, classes, cost";
        assert_eq!(problem, format!("configuration: found the preset \"none\", expected one of {names}"));
    }

    #[test]
    fn every_arm_is_a_configuration_of_its_own() {
        for preset in Preset::iter() {
            assert_eq!(preset.name().parse::<Preset>().unwrap(), preset);
            let arms = preset.arms(&LossConfig::default());
            let configs: Vec<_> = arms.iter().map(|arm| resolve(&Table::new(), &settings(&[], arm, 0, None)).unwrap()).collect();
            for (at, config) in configs.iter().enumerate() {
                let twin = configs[..at].iter().position(|other| other == config);
                assert_eq!(twin, None, "{preset:?}: {} is the same as another", arms[at].name);
                assert!(arms[at].against <= at, "{preset:?}: {} is compared with a later one", arms[at].name);
            }
        }
    }

    #[test]
    fn a_loss_with_dada_is_compared_with_the_same_loss_without() {
        let arms = Preset::Losses.arms(&LossConfig::default());
        assert_eq!(arms.len(), 2 * ProxyLossConfig::all().len());
        for (at, (pair, loss)) in arms.chunks(2).zip(ProxyLossConfig::all()).enumerate() {
            let name = serde_json::to_value(&loss).unwrap()["name"].as_str().unwrap().to_owned();
            for (arm, enabled) in pair.iter().zip([false, true]) {
                assert_eq!(arm.settings[..2], [format!("loss.name={name}"), format!("dada.enabled={enabled}")]);
                assert_eq!(arm.against, 2 * at);
            }
        }
    }

    #[test]
    fn a_files_weight_is_for_its_own_loss() {
        let base: Table = toml::from_str("loss = { name = \"cosface\", weight = 0.3 }").unwrap();
        let configured = resolve(&base, &[]).unwrap().loss;
        for arm in Preset::Losses.arms(&configured) {
            let loss = resolve(&base, &settings(&[], &arm, 0, None)).unwrap().loss;
            let expected = if arm.name.starts_with("cosface") { 0.3 } else { loss.kind.default_weight() };
            assert_eq!(loss.weight, expected, "{}", arm.name);
        }
    }

    #[test]
    fn compat_puts_back_what_a_configuration_has_changed() {
        let base = toml::from_str("dada.category.weight = 0.08\noptimizer.discriminators.learning_rate = 1.5e-2").unwrap();
        for preset in [Preset::Ablation, Preset::Deviations] {
            let arms = preset.arms(&LossConfig::default());
            let compat = arms.iter().find(|arm| arm.name == "compat").unwrap();
            let config = resolve(&base, &settings(&[], compat, 0, None)).unwrap();
            assert_eq!((config.dada.category.weight, config.optimizer.discriminators.learning_rate), (0.01, 5e-4));
            let plain = resolve(&Table::new(), &settings(&[], compat, 0, None)).unwrap();
            let emoji = resolve(&toml::from_str(EMOJI).unwrap(), &settings(&[], compat, 0, None)).unwrap();
            assert_eq!((&emoji.dada.category, &emoji.dada.domain), (&plain.dada.category, &plain.dada.domain));
            // A run folder's configuration has every key.
            let whole = toml::from_str(&RunConfig::default().to_toml()).unwrap();
            assert_eq!(resolve(&whole, &settings(&[], compat, 0, None)).unwrap(), plain);
            let strange = "optimizer.decay = \"decoupled\"\ndada.mix = { mode = \"gated\", draw = \"row\" }\ndada.category.rank = 3";
            assert_eq!(resolve(&toml::from_str(strange).unwrap(), &settings(&[], compat, 0, None)).unwrap(), plain);
        }
    }
}
