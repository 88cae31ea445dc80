//! The released criterion, term by term, in float64.

use std::collections::BTreeMap;

use burn::module::Param;
use burn::tensor::{DType, Device, Tensor};
use dada::adversarial::{
    CategoryConfig, DadaConfig, DiscriminatorConfig, Discriminators, DomainConfig, GradientScale, MixConfig, Norm, RampUp, Randomness,
    Terms, append_class_mixtures,
};
use dada::formats::NamedTensors;
use dada::loss::{LossSettings, PositiveMean, ProxyAnchorConfig, ProxyLoss};
use dada::model::layers::Initializer;
use dada::model::parameters;
use dada::random::{Purpose, generator};
use serde_json::Value;

use crate::golden::{check, check_value, data, labels, leaf, number, read};

struct Case<'a> {
    golden: &'a Value,
    config: DadaConfig,
    loss_weight: f64,
    batch: Tensor<2>,
    proxies: Tensor<2>,
    x: Tensor<2>,
    labels: Vec<usize>,
    loss: ProxyLoss,
    discriminators: Discriminators,
}

fn compat(config: &Value) -> DadaConfig {
    let get = |key: &str| number(&config[key]);
    let width = |key: &str| get(key) as usize;
    let shape = |hidden: Vec<usize>, output_norm: &str| DiscriminatorConfig {
        hidden,
        norm: Norm::BatchPerDomain,
        output_norm: config[output_norm].as_bool().unwrap(),
        dropout: 0.0,
        spectral_norm: false,
    };
    let ratio = get("d_dis_ratio");
    let discriminator = shape(vec![width("fc_fc1_dim"), width("fc_fc2_dim")], "fc2_bn");
    DadaConfig {
        mix: MixConfig { normalize: false, ..Default::default() },
        domain: DomainConfig {
            weight: 1.0 - ratio,
            generator_weight: 1.0 - ratio,
            discriminator: shape(vec![width("fd_fc1_dim")], "fd2_bn"),
            ..Default::default()
        },
        category: CategoryConfig { weight: ratio, discrepancy_weight: ratio, discriminator, ..Default::default() },
        ..Default::default()
    }
}

/// Our path of each of the released code's parameters.
fn renamed(state: &Value, released: &str) -> NamedTensors {
    let mut tensors = BTreeMap::new();
    for (key, value) in state.as_object().unwrap() {
        let Some(key) = key.strip_prefix(released).and_then(|key| key.strip_prefix('.')) else { continue };
        let (layer, field) = key.split_once('.').unwrap();
        if !["weight", "bias"].contains(&field) {
            continue;
        }
        let index = |digits: &str| digits.parse::<usize>().unwrap() - 1;
        let name = match layer.strip_prefix("bn") {
            Some(rest) => format!("norms.{}.{field}", index(rest.strip_suffix("_fc").unwrap())),
            None => format!("layers.{}.{field}", index(layer.strip_prefix("fc").unwrap())),
        };
        tensors.insert(name, data(value));
    }
    tensors
}

impl<'a> Case<'a> {
    fn new(golden: &'a Value) -> Self {
        let config = compat(&golden["config"]);
        let get = |key: &str| number(&golden["config"][key]);
        let [classes, dim] = [get("n_classes") as usize, get("embed_dim") as usize];
        let mut init = Initializer::new(&Device::default().autodiff(), 0).with_dtype(DType::F64);
        let anchor = ProxyAnchorConfig {
            alpha_positive: get("loss_oproxy_pos_alpha"),
            alpha_negative: get("loss_oproxy_neg_alpha"),
            delta_positive: get("loss_oproxy_pos_delta"),
            delta_negative: get("loss_oproxy_neg_delta"),
            positive_mean: PositiveMean::Rows,
        };
        let mut loss = anchor.init(classes, dim, &mut init);
        let proxies = leaf(&golden["state"]["proxies"]);
        loss.proxies = Param::initialized(loss.proxies.id, proxies.clone());

        let Discriminators { domain, category, mixer } = config.init(dim, classes, &mut init);
        // The released code keeps the parameters of an output norm that it does not use.
        let load = |module: dada::adversarial::Discriminator, released: &str| {
            let mut tensors = renamed(&golden["state"], released);
            let known = parameters::tensors(&module);
            tensors.retain(|name, _| known.contains_key(name));
            parameters::load(module, &tensors, released).unwrap()
        };
        let discriminators = Discriminators {
            domain: domain.map(|module| load(module, "uni_discriminator_a")),
            category: category.map(|module| load(module, "dis_discriminator_a")),
            mixer,
        };

        let batch = leaf(&golden["batch"]);
        let mut labels = labels(&golden["labels"]);
        let mut x = batch.clone();
        if golden["config"]["pos_class_mix"].as_bool().unwrap() {
            (x, labels) = append_class_mixtures(x, &labels, number(&golden["mix_m"]));
            check("class mixtures", x.to_data(), &golden["class_mix"]["batch"]);
            assert_eq!(labels, crate::golden::labels(&golden["class_mix"]["labels"]));
        }
        Self {
            golden,
            config,
            loss_weight: get("oproxy_ratio"),
            batch,
            proxies,
            x,
            labels,
            loss: ProxyLoss::ProxyAnchor(loss),
            discriminators,
        }
    }

    fn terms(&self) -> Terms {
        let coefficients = vec![number(&self.golden["mix_m"]); self.labels.len()];
        let [classes, dropout] = [Purpose::Classes, Purpose::Dropout].map(|purpose| generator(0, purpose, 0, 0, 0));
        let mut random = Randomness { domain: coefficients.clone(), category: coefficients, classes, dropout };
        let rows = self.loss.proxy_rows(self.x.clone(), &self.labels);
        Terms::new(&self.discriminators, &self.config, self.x.clone(), rows, &self.labels, &mut random, GradientScale::ONE)
    }

    fn check(&self, term: &str, value: Tensor<1>) {
        let golden = &self.golden[term];
        check_value(term, value.clone(), &golden["value"]);
        let gradients = value.backward();
        for (leaf, key) in [(&self.batch, "grad_batch"), (&self.proxies, "grad_proxies")] {
            let gradient = leaf.grad(&gradients).unwrap_or_else(|| leaf.clone().inner().zeros_like());
            check(&format!("{term}, {key}"), gradient.into_data(), &golden[key]);
        }
    }
}

fn check_case(name: &str) {
    let golden = read("dada_golden.json");
    let golden = &golden[name];
    // A backward pass consumes the graph: each term gets a case of its own.
    let case = || Case::new(golden);
    let on = |case: Case<'_>, term: &str, value: fn(&Case<'_>) -> Tensor<1>| case.check(term, value(&case));
    on(case(), "proxy_loss", |case| case.loss.forward(case.x.clone(), &case.labels));
    on(case(), "domain_u", |case| case.terms().domain.unwrap());
    on(case(), "cat_dis", |case| case.terms().discrepancy.unwrap());
    on(case(), "cat_D (s-dis)", |case| {
        let terms = case.terms();
        terms.risk.unwrap() - terms.discrepancy.unwrap()
    });
    on(case(), "cat_G (s+dis)", |case| {
        let terms = case.terms();
        terms.risk.unwrap() + terms.discrepancy.unwrap()
    });
    on(case(), "generator_total", |case| {
        case.loss.forward(case.x.clone(), &case.labels) * case.loss_weight + case.terms().for_encoder(&case.config, RampUp::DONE).unwrap()
    });

    let case = case();
    let total = case.terms().for_discriminators(&case.config).unwrap();
    let golden = &case.golden["discriminator_total"];
    check_value("discriminator_total", total.clone(), &golden["value"]);
    let gradients = total.backward();
    for (module, released) in [(&case.discriminators.domain, "uni_discriminator_a"), (&case.discriminators.category, "dis_discriminator_a")]
    {
        let module = module.as_ref().unwrap();
        for (index, layer) in module.layers.iter().enumerate() {
            let name = format!("{released}.fc{}", index + 1);
            check(&name, layer.weight.grad(&gradients).unwrap().into_data(), &golden["grads"][format!("{name}.weight")]);
            check(&name, layer.bias.grad(&gradients).unwrap().into_data(), &golden["grads"][format!("{name}.bias")]);
        }
        for (index, norm) in module.norms.iter().enumerate() {
            let name = [format!("{released}.bn{}", index + 1), format!("{released}.bn{}_fc", index + 1)]
                .into_iter()
                .find(|name| golden["grads"].get(format!("{name}.weight")).is_some())
                .expect("the golden file has a gradient for each norm in use");
            check(&name, norm.weight.grad(&gradients).unwrap().into_data(), &golden["grads"][format!("{name}.weight")]);
            check(&name, norm.bias.grad(&gradients).unwrap().into_data(), &golden["grads"][format!("{name}.bias")]);
        }
    }
}

#[test]
fn golden_released_criterion_on_cub() {
    check_case("cub");
}

#[test]
fn golden_released_criterion_on_cars() {
    check_case("cars");
}
