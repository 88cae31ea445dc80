//! Each operation of `compute`, and the exact neighbour search, in turns with burn's own operators doing the same work.
//!
//! `cargo bench --bench compute [-- FILTER]`, about two minutes; medians of wall time. Shapes are those of ResNet-50 and EfficientNet-lite0 at
//! 128 pixels, batch 8.

use std::hint::black_box;
use std::time::{Duration, Instant};

use burn::tensor::activation::relu;
use burn::tensor::module;
use burn::tensor::ops::{ConvOptions as BurnOptions, MaxPoolOptions};
use burn::tensor::{Device, Distribution, Tensor};
use dada::embeddings::Embeddings;
use dada::search::nearest;
use dada_compute::{
    Activation, AdamHyper, ConvOptions, Decay, Moments, adam_update, batch_norm, conv2d, conv2d_scaled, global_avg_pool, max_pool2d,
    nuclear_norm, retain_memory,
};

/// Values on a tracking device, as training has them.
fn noise<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &Device::flex().autodiff())
}

fn leaf<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    noise(shape).require_grad()
}

/// Times two ways of doing the same, in turns for about two seconds, unless the command names another work.
fn race<A, B>(name: &str, mut ours: impl FnMut() -> A, mut burns: impl FnMut() -> B) {
    // `cargo bench` hands flags of its own to every bench.
    if std::env::args().skip(1).find(|argument| !argument.starts_with("--")).is_some_and(|filter| !name.contains(&filter)) {
        return;
    }
    let began = Instant::now();
    let mut times = [Vec::new(), Vec::new()];
    while times[0].len() < 10 || began.elapsed() < Duration::from_secs(2) {
        times[0].push(milliseconds(&mut ours));
        times[1].push(milliseconds(&mut burns));
    }
    let [ours, burns] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    println!("{name:60} {ours:9.3} ms   burn {burns:9.3} ms   ratio {:.2}", ours / burns);
}

fn milliseconds<T>(work: &mut impl FnMut() -> T) -> f64 {
    let started = Instant::now();
    black_box(work());
    started.elapsed().as_secs_f64() * 1e3
}

/// Times an expression as it is and with its gradients.
fn pair<const D: usize>(name: &str, ours: impl Fn() -> Tensor<D>, burns: impl Fn() -> Tensor<D>) {
    race(name, &ours, &burns);
    race(&format!("{name}, with gradients"), || ours().sum().backward(), || burns().sum().backward());
}

fn convolutions() {
    for (name, [channels, side], outputs, kernel, stride, groups) in [
        ("convolution 1x1", [256, 32], 64, 1, 1, 1),
        ("convolution 3x3", [128, 16], 128, 3, 1, 1),
        ("convolution of the stem", [3, 128], 64, 7, 2, 1),
        ("convolution depthwise", [240, 16], 240, 5, 1, 240),
    ] {
        let (x, weight) = (leaf([8, channels, side, side]), leaf([outputs, channels / groups, kernel, kernel]));
        let padding = kernel / 2;
        let options = ConvOptions { stride, padding: [padding; 4], groups };
        let burns = BurnOptions::new([stride; 2], [padding; 2], [1, 1], groups);
        let by_burn = || module::conv2d(x.clone(), weight.clone(), None, burns.clone());
        pair(name, || conv2d(x.clone(), weight.clone(), None, options), by_burn);
    }
    let (x, weight, scale, shift) = (leaf([8, 256, 32, 32]), leaf([64, 256, 1, 1]), leaf([64]), leaf([64]));
    let ours = || conv2d_scaled(x.clone(), weight.clone(), scale.clone(), shift.clone(), ConvOptions::default(), Activation::Relu);
    pair("convolution 1x1, frozen batch norm, relu", ours, || {
        let y = module::conv2d(x.clone(), weight.clone(), None, BurnOptions::new([1, 1], [0, 0], [1, 1], 1));
        relu(y * scale.clone().reshape([1, 64, 1, 1]) + shift.clone().reshape([1, 64, 1, 1]))
    });
}

fn normalisation_and_pooling() {
    let (x, gamma, beta) = (leaf([8, 64, 32, 32]), leaf([64]), leaf([64]));
    let ours = || batch_norm(x.clone(), gamma.clone(), beta.clone(), 1e-5, Activation::Relu).y;
    pair("batch norm, relu", ours, || {
        let mean = |x: Tensor<4>| x.swap_dims(0, 1).reshape([64, 8 * 32 * 32]).mean_dim(1).reshape([1, 64, 1, 1]);
        let centred = x.clone() - mean(x.clone());
        let deviation = (mean(centred.clone().powi_scalar(2)) + 1e-5).sqrt();
        relu(centred / deviation * gamma.clone().reshape([1, 64, 1, 1]) + beta.clone().reshape([1, 64, 1, 1]))
    });
    let x = leaf([8, 64, 64, 64]);
    let options = || MaxPoolOptions::new([3; 2]).with_stride([2; 2]).with_padding_pairs([(1, 1), (1, 1)]);
    pair("max pooling", || max_pool2d(x.clone(), 3, 2, [1; 4]), || module::max_pool2d(x.clone(), options()));
    let x = leaf([8, 1280, 4, 4]);
    pair("average over maps", || global_avg_pool(x.clone()), || module::adaptive_avg_pool2d(x.clone(), [1, 1]).reshape([8, 1280]));
}

/// Burn's singular values have no gradient: there is a matrix product of the same shape to compare with.
fn nuclear_norms() {
    for [rows, columns] in [[90, 100], [180, 11_318]] {
        let z = leaf([rows, columns]);
        let name = format!("nuclear norm of {rows} x {columns} with gradient, burn: z zᵀ z");
        race(&name, || nuclear_norm(z.clone()).backward(), || z.clone().matmul(z.clone().transpose()).matmul(z.clone()));
    }
}

fn adam() {
    let hyper = AdamHyper { learning_rate: 1e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 1e-4, decay: Decay::Coupled };
    let fresh = || Tensor::<1>::random([1 << 22], Distribution::Uniform(-1.0, 1.0), &Device::flex());
    let gradient = fresh();
    let finite = Tensor::<1>::ones([1], &Device::flex());
    let (mut parameter, mut moments) = (Some(fresh()), Moments::zeros(&gradient));
    let ours = || parameter = parameter.take().map(|parameter| adam_update(parameter, gradient.clone(), &mut moments, &hyper, &finite));
    let mut state = Some((fresh(), fresh(), fresh().abs()));
    race("Adam, 4 million weights", ours, || {
        let (parameter, first, second) = state.take().expect("put back below");
        let gradient = gradient.clone() + parameter.clone() * hyper.weight_decay;
        let first = first * hyper.beta1 + gradient.clone() * (1.0 - hyper.beta1);
        let second = second * hyper.beta2 + gradient.powi_scalar(2) * (1.0 - hyper.beta2);
        let parameter = parameter - first.clone() * hyper.learning_rate / (second.clone().sqrt() + hyper.eps);
        state = Some((parameter, first, second));
    });
}

fn neighbours() {
    let x = Tensor::<2>::random([4_000, 256], Distribution::Normal(0.0, 1.0), &Device::flex());
    let values = x.to_data().try_into_vec_as::<f32>().expect("floating point");
    let set = Embeddings::new(values, 4_000, 256).expect("normal numbers are sound");
    let ours = || nearest(&set, &set, 10, true).expect("one set");
    race("10 nearest of 4,000 x 256", ours, || x.clone().matmul(x.clone().transpose()).topk_with_indices(10, 1));
}

fn main() {
    retain_memory();
    convolutions();
    normalisation_and_pooling();
    nuclear_norms();
    adam();
    neighbours();
}
