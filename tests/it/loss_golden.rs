//! Proxy losses against an independent library, in float64.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use dada::loss::{
    ArcFaceConfig, CosFaceConfig, NormalizedSoftmaxConfig, ProxyAnchorConfig, ProxyLossConfig, ProxyNcaConfig, ProxyNcaPlusPlusConfig,
    SoftTripleConfig, Sum,
};
use dada::model::layers::Initializer;
use serde_json::Value;

use crate::golden::{check, check_value, data, labels, leaf, number, read};

/// The library's matrix under `key`, as `[proxies, dim]`: some of its losses hold it transposed.
fn proxies(golden: &Value, key: &str) -> Tensor<2> {
    let device = Device::default();
    let tensor = Tensor::<2>::from_data(data(&golden[key]), (&device, DType::F64));
    if key == "proxies" { tensor } else { tensor.transpose() }
}

struct Put(TensorData);

impl ModuleMapper for Put {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|old| Tensor::from_data(self.0.clone(), (&old.device(), old.dtype())).require_grad())
    }
}

fn check_case(name: &str, key: &str, config: impl Fn(&dyn Fn(&str) -> f64) -> ProxyLossConfig) {
    let golden = read("losses_golden.json");
    let case = &golden["losses"][name];
    let config = config(&|key| number(&case["config"][key]));
    let batch = leaf(&golden["embeddings"]);
    let classes = golden["n_classes"].as_u64().unwrap() as usize;
    let mut init = Initializer::new(&Device::default().autodiff(), 0).with_dtype(DType::F64);
    let loss = config.init(classes, batch.dims()[1], &mut init).map(&mut Put(proxies(&case["params"], key).into_data()));

    let value = loss.forward(batch.clone(), &labels(&golden["labels"]));
    check_value(name, value.clone(), &case["value"]);
    let gradients = value.backward();
    check(&format!("{name}: gradient of embeddings"), batch.grad(&gradients).unwrap().into_data(), &case["grad_embeddings"]);
    let gradient = loss.proxies().grad(&gradients).unwrap();
    let gradient = if key == "proxies" { gradient } else { gradient.transpose() };
    check(&format!("{name}: gradient of proxies"), gradient.into_data(), &case["grad_params"][key]);
}

#[test]
fn golden_proxy_anchor() {
    check_case("proxy_anchor", "proxies", |get| {
        ProxyLossConfig::ProxyAnchor(ProxyAnchorConfig {
            alpha_positive: get("alpha"),
            alpha_negative: get("alpha"),
            delta_positive: get("margin"),
            delta_negative: -get("margin"),
            ..Default::default()
        })
    });
}

#[test]
fn golden_proxy_nca() {
    check_case("proxy_nca", "proxies", |get| ProxyLossConfig::ProxyNca(ProxyNcaConfig { scale: get("softmax_scale"), sum: Sum::All }));
}

#[test]
fn golden_proxy_nca_plus_plus() {
    // With a sum over all proxies the library's Proxy-NCA is ProxyNCA++, its scale the inverse temperature.
    check_case("proxy_nca", "proxies", |get| {
        ProxyLossConfig::ProxyNcaPlusPlus(ProxyNcaPlusPlusConfig { temperature: 1.0 / get("softmax_scale") })
    });
}

#[test]
fn golden_normalized_softmax() {
    check_case("normalized_softmax", "W", |get| {
        ProxyLossConfig::NormalizedSoftmax(NormalizedSoftmaxConfig { temperature: get("temperature") })
    });
}

#[test]
fn golden_cosface() {
    check_case("cosface", "W", |get| ProxyLossConfig::CosFace(CosFaceConfig { scale: get("scale"), margin: get("margin") }));
}

#[test]
fn golden_arcface() {
    check_case("arcface", "W", |get| {
        ProxyLossConfig::ArcFace(ArcFaceConfig { scale: get("scale"), margin: get("margin_degrees").to_radians() })
    });
}

#[test]
fn golden_soft_triple() {
    check_case("soft_triple", "fc", |get| {
        ProxyLossConfig::SoftTriple(SoftTripleConfig {
            centres: get("centers_per_class") as usize,
            lambda: get("la"),
            gamma: get("gamma"),
            margin: get("margin"),
            tau: 0.0,
        })
    });
}
