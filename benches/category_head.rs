//! What the category discriminator costs with the 11,318 classes of Stanford Online Products: time and memory of one update on features that
//! are computed already, against the same update without DADA, and both again with a ResNet-50 step added.
//!
//! `cargo bench --bench category_head`: each variant runs in processes of its own, so that peak memory is that variant's, and variants take
//! turns, so that ratios hold on a machine with other work. `cargo bench --bench category_head -- NAME` measures one.

use std::process::Command;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use dada::config::RunConfig;
use dada::cost::Cost;
use dada::model::encoder::EncoderInput;
use dada::model::layers::Initializer;
use dada::random::{Purpose, generator};
use dada::train::learner::Learner;
use dada::train::losses::LossMonitor;
use dada::train::schedule::{At, Clock};
use dada::train::step::{Context, update};
use rand_distr::{Distribution, StandardNormal};

const CLASSES: usize = 11_318;
const BATCH: usize = 180;
const ROUNDS: usize = 3;
/// Pictures of two ResNet-50 steps, from which time and memory of one with [`BATCH`] follow as a straight line.
const PICTURES: [usize; 2] = [8, 20];

const BASE: &str = r#"
    encoder = { dim = 512, layer_norm = true, backbone = { name = "convnet", stem = 8, channels = [8, 512] } }
    loss = { weight = 0.03 }
    dada = { update = "alternating", d_steps = 3, mix = { alpha = 2.0, beta = 5.0 }, d_warmup_epochs = 0, domain = { hidden = [128] }, category = { hidden = [1024, 8192] } }
"#;

/// Names, and what sets each variant apart; the first is what the others are compared with.
const VARIANTS: [(&str, &str); 9] = [
    ("off", "dada.enabled = false"),
    ("full", ""),
    ("factorised", "dada.category.rank = 128"),
    ("sampled", "dada.category.sampled_classes = 512"),
    ("both", "dada.category = { rank = 128, sampled_classes = 512 }"),
    ("narrow", "dada.category = { hidden = [512, 128] }"),
    ("narrow-reversal", "dada = { update = \"reversal\", d_steps = 0, category = { hidden = [512, 128], sampled_classes = 512 } }"),
    ("linear-reversal", "dada = { update = \"reversal\", d_steps = 0, category = { hidden = [] } }"),
    ("linear-reversal-sampled", "dada = { update = \"reversal\", d_steps = 0, category = { hidden = [], sampled_classes = 512 } }"),
];

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [name] = named.as_slice() {
        return println!("{}", serde_json::json!(measure(name)));
    }
    let run = |name: &str| -> Measured {
        let program = std::env::current_exe().expect("a running program has a path");
        let output = Command::new(program).arg(name).output().expect("the program that runs can be run again");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("a measurement is printed as JSON")
    };
    let mut results: Vec<Vec<Measured>> = vec![vec![]; VARIANTS.len()];
    for _ in 0..ROUNDS {
        for (results, (name, _)) in results.iter_mut().zip(VARIANTS) {
            results.push(run(name));
        }
    }
    let [small, large] = PICTURES.map(|pictures| run(&format!("resnet50-{pictures}")));
    let extended = |of: fn(&Measured) -> f64| {
        let slope = (of(&large) - of(&small)) / (PICTURES[1] - PICTURES[0]) as f64;
        of(&large) + slope * (BATCH - PICTURES[1]) as f64
    };
    let (step, network) = (extended(|m| m.cpu), extended(|m| m.gigabytes));
    for (pictures, measured) in PICTURES.iter().zip([&small, &large]) {
        println!("ResNet-50 without DADA, {pictures} pictures of 224 pixels: {:.2} CPU-s, peak {:.2} GB", measured.cpu, measured.gigabytes);
    }
    println!("and so with {BATCH} pictures {step:.0} CPU-s, {network:.1} GB");
    println!("| category head | weights | s | CPU-s | peak GB | CPU-s, GB over off | the same with ResNet-50 |");
    println!("|---|---|---|---|---|---|---|");
    let least = |each: &[Measured], of: fn(&Measured) -> f64| each.iter().map(of).fold(f64::INFINITY, f64::min);
    let figures = |each: &[Measured]| (least(each, |m| m.seconds), least(each, |m| m.cpu), least(each, |m| m.gigabytes));
    let (_, off, off_memory) = figures(&results[0]);
    for (each, (name, _)) in results.iter().zip(VARIANTS) {
        let (seconds, cpu, gigabytes) = figures(each);
        // The network's step is one without DADA: the rest is what DADA adds.
        let (time, memory) = ((step + cpu - off) / step, (network + gigabytes - off_memory) / network);
        println!(
            "| {name} | {:.1} M | {seconds:.3} | {cpu:.3} | {gigabytes:.2} | {:.2}, {:.2} | {time:.3}, {memory:.3} |",
            each[0].weights as f64 / 1e6,
            cpu / off,
            gigabytes / off_memory,
        );
    }
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Measured {
    /// Wall time, the best of several updates.
    seconds: f64,
    /// Processor time, the best of several updates: it holds on a machine with other work.
    cpu: f64,
    gigabytes: f64,
    /// Of the discriminators.
    weights: usize,
}

fn measure(name: &str) -> Measured {
    dada_compute::retain_memory();
    let pictures: Option<usize> = name.strip_prefix("resnet50-").and_then(|pictures| pictures.parse().ok());
    let changes = match VARIANTS.iter().find(|(variant, _)| *variant == name) {
        Some((_, changes)) => *changes,
        None if pictures.is_some() => "dada.enabled = false\nencoder.backbone = { name = \"resnet50\", statistics = \"frozen\" }",
        None => panic!("no variant is called {name}"),
    };
    let layers = [BASE, changes].map(|text| toml::from_str(text).expect("the texts above are TOML"));
    let config = RunConfig::resolve(&layers).expect("the configurations above are sound");
    let device = Device::flex().autodiff();
    let mut init = Initializer::new(&device, 0);
    let mut learner = Learner::new(config.encoder.init(&mut init), &config, CLASSES, &mut init);
    let weights = learner.discriminators.as_ref().map_or(0, Module::num_params);

    let (mut best, mut best_cpu) = (f64::INFINITY, f64::INFINITY);
    let clock = Clock { epochs: config.train.epochs, warm_ups: config.warm_ups(), steps: 5 };
    let mut losses = LossMonitor::default();
    for step in 0..if pictures.is_some() { 3 } else { 5 } {
        let rows = pictures.unwrap_or(BATCH);
        let labels: Vec<usize> = (0..rows).map(|row| (row / 2 * 7919 + step * 104_729) % CLASSES).collect();
        let mut noise = generator(0, Purpose::Sample, 0, step, 0);
        let mut normal = |count: usize| -> Vec<f32> { (0..count).map(|_| StandardNormal.sample(&mut noise)).collect() };
        let input = match pictures.is_some() {
            true => EncoderInput::Images(Tensor::from_data(TensorData::new(normal(rows * 3 * 224 * 224), [rows, 3, 224, 224]), &device)),
            false => EncoderInput::Pooled(Tensor::from_data(TensorData::new(normal(rows * 512), [rows, 512]), &device)),
        };
        let (started, spent) = (Instant::now(), Cost::so_far().cpu_seconds);
        let context = Context { config: &config, clock, at: At { epoch: 0, step }, recording: false };
        (learner, _) = update(learner, input, &labels, context, &mut losses);
        losses.look().expect("finite");
        best = best.min(started.elapsed().as_secs_f64());
        best_cpu = best_cpu.min(Cost::so_far().cpu_seconds - spent);
    }
    Measured { seconds: best, cpu: best_cpu, gigabytes: Cost::so_far().peak_bytes / 1e9, weights }
}
