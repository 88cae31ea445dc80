//! Whole training and inference steps, to be timed in turns with somebody else's: `benches/peers/steps.py` does it.
//!
//! `steps WORKLOAD` gets ready, prints `ready`, and answers each line on standard input: a number by taking as many steps and printing
//! the seconds and processor seconds that one took, `peak` by printing the peak of its memory in kilobytes.

use std::io::{BufRead, stdin};
use std::path::Path;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use dada::config::{RunConfig, read_layer};
use dada::cost::Cost;
use dada::model::encoder::{Encoder, EncoderInput};
use dada::model::layers::{Initializer, Mode};
use dada::train::learner::Learner;
use dada::train::losses::LossMonitor;
use dada::train::schedule::{At, Clock};
use dada::train::step::{Context, update};
use dada_compute::retain_memory;

/// What a step is taken on.
struct Workload {
    config: RunConfig,
    classes: usize,
    input: EncoderInput,
    rows: usize,
}

fn main() {
    // `cargo bench` hands flags of its own to every bench.
    let Some(name) = std::env::args().skip(1).find(|argument| !argument.starts_with("--")) else {
        println!("python benches/peers/steps.py times these steps in turns with PyTorch's");
        return;
    };
    retain_memory();
    let mut step = ready(&name);
    println!("ready");
    for line in stdin().lock().lines() {
        let line = line.expect("standard input is text");
        if line == "peak" {
            println!("{}", Cost::so_far().peak_bytes / 1024.0);
            continue;
        }
        let count: usize = line.parse().expect("a number of steps, or peak");
        let (started, before) = (Instant::now(), Cost::so_far().cpu_seconds);
        (0..count).for_each(|_| step());
        println!("{} {}", started.elapsed().as_secs_f64() / count as f64, (Cost::so_far().cpu_seconds - before) / count as f64);
    }
}

/// The step that a workload repeats.
fn ready(name: &str) -> Box<dyn FnMut()> {
    let (cub, sop) = ("configs/cub200-compat.toml", "configs/sop-compat.toml");
    let plain = "dada = { enabled = false }\ntrain = { class_mixup = false }\n";
    let backbone =
        |name: &str, statistics: &str| format!("encoder = {{ backbone = {{ name = \"{name}\", statistics = \"{statistics}\" }} }}\n");
    match name {
        "resnet18-train" => train(workload(cub, &(backbone("resnet18", "free") + plain), 100, [32, 64])),
        "resnet50-train" => train(workload(cub, &(backbone("resnet50", "frozen") + plain), 100, [16, 128])),
        "lite0-train" => train(workload(cub, &(backbone("tf_efficientnet_lite0", "free") + plain), 100, [32, 128])),
        "lite0-frozen-train" => train(workload(cub, &(backbone("tf_efficientnet_lite0", "frozen") + plain), 100, [90, 128])),
        "resnet50-inference" => infer(workload(cub, &backbone("resnet50", "frozen"), 100, [8, 224])),
        "lite0-inference" => infer(workload(cub, &backbone("tf_efficientnet_lite0", "frozen"), 100, [32, 128])),
        "resnet50-dada" => train(workload(cub, &backbone("resnet50", "frozen"), 100, [16, 128])),
        "resnet50-without-dada" => train(workload(cub, &(backbone("resnet50", "frozen") + "dada = { enabled = false }"), 100, [16, 128])),
        "features-dada" => train(features(workload(cub, &backbone("tf_efficientnet_lite0", "frozen"), 100, [90, 32]))),
        "features-reversal" => {
            let reversal = "dada = { update = \"reversal\", d_steps = 0 }";
            train(features(workload(cub, &(backbone("tf_efficientnet_lite0", "frozen") + reversal), 100, [90, 32])))
        }
        "classes-dada" => train(features(workload(sop, &backbone("tf_efficientnet_lite0", "frozen"), 11_318, [180, 32]))),
        other => panic!("no workload is called {other:?}"),
    }
}

fn workload(config: &str, changes: &str, classes: usize, [rows, size]: [usize; 2]) -> Workload {
    let given = read_layer(&Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(config)).expect("a configuration of ours");
    let own = "encoder = { weights = \"\", head_init = \"random\" }\n";
    let layers = [given, toml::from_str(own).expect("TOML"), toml::from_str(changes).expect("TOML")];
    let config = RunConfig::resolve(&layers).expect("a sound configuration");
    let images = Tensor::random([rows, 3, size, size], Distribution::Normal(0.0, 1.0), &Device::flex());
    Workload { config, classes, input: EncoderInput::Images(images), rows }
}

/// Cached features instead of pictures.
fn features(workload: Workload) -> Workload {
    let shape = [workload.rows, workload.config.encoder.backbone.features()];
    let features = Tensor::random(shape, Distribution::Uniform(0.0, 1.0), &Device::flex());
    Workload { input: EncoderInput::Pooled(features), ..workload }
}

fn train(Workload { config, classes, input, rows }: Workload) -> Box<dyn FnMut()> {
    let mut init = Initializer::new(&Device::flex().autodiff(), 0);
    let encoder = config.encoder.init(&mut init);
    let mut learner = Some(Learner::new(encoder, &config, classes, &mut init));
    let input = match input {
        EncoderInput::Images(images) => EncoderInput::Images(Tensor::from_inner(images)),
        EncoderInput::Pooled(features) => EncoderInput::Pooled(Tensor::from_inner(features)),
        staged => staged,
    };
    // Beyond all warm-ups: everything learns.
    let mut at = At { epoch: config.warm_ups(), step: 0 };
    let clock = Clock { epochs: config.train.epochs, warm_ups: config.warm_ups(), steps: 1_000_000 };
    let mut losses = LossMonitor::default();
    Box::new(move || {
        let labels: Vec<usize> = (0..rows).map(|row| (row / 2 * 7919 + at.step) % classes).collect();
        let taken = learner.take().expect("put back below");
        let context = Context { config: &config, clock, at, recording: false };
        let (updated, _) = update(taken, input.clone(), &labels, context, &mut losses);
        losses.look().expect("finite losses");
        learner = Some(updated);
        at.step += 1;
    })
}

fn infer(Workload { config, input, .. }: Workload) -> Box<dyn FnMut()> {
    let encoder: Encoder = config.encoder.init(&mut Initializer::new(&Device::flex().autodiff(), 0)).valid();
    Box::new(move || {
        let x = encoder.project(encoder.pooled(input.clone(), Mode::Infer));
        drop(x.into_data());
    })
}
