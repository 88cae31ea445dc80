//! Every key of `[dada]` changes what is learned, and nothing breaks with any value of it.

use dada::config::RunConfig;
use dada::formats::NamedTensors;
use dada::loss::ProxyLossConfig;
use dada::model::parameters::tensors;
use toml::Table;

use crate::configuration::keys;
use crate::losses::{features_run, learn};

const STEPS: usize = 6;

/// What each key is changed to, one value after another.
const CHANGES: [(&str, &[&str]); 33] = [
    ("dada.enabled", &["false"]),
    ("dada.mode", &["\"compat\""]),
    ("dada.update", &["\"reversal\""]),
    ("dada.d_steps", &["1"]),
    ("dada.d_warmup_epochs", &["1"]),
    ("dada.mix.mode", &["\"spherical\"", "\"gated\"", "\"projected\""]),
    ("dada.mix.alpha", &["0.5"]),
    ("dada.mix.beta", &["7.0"]),
    ("dada.mix.draw", &["\"batch\""]),
    ("dada.mix.normalize", &["false"]),
    ("dada.mix.shift_scale", &["0.5"]),
    ("dada.mix.append_proxies", &["true"]),
    // Adam does not see the size of a discriminator's only term.
    ("dada.domain.weight", &["0.0"]),
    ("dada.domain.generator_weight", &["0.5", "0.0"]),
    ("dada.domain.confusion", &["\"non-saturating\"", "\"uniform\""]),
    ("dada.domain.ramp_epochs", &["2"]),
    ("dada.domain.hidden", &["[]", "[6, 4, 3]"]),
    ("dada.domain.norm", &["\"batch-per-domain\"", "\"layer\"", "\"none\""]),
    ("dada.domain.output_norm", &["true"]),
    ("dada.domain.dropout", &["0.5"]),
    ("dada.domain.spectral_norm", &["true"]),
    ("dada.category.weight", &["0.5", "0.0"]),
    ("dada.category.discrepancy_weight", &["0.5", "0.0"]),
    ("dada.category.discrepancy", &["\"l1\"", "\"none\""]),
    ("dada.category.ramp_epochs", &["2"]),
    ("dada.category.rank", &["2"]),
    ("dada.category.sampled_classes", &["1"]),
    ("dada.category.hidden", &["[]", "[6, 4, 3]"]),
    ("dada.category.norm", &["\"batch-per-domain\"", "\"layer\"", "\"none\""]),
    ("dada.category.output_norm", &["true"]),
    ("dada.category.dropout", &["0.0"]),
    ("dada.category.spectral_norm", &["true"]),
    ("train.class_mixup", &["true"]),
];

fn run(changes: &[(&str, &str)]) -> (RunConfig, String) {
    let base = features_run(
        &ProxyLossConfig::ProxyAnchor(Default::default()),
        "dada = { update = \"alternating\", d_steps = 3, domain = { generator_weight = 0.1 }, category = { hidden = [7, 5] } }",
    );
    let mut layers: Vec<Table> = vec![toml::from_str(&base.to_toml()).unwrap()];
    layers.extend(changes.iter().map(|(key, value)| dada::config::parse_setting(&format!("{key}={value}")).unwrap()));
    let config = RunConfig::resolve(&layers).unwrap();
    let (mut records, _) = learn(&config, STEPS);
    // What a term pulls by is measured apart from what it does.
    records.iter_mut().for_each(|record| record.gradient_norms = None);
    let finite = |value: &Option<f64>| value.is_none_or(f64::is_finite);
    for record in &records {
        let terms = [&record.proxy_loss, &record.domain, &record.risk, &record.discrepancy, &record.proxy_cosine];
        assert!(terms.into_iter().all(finite), "{changes:?}: {record:?}");
    }
    // What was learned shows in what follows.
    (config, format!("{records:?}"))
}

#[test]
fn every_key_makes_a_difference() {
    let (config, usual) = run(&[]);
    for (key, _) in keys(&Table::try_from(&config.dada).unwrap(), "dada") {
        assert!(CHANGES.iter().any(|(changed, _)| *changed == key), "{key} is not tried");
    }
    for (key, values) in CHANGES.iter().filter(|(key, _)| *key != "dada.mode") {
        let mut seen = vec![usual.clone()];
        for value in *values {
            let (_, records) = run(&[(key, value)]);
            assert!(!seen.contains(&records), "{key} = {value} does nothing");
            seen.push(records);
        }
    }
}

#[test]
fn options_go_together() {
    for mode in ["\"spherical\"", "\"gated\"", "\"projected\""] {
        for update in ["\"alternating\"", "\"reversal\""] {
            for (norm, output_norm) in [("\"none\"", "false"), ("\"batch-per-domain\"", "true")] {
                run(&[
                    ("dada.mix.mode", mode),
                    ("dada.update", update),
                    ("dada.category.norm", norm),
                    ("dada.category.output_norm", output_norm),
                    ("dada.category.rank", "2"),
                    ("dada.category.sampled_classes", "1"),
                    ("dada.category.spectral_norm", "true"),
                    ("dada.mix.append_proxies", "true"),
                    ("train.class_mixup", "true"),
                ]);
            }
        }
    }
}

#[test]
fn learned_mixtures_learn_with_the_encoder_and_not_with_the_discriminators() {
    let parts = |update: &str, warm_up: usize, steps: usize| -> [NamedTensors; 4] {
        let more = format!("dada = {{ {update}, d_warmup_epochs = {warm_up}, mix = {{ mode = \"gated\" }} }}");
        let config = features_run(&ProxyLossConfig::ProxyAnchor(Default::default()), &more);
        let (_, learner) = learn(&config, steps);
        let discriminators = learner.discriminators.unwrap();
        [tensors(&learner.encoder), tensors(&learner.loss), tensors(&discriminators.mixer), tensors(&discriminators.domain)]
    };
    for update in ["update = \"alternating\", d_steps = 1", "update = \"reversal\", d_steps = 0", "update = \"reversal\", d_steps = 1"] {
        let start = parts(update, 0, 0);
        let changed = |warm_up| {
            let after = parts(update, warm_up, 2);
            std::array::from_fn::<_, 4, _>(|part| after[part] != start[part])
        };
        assert_eq!(changed(0), [true; 4], "{update}: encoder, proxies, mixtures and discriminators learn");
        assert_eq!(changed(1), [false, false, false, true], "{update}: in the warm-up the discriminators alone learn");
    }
}
