//! Which runs a comparison is made of.

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
    match arms.iter().all(|arm| arm.against == 0) {
        true => format!("“{}”", arms[0].title()),
        false => "the arm that each is compared with".to_owned(),
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
        if name.is_empty() || name.contains('=') || settings.iter().any(|setting| !setting.contains('=')) {
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

/// `0..5`, which is 0, 1, 2, 3 and 4, or `0,3,7`.
///
/// # Errors
/// For anything else, and for no or repeated seeds.
pub fn seeds(text: &str) -> Result<Vec<u64>> {
    let wrong = || Error::Config(format!("found seeds {text:?}, expected such as 0..5 or 0,3,7"));
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong());
    let seeds: Vec<u64> = match text.split_once("..") {
        Some((from, to)) => (number(from)?..number(to)?).collect(),
        None => text.split(',').map(number).collect::<Result<_>>()?,
    };
    let distinct: std::collections::BTreeSet<&u64> = seeds.iter().collect();
    if seeds.is_empty() || distinct.len() < seeds.len() { Err(wrong()) } else { Ok(seeds) }
}

/// The settings of one run: those of all runs, those of its arm, its seed, and the fold of training classes that it validates on.
pub fn settings(common: &[String], arm: &Arm, seed: u64, folds: Option<usize>) -> Vec<String> {
    let mut settings: Vec<String> = common.iter().chain(&arm.settings).cloned().collect();
    settings.push(format!("seed={seed}"));
    if let Some(folds) = folds {
        let fold = seed % folds as u64;
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
        let config = resolve(&Table::new(), &settings(&[], &arms[1], 7, Some(5))).unwrap();
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
        for wrong in ["", ": seed=1", "seed=1", "a: seed"] {
            assert!(named(&[wrong.to_owned()]).unwrap_err().to_string().contains("expected \"NAME:"), "{wrong}");
        }
        let twice = ["a".to_owned(), "a: seed=1".to_owned()];
        assert!(named(&twice).unwrap_err().to_string().ends_with("two arms are named \"a\""));
    }

    #[test]
    fn seeds_are_a_range_or_a_list() {
        assert_eq!(seeds("0..3").unwrap(), [0, 1, 2]);
        assert_eq!(seeds("4, 2").unwrap(), [4, 2]);
        for wrong in ["3..3", "a", "1,1", "", "1..x"] {
            assert!(seeds(wrong).unwrap_err().to_string().contains("expected such as"), "{wrong}");
        }
    }
}
