//! Agreement with timm on weights that both sides compute (`tests/fixtures/backbones.py`), and on EfficientNet-lite0's real ones.

use std::path::{Path, PathBuf};

use burn::module::{ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData, Tolerance};

use super::*;
use crate::formats::NamedTensors;
use crate::formats::safetensors::read_safetensors;
use crate::model::parameters::{self, tensors};
use crate::model::weights::load;
use dada_compute::global_avg_pool;

fn config(name: &str) -> BackboneConfig {
    serde_json::from_value(serde_json::json!({ "name": name })).unwrap()
}

/// splitmix64 of (FNV-1a of the key, index), in [-1, 1): the same sequence as in the script.
fn values(key: &str, count: usize, scale: f64, offset: f64) -> Vec<f32> {
    let start = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (0..count as u64)
        .map(|index| {
            let mut z = start.wrapping_add((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            let unit = (z >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
            (offset + scale * unit) as f32
        })
        .collect()
}

/// Weights by formula for every path of a network.
fn formula_weights(network: &Backbone) -> NamedTensors {
    let mut weights = tensors(network);
    for (key, data) in &mut weights {
        let shape: Vec<usize> = data.shape().to_vec();
        let count = shape.iter().product();
        let (scale, offset) = if key.ends_with("running_var") || (shape.len() == 1 && key.ends_with("weight")) {
            (0.5, 1.0)
        } else if shape.len() == 4 || shape.len() == 2 {
            ((3.0 / shape[1..].iter().product::<usize>() as f64).sqrt(), 0.0)
        } else {
            (0.2, 0.0)
        };
        *data = TensorData::new(values(key, count, scale, offset), shape);
    }
    weights
}

fn input(batch: usize, size: usize, device: &Device) -> Tensor<4> {
    let shape = [batch, 3, size, size];
    Tensor::from_data(TensorData::new(values("input", shape.iter().product(), 1.0, 0.0), shape), device)
}

fn network(name: &str, device: &Device) -> Backbone {
    let network = config(name).init(&mut Initializer::new(device, 1));
    let weights = formula_weights(&network);
    parameters::load(network, &weights, "formula").unwrap()
}

fn fixture() -> NamedTensors {
    read_safetensors(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/backbones.safetensors"))).unwrap()
}

/// The largest difference over the largest value.
fn relative_error(ours: &TensorData, theirs: &TensorData) -> f64 {
    assert_eq!(ours.shape().as_slice(), theirs.shape().as_slice());
    let (ours, theirs) = (ours.try_to_vec::<f32>().unwrap(), theirs.try_to_vec::<f32>().unwrap());
    let largest = theirs.iter().fold(0.0_f64, |most, &value| most.max(f64::from(value.abs())));
    let difference = ours.iter().zip(&theirs).fold(0.0_f64, |most, (&a, &b)| most.max(f64::from((a - b).abs())));
    assert!(ours.iter().all(|value| value.is_finite()) && largest > 0.0);
    difference / largest
}

/// The sizes of pictures for which the reference implementation's output is known.
fn fixture_sizes(config: &BackboneConfig) -> Vec<usize> {
    let prefix = format!("{}.", config.name());
    fixture().keys().filter_map(|key| key.strip_prefix(&prefix)?.parse().ok()).collect()
}

#[test]
fn every_network_of_timms_agrees_with_it() {
    let device = Device::default();
    for config in BackboneConfig::all() {
        let name = config.name();
        let sizes = fixture_sizes(&config);
        // Ours alone is the small network.
        assert_eq!(sizes.is_empty(), name == "convnet", "{name} has no fixture, or is not timm's");
        let network = network(name, &device);
        for size in sizes {
            let expected = &fixture()[&format!("{name}.{size}")];
            let found = match network.forward(input(2, size, &device), Mode::Infer) {
                Features::Map(map) => map.into_data(),
                // The class token, and a few patches: all of them would be a large file.
                Features::Tokens(tokens) => Tensor::cat((0..5).map(|i| tokens.clone().narrow(1, i * 49, 1)).collect(), 1).into_data(),
            };
            let error = relative_error(&found, expected);
            println!("{name} at {size}: relative error {error:.1e}");
            assert!(error < 1e-4, "{name} at {size}: {error}");
        }
    }
}

#[test]
fn odd_sizes_are_compared_too() {
    // There padding is on both sides where an even size pads at the bottom and right only.
    for name in ["tf_efficientnet_lite0", "resnet18"] {
        assert_eq!(fixture_sizes(&config(name)), [64, 75]);
    }
}

/// A side of a picture that the network can look at.
fn small(config: &BackboneConfig) -> usize {
    if config.check_size(32).is_ok() { 32 } else { 224 }
}

#[test]
fn every_network_is_the_sum_of_its_stages() {
    let device = Device::default();
    for config in BackboneConfig::all() {
        let network = network(config.name(), &device);
        let images = input(1, small(&config), &device);
        let whole = network.forward(images.clone(), Mode::Infer);
        assert_eq!(matches!(whole, Features::Tokens(_)), config.has_class_token());
        let whole = whole.map();
        assert_eq!(whole.dims()[1], config.features());
        for split in [0, 1, 3, network.stages()] {
            let prefix = network.forward_stages(Features::Map(images.clone()), 0..split, Mode::Infer);
            let parts = network.forward_stages(prefix, split..network.stages(), Mode::Infer).map();
            parts.into_data().assert_approx_eq::<f32>(&whole.to_data(), Tolerance::absolute(1e-6));
        }
    }
}

struct CountReached {
    gradients: Gradients,
    reached: usize,
}

impl ModuleVisitor for CountReached {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.reached += usize::from(param.val().grad(&self.gradients).is_some());
    }
}

#[test]
fn training_reaches_every_weight() {
    let device = Device::default().autodiff();
    let mut with_norm = 0;
    for config in BackboneConfig::all() {
        let (name, size) = (config.name(), small(&config));
        for statistics in ["free", "frozen"] {
            // A network without batch norm refuses the key.
            let Ok(config) = serde_json::from_value::<BackboneConfig>(serde_json::json!({ "name": name, "statistics": statistics })) else {
                continue;
            };
            let network = config.init(&mut Initializer::new(&device, 1));
            let before = tensors(&network);
            let map = network.forward(input(2, size, &device), Mode::Train).map();
            let gradients = map.sum().backward();
            let mut count = CountReached { gradients, reached: 0 };
            network.visit(&mut count);
            let buffers = before.keys().filter(|key| key.contains("running")).count();
            assert_eq!(count.reached, before.len() - buffers, "{name} {statistics}");
            let moved = tensors(&network).iter().filter(|(key, data)| **data != before[*key]).count();
            assert_eq!(moved, if statistics == "free" { buffers } else { 0 }, "{name} {statistics}");
            with_norm += 1;
        }
    }
    assert_eq!(with_norm, 2 * (BackboneConfig::all().len() - 1), "all but the ViT");
}

#[test]
fn names_are_timms_and_unknown_keys_are_refused() {
    for listed in BackboneConfig::all() {
        let text = serde_json::to_string(&listed).unwrap();
        assert_eq!(serde_json::from_str::<BackboneConfig>(&text).unwrap(), listed);
        assert_eq!(config(listed.name()), listed);
    }
    let parse = |text: &str| serde_json::from_str::<BackboneConfig>(text);
    assert!(parse(r#"{"name":"resnet18","statistics":"frozen"}"#).is_ok());
    assert!(parse(r#"{"name":"resnet18","statistic":"frozen"}"#).is_err());
    assert!(parse(r#"{"name":"vit_small_patch16_224","statistics":"frozen"}"#).is_err());
    let message = parse(r#"{"name":"resnet19"}"#).unwrap_err().to_string();
    assert!(message.contains("resnet18") && message.contains("vit_small_patch16_224"), "{message}");
}

#[test]
fn a_vit_sees_one_size() {
    assert!(config("vit_small_patch16_224").check_size(224).is_ok());
    let message = config("vit_small_patch16_224").check_size(128).unwrap_err().to_string();
    assert!(message.contains("224 × 224") && message.contains("128"), "{message}");
    assert!(config("resnet18").check_size(128).is_ok());
}

/// The real weights and what PyTorch makes of them.
#[test]
#[ignore = "needs weights that are not in the repository: DADA_SHARED=FOLDER cargo test --release -- --ignored lite0_reproduces"]
fn lite0_reproduces_the_reference_features() {
    let shared = std::env::var_os("DADA_SHARED").expect("DADA_SHARED names the folder with weights/tf_efficientnet_lite0.in1k.safetensors");
    let shared = PathBuf::from(shared);
    let device = Device::default();
    let network = config("tf_efficientnet_lite0").init(&mut Initializer::new(&device, 1));
    let network = load(network, &shared.join("weights/tf_efficientnet_lite0.in1k.safetensors")).unwrap();
    let reference = read_safetensors(&shared.join("weights/tf_efficientnet_lite0.reference.safetensors")).unwrap();
    for size in [128, 224] {
        // The file declares [2, 3, size, size], but its values lie channel last: only so are they pictures (two birds).
        let pixels = Tensor::<4>::from_data(reference[&format!("x{size}")].clone(), &device);
        let images = pixels.reshape([2, size, size, 3]).permute([0, 3, 1, 2]);
        let found = global_avg_pool(network.forward(images, Mode::Infer).map()).into_data();
        let error = relative_error(&found, &reference[&format!("feat{size}")]);
        println!("lite0 at {size}: relative error {error:.1e}");
        assert!(error < 1e-3, "lite0 at {size}: {error}");
    }
}
