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
use dada::encoder::Input;
use dada::layers::Initializer;
use dada::random::{Purpose, generator};
use dada::train::At;
use dada::train::step::{Learner, update};
use rand_distr::{Distribution, StandardNormal};

const CLASSES: usize = 11_318;
const BATCH: usize = 180;
const ROUNDS: usize = 3;
/// Pictures of the ResNet-50 step, whose time is scaled to [`BATCH`].
const PICTURES: usize = 12;

const BASE: &str = r#"
    encoder = { dim = 512, layer_norm = true, backbone = { name = "convnet", stem = 8, channels = [8, 512] } }
    loss = { weight = 0.03 }
    dada = { mix = { alpha = 2.0, beta = 5.0 }, d_warmup_epochs = 0, domain = { hidden = [128] }, category = { hidden = [1024, 8192] } }
"#;

/// Names, and what sets each variant apart; the first is what the others are compared with.
const VARIANTS: [(&str, &str); 7] = [
    ("off", "dada.enabled = false"),
    ("full", ""),
    ("factorised", "dada.category.rank = 128"),
    ("sampled", "dada.category.sampled_classes = 512"),
    ("both", "dada.category = { rank = 128, sampled_classes = 512 }"),
    ("narrow", "dada.category = { hidden = [512, 128] }"),
    ("narrow-reversal", "dada = { update = \"reversal\", category = { hidden = [512, 128], sampled_classes = 512 } }"),
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
    let backbone = run("resnet50");
    println!("ResNet-50, {PICTURES} pictures of 224 pixels: {:.2} s an update, peak {:.2} GB", backbone.seconds, backbone.gigabytes);
    let backbone_seconds = backbone.seconds * BATCH as f64 / PICTURES as f64;
    let best = results.iter().map(|each| {
        let seconds = each.iter().map(|result| result.seconds).fold(f64::INFINITY, f64::min);
        let gigabytes = each.iter().map(|result| result.gigabytes).fold(f64::INFINITY, f64::min);
        (seconds, gigabytes, each[0].weights)
    });
    let best: Vec<(f64, f64, usize)> = best.collect();
    println!(
        "| category head | weights | s an update | peak GB | time, memory against off | with ResNet-50 at {BATCH} pictures ({backbone_seconds:.0} s) |"
    );
    println!("|---|---|---|---|---|---|");
    let (off, off_memory, _) = best[0];
    for ((name, _), (seconds, gigabytes, weights)) in VARIANTS.iter().zip(&best) {
        let (time, memory) = (seconds / off, gigabytes / off_memory);
        let with_backbone = (backbone_seconds + seconds) / (backbone_seconds + off);
        // The network's memory at the smaller number of pictures: a lower bound of the denominator.
        let memory_with_backbone = (backbone.gigabytes + gigabytes) / (backbone.gigabytes + off_memory);
        println!(
            "| {name} | {:.1} M | {seconds:.3} | {gigabytes:.2} | {time:.2}, {memory:.2} | {with_backbone:.3}, at most {memory_with_backbone:.2} |",
            *weights as f64 / 1e6
        );
    }
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Measured {
    /// The best of several updates.
    seconds: f64,
    gigabytes: f64,
    /// Of the discriminators.
    weights: usize,
}

fn measure(name: &str) -> Measured {
    dada::compute::retain_memory();
    let pictures = name == "resnet50";
    let changes = match VARIANTS.iter().find(|(variant, _)| *variant == name) {
        Some((_, changes)) => *changes,
        None if pictures => "dada.enabled = false\nencoder.backbone = { name = \"resnet50\", statistics = \"frozen\" }",
        None => panic!("no variant is called {name}"),
    };
    let layers = [BASE, changes].map(|text| toml::from_str(text).expect("the texts above are TOML"));
    let config = RunConfig::resolve(&layers).expect("the configurations above are sound");
    let device = Device::flex().autodiff();
    let mut init = Initializer::new(&device, 0);
    let mut learner = Learner::new(config.encoder.init(&mut init), &config, CLASSES, &mut init);
    let weights = learner.discriminators.as_ref().map_or(0, Module::num_params);

    let mut best = f64::INFINITY;
    for step in 0..if pictures { 3 } else { 5 } {
        let rows = if pictures { PICTURES } else { BATCH };
        let labels: Vec<usize> = (0..rows).map(|row| (row / 2 * 7919 + step * 104_729) % CLASSES).collect();
        let mut noise = generator(0, Purpose::Sample, 0, step, 0);
        let mut normal = |count: usize| -> Vec<f32> { (0..count).map(|_| StandardNormal.sample(&mut noise)).collect() };
        let input = match pictures {
            true => Input::Images(Tensor::from_data(TensorData::new(normal(rows * 3 * 224 * 224), [rows, 3, 224, 224]), &device)),
            false => Input::Pooled(Tensor::from_data(TensorData::new(normal(rows * 512), [rows, 512]), &device)),
        };
        let started = Instant::now();
        (learner, _) = update(learner, input, &labels, &config, At { epoch: 0, step }, 5, false).expect("finite");
        best = best.min(started.elapsed().as_secs_f64());
    }
    Measured { seconds: best, gigabytes: peak_gigabytes(), weights }
}

fn peak_gigabytes() -> f64 {
    // SAFETY: the structure is plain numbers, and the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &mut usage), 0);
        usage
    };
    usage.ru_maxrss as f64 * 1024.0 / 1e9
}
