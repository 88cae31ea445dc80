//! Proxy losses against an independent library, in float64.

use burn::module::Param;
use burn::tensor::{DType, Device};
use dada::layers::Initializer;
use dada::loss::{ProxyAnchorConfig, ProxyLoss, ProxyLossConfig};

use crate::golden::{check, check_value, labels, leaf, number, read};

#[test]
fn golden_proxy_anchor() {
    let golden = read("losses_golden.json");
    let case = &golden["losses"]["proxy_anchor"];
    let get = |key: &str| number(&case["config"][key]);
    let config = ProxyAnchorConfig {
        alpha_positive: get("alpha"),
        alpha_negative: get("alpha"),
        delta_positive: get("margin"),
        delta_negative: -get("margin"),
        ..Default::default()
    };
    let batch = leaf(&golden["embeddings"]);
    let proxies = leaf(&case["params"]["proxies"]);
    let mut init = Initializer::new(&Device::default().autodiff(), 0).with_dtype(DType::F64);
    let [classes, dim] = proxies.dims();
    let ProxyLoss::ProxyAnchor(mut loss) = ProxyLossConfig::ProxyAnchor(config).init(classes, dim, &mut init);
    loss.proxies = Param::initialized(loss.proxies.id, proxies.clone());

    let value = loss.forward(batch.clone(), &labels(&golden["labels"]));
    check_value("value", value.clone(), &case["value"]);
    let gradients = value.backward();
    check("gradient of embeddings", batch.grad(&gradients).unwrap().into_data(), &case["grad_embeddings"]);
    check("gradient of proxies", proxies.grad(&gradients).unwrap().into_data(), &case["grad_params"]["proxies"]);
}
