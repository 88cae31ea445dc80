//! Which runs a comparison is made of.

use std::num::NonZeroUsize;

use toml::Table;

use crate::config::{RunConfig, parse_setting};
use crate::error::{Error, Result};

/// One variant of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// What tables call it.
    pub name: String,
    /// `section.key=value`, in order.
    pub settings: Vec<String>,
    /// Index of the arm that it is compared with, in the list that it is part of; its own where it is compared with none.
    pub against: usize,
}

impl Arm {
    /// Its name, or what stands for it where nothing is varied.
    pub fn title(&self) -> &str {
        if self.name.is_empty() { "base" } else { &self.name }
    }
}

/// What the arms are compared with, for a sentence.
pub fn compared_with(arms: &[Arm]) -> String {
    if arms.iter().all(|arm| arm.against == 0) {
        format!("“{}”", arms[0].title())
    } else {
        "the arm that each is compared with".to_owned()
    }
}

/// Every combination of the values of `vary`, each `section.key=a,b,c`, the last key varying fastest.
///
/// # Errors
/// Without an equals sign or a value.
pub fn arms(vary: &[String]) -> Result<Vec<Arm>> {
    let mut arms = vec![Arm { name: String::new(), settings: Vec::new(), against: 0 }];
    for varied in vary {
        let Some((key, values)) = varied.split_once('=') else {
            return Err(Error::Config(format!("found {varied:?}, expected section.key=value,value,…")));
        };
        let values = split(values, ',');
        if values.iter().any(|value| value.is_empty()) {
            return Err(Error::Config(format!("{varied:?} has an empty value")));
        }
        let short = key.rsplit('.').next().unwrap_or(key);
        let with = |arm: &Arm, value: &str| Arm {
            name: [arm.name.as_str(), &format!("{short}={value}")].join(" ").trim_start().to_owned(),
            settings: arm.settings.iter().cloned().chain([format!("{key}={value}")]).collect(),
            against: 0,
        };
        arms = arms.iter().flat_map(|arm| values.iter().map(|value| with(arm, value)).collect::<Vec<_>>()).collect();
    }
    Ok(arms)
}

/// Arms by name, each `NAME: section.key=value; section.key=value`; with the name alone, the configuration as it is.
///
/// # Errors
/// Without a name, for a name given twice, and for a setting without an equals sign.
pub fn named(texts: &[String]) -> Result<Vec<Arm>> {
    let mut arms: Vec<Arm> = Vec::new();
    for text in texts {
        let (name, settings) = text.split_once(':').unwrap_or((text, ""));
        let settings: Vec<String> = split(settings, ';').into_iter().filter(|setting| !setting.is_empty()).map(str::to_owned).collect();
        let name = name.trim().to_owned();
        // A name of dots alone would be a folder that is there already.
        if name.trim_matches('.').is_empty() || name.contains('=') || settings.iter().any(|setting| !setting.contains('=')) {
            return Err(Error::Config(format!("found arm {text:?}, expected \"NAME: section.key=value; …\"")));
        }
        if arms.iter().any(|arm| arm.name == name) {
            return Err(Error::Config(format!("two arms are named {name:?}")));
        }
        arms.push(Arm { name, settings, against: 0 });
    }
    Ok(arms)
}

/// At separators outside brackets, braces and quotes.
fn split(values: &str, separator: char) -> Vec<&str> {
    let (mut depth, mut quoted, mut start) = (0i32, false, 0);
    let mut parts = Vec::new();
    for (at, character) in values.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth -= 1,
            _ if character == separator && !quoted && depth == 0 => {
                parts.push(values[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(values[start..].trim());
    parts
}

/// Arms that are runs of their own. A list that people gave has no others; of a preset, those that a configuration cannot have, or that are
/// there already, are left out, each with a sentence about it.
///
/// # Errors
/// When the first arm is no configuration; of a list that people gave, when any is none, or is the same as an earlier one.
pub fn distinct(arms: Vec<Arm>, is_preset: bool, config_of: impl Fn(&Arm) -> Result<RunConfig>) -> Result<(Vec<Arm>, Vec<String>)> {
    let names: Vec<String> = arms.iter().map(|arm| arm.title().to_owned()).collect();
    let mut kept: Vec<(Arm, RunConfig)> = Vec::new();
    let mut left_out = Vec::new();
    for arm in arms {
        let found =
            config_of(&arm).map_err(|error| error.to_string()).and_then(|config| match kept.iter().find(|(_, other)| *other == config) {
                Some((twin, _)) => Err(format!("the same runs as arm {:?}", twin.title())),
                None => Ok(config),
            });
        match found {
            Ok(config) => {
                let against = kept.iter().position(|(other, _)| other.title() == names[arm.against]).unwrap_or(kept.len());
                kept.push((Arm { against, ..arm }, config));
            }
            Err(problem) if is_preset && !kept.is_empty() => left_out.push(format!("arm {:?} is left out: {problem}", arm.title())),
            Err(problem) => return Err(Error::Config(format!("arm {:?}: {problem}", arm.title()))),
        }
    }
    Ok((kept.into_iter().map(|(arm, _)| arm).collect(), left_out))
}

/// Refuses settings that a comparison makes itself.
///
/// # Errors
/// For the seed, with folds for the validation classes, and for a setting that is none.
pub fn check_settings<'a>(settings: impl Iterator<Item = &'a String>, with_folds: bool) -> Result<()> {
    for setting in settings {
        let table = parse_setting(setting)?;
        let validates = table.get("data").is_some_and(|data| data.get("validation").is_some());
        if table.contains_key("seed") || (with_folds && validates) {
            return Err(Error::Config(format!("found the setting {setting:?}: a comparison has --seeds and --folds for that")));
        }
    }
    Ok(())
}

/// Most seeds of a comparison.
const MOST_SEEDS: u64 = 10_000;

/// `0..5`, which is 0, 1, 2, 3 and 4, or `0,3,7`.
///
/// # Errors
/// For anything else, and for no, repeated or more than 10,000 seeds.
pub fn seeds(text: &str) -> Result<Vec<u64>> {
    let wrong = || Error::Config(format!("found seeds {text:?}, expected such as 0..5 or 0,3,7, and at most {MOST_SEEDS}"));
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong());
    let seeds: Vec<u64> = match text.split_once("..") {
        Some((from, to)) => {
            let (from, to) = (number(from)?, number(to)?);
            if to.saturating_sub(from) > MOST_SEEDS {
                return Err(wrong());
            }
            (from..to).collect()
        }
        None => text.split(',').map(number).collect::<Result<_>>()?,
    };
    let distinct: std::collections::BTreeSet<&u64> = seeds.iter().collect();
    if seeds.is_empty() || distinct.len() < seeds.len() { Err(wrong()) } else { Ok(seeds) }
}

/// The settings of one run: those of all runs, those of its arm, its seed, and the fold of training classes that it validates on.
pub fn settings(common: &[String], arm: &Arm, seed: u64, folds: Option<NonZeroUsize>) -> Vec<String> {
    let mut settings: Vec<String> = common.iter().chain(&arm.settings).cloned().collect();
    settings.push(format!("seed={seed}"));
    if let Some(folds) = folds {
        let fold = seed % folds.get() as u64;
        settings.push(format!("data.validation={{ name = \"fold\", index = {fold}, count = {folds} }}"));
    }
    settings
}

/// The configuration of one run.
///
/// # Errors
/// As [`RunConfig::resolve`].
pub fn resolve(base: &Table, settings: &[String]) -> Result<RunConfig> {
    let layers = settings.iter().map(|setting| parse_setting(setting)).collect::<Result<Vec<_>>>()?;
    RunConfig::resolve(&[vec![base.clone()], layers].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_once() {
        let vary = ["dada.enabled=true,false".to_owned(), "dada.domain.hidden=[64],[64,32]".to_owned()];
        let arms = arms(&vary).unwrap();
        let names: Vec<&str> = arms.iter().map(|arm| arm.name.as_str()).collect();
        assert_eq!(
            names,
            ["enabled=true hidden=[64]", "enabled=true hidden=[64,32]", "enabled=false hidden=[64]", "enabled=false hidden=[64,32]"]
        );
        assert_eq!(arms[1].settings, ["dada.enabled=true", "dada.domain.hidden=[64,32]"]);
        let config = resolve(&Table::new(), &settings(&[], &arms[1], 7, NonZeroUsize::new(5))).unwrap();
        assert_eq!(config.seed, 7);
        assert_eq!(config.dada.domain.discriminator.hidden, [64, 32]);
        assert_eq!(config.data.validation, crate::data::split::HoldOut::Fold { index: 2, count: 5 });
        assert!(super::arms(&["seed".to_owned()]).unwrap_err().to_string().contains("expected section.key"));
        assert!(super::arms(&["seed=1,,2".to_owned()]).is_err());
    }

    #[test]
    fn an_arm_has_a_name_and_settings() {
        let texts = ["none: dada.enabled=false; dada.mix={ alpha = 1, beta = 2 }", "as it is"].map(str::to_owned);
        let [none, plain] = named(&texts).unwrap().try_into().unwrap();
        assert_eq!(
            none,
            Arm { name: "none".into(), settings: vec!["dada.enabled=false".into(), "dada.mix={ alpha = 1, beta = 2 }".into()], against: 0 }
        );
        assert_eq!(plain, Arm { name: "as it is".into(), settings: vec![], against: 0 });
        for wrong in ["", ": seed=1", "seed=1", "a: seed", "..: seed=1"] {
            assert!(named(&[wrong.to_owned()]).unwrap_err().to_string().contains("expected \"NAME:"), "{wrong}");
        }
        let twice = ["a".to_owned(), "a: seed=1".to_owned()];
        assert!(named(&twice).unwrap_err().to_string().ends_with("two arms are named \"a\""));
    }

    #[test]
    fn an_arm_is_a_run_of_its_own() {
        let base = toml::from_str("dada.update = \"alternating\"\ndada.d_steps = 3").unwrap();
        let config_of = |arm: &Arm| resolve(&base, &settings(&[], arm, 0, None));
        let texts =
            ["as it is", "alternating: dada.update=alternating", "none: dada.enabled=false", "wrong: loss.none=1"].map(str::to_owned);
        let mut arms = named(&texts).unwrap();
        let refused = |arms: &[Arm]| distinct(arms.to_vec(), false, config_of).unwrap_err().to_string();
        assert!(refused(&arms).ends_with("arm \"alternating\": the same runs as arm \"as it is\""));
        assert!(refused(&arms[2..]).contains("arm \"wrong\": "));
        arms.push(Arm { name: "last".into(), settings: vec!["dada.d_steps=2".into()], against: 2 });
        let (kept, left_out) = distinct(arms, true, config_of).unwrap();
        assert_eq!(kept.iter().map(|arm| (arm.title(), arm.against)).collect::<Vec<_>>(), [("as it is", 0), ("none", 0), ("last", 1)]);
        assert_eq!(left_out.len(), 2);

        let taken = |setting: &str, with_folds| check_settings([setting.to_owned()].iter(), with_folds).is_err();
        assert!(taken("seed = 3", false) && taken("data.validation.name=nothing", true));
        assert!(taken("data={ validation = { name = \"nothing\" } }", true) && taken("seed", false));
        assert!(!taken("data.validation.name=nothing", false) && !taken("dada.enabled=false", true));
    }

    #[test]
    fn seeds_are_a_range_or_a_list() {
        assert_eq!(seeds("0..3").unwrap(), [0, 1, 2]);
        assert_eq!(seeds("4, 2").unwrap(), [4, 2]);
        for wrong in ["3..3", "a", "1,1", "", "1..x", "0..99999999999"] {
            assert!(seeds(wrong).unwrap_err().to_string().contains("expected such as"), "{wrong}");
        }
    }
}
