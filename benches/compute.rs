//! Each operation of `compute`, and the exact neighbour search, beside burn's own operators doing the same work.
//!
//! `cargo bench --bench compute [-- FILTER]`, about two minutes. Shapes are those of ResNet-50 and EfficientNet-lite0 at 128 pixels, batch 8.

use std::time::Duration;

use burn::tensor::activation::relu;
use burn::tensor::module;
use burn::tensor::ops::{ConvOptions as BurnOptions, MaxPoolOptions};
use burn::tensor::{Device, Distribution, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use dada::compute::{
    Activation, AdamHyper, ConvOptions, Decay, Moments, adam_update, batch_norm, conv2d, conv2d_scaled, global_avg_pool, max_pool2d,
    nuclear_norm, retain_memory,
};
use dada::evaluate::{Embeddings, nearest};

/// Values on a tracking device, as training has them.
fn noise<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &Device::flex().autodiff())
}

fn leaf<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    noise(shape).require_grad()
}

/// Times an expression as it is and with its gradients, ours and burn's.
fn pair<const D: usize>(c: &mut Criterion, name: &str, ours: impl Fn() -> Tensor<D>, burns: impl Fn() -> Tensor<D>) {
    let mut group = c.benchmark_group(name);
    group.bench_function("forward, ours", |b| b.iter(&ours));
    group.bench_function("forward, burn", |b| b.iter(&burns));
    group.bench_function("with gradients, ours", |b| b.iter(|| ours().sum().backward()));
    group.bench_function("with gradients, burn", |b| b.iter(|| burns().sum().backward()));
    group.finish();
}

fn convolutions(c: &mut Criterion) {
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
        pair(c, name, || conv2d(x.clone(), weight.clone(), None, options), by_burn);
    }
    let (x, weight, scale, shift) = (leaf([8, 256, 32, 32]), leaf([64, 256, 1, 1]), leaf([64]), leaf([64]));
    let ours = || conv2d_scaled(x.clone(), weight.clone(), scale.clone(), shift.clone(), ConvOptions::default(), Activation::Relu);
    pair(c, "convolution 1x1, frozen batch norm, relu", ours, || {
        let y = module::conv2d(x.clone(), weight.clone(), None, BurnOptions::new([1, 1], [0, 0], [1, 1], 1));
        relu(y * scale.clone().reshape([1, 64, 1, 1]) + shift.clone().reshape([1, 64, 1, 1]))
    });
}

fn normalisation_and_pooling(c: &mut Criterion) {
    let (x, gamma, beta) = (leaf([8, 64, 32, 32]), leaf([64]), leaf([64]));
    let ours = || batch_norm(x.clone(), gamma.clone(), beta.clone(), 1e-5, Activation::Relu).y;
    pair(c, "batch norm, relu", ours, || {
        let mean = |x: Tensor<4>| x.swap_dims(0, 1).reshape([64, 8 * 32 * 32]).mean_dim(1).reshape([1, 64, 1, 1]);
        let centred = x.clone() - mean(x.clone());
        let deviation = (mean(centred.clone().powi_scalar(2)) + 1e-5).sqrt();
        relu(centred / deviation * gamma.clone().reshape([1, 64, 1, 1]) + beta.clone().reshape([1, 64, 1, 1]))
    });
    let x = leaf([8, 64, 64, 64]);
    let options = || MaxPoolOptions::new([3; 2]).with_stride([2; 2]).with_padding_pairs([(1, 1), (1, 1)]);
    pair(c, "max pooling", || max_pool2d(x.clone(), 3, 2, [1; 4]), || module::max_pool2d(x.clone(), options()));
    let x = leaf([8, 1280, 4, 4]);
    pair(c, "average over maps", || global_avg_pool(x.clone()), || module::adaptive_avg_pool2d(x.clone(), [1, 1]).reshape([8, 1280]));
}

/// Burn's singular values have no gradient: there is nothing to compare with.
fn nuclear_norms(c: &mut Criterion) {
    let mut group = c.benchmark_group("nuclear norm with gradient");
    for shape in [[90, 100], [180, 11_318]] {
        let z = leaf(shape);
        group.bench_function(format!("{} x {}", shape[0], shape[1]), |b| b.iter(|| nuclear_norm(z.clone()).backward()));
    }
    group.finish();
}

fn adam(c: &mut Criterion) {
    let mut group = c.benchmark_group("Adam, 4 million weights");
    let hyper = AdamHyper { learning_rate: 1e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 1e-4, decay: Decay::Coupled };
    let fresh = || Tensor::<1>::random([1 << 22], Distribution::Uniform(-1.0, 1.0), &Device::flex());
    let gradient = fresh();
    let (mut parameter, mut moments) = (Some(fresh()), Moments::zeros(&gradient));
    group.bench_function("ours", |b| {
        b.iter(|| parameter = parameter.take().map(|parameter| adam_update(parameter, gradient.clone(), &mut moments, &hyper)));
    });
    let mut state = Some((fresh(), fresh(), fresh().abs()));
    group.bench_function("burn's operators", |b| {
        b.iter(|| {
            let (parameter, first, second) = state.take().expect("put back below");
            let gradient = gradient.clone() + parameter.clone() * hyper.weight_decay;
            let first = first * hyper.beta1 + gradient.clone() * (1.0 - hyper.beta1);
            let second = second * hyper.beta2 + gradient.powi_scalar(2) * (1.0 - hyper.beta2);
            let parameter = parameter - first.clone() * hyper.learning_rate / (second.clone().sqrt() + hyper.eps);
            state = Some((parameter, first, second));
        });
    });
    group.finish();
}

fn neighbours(c: &mut Criterion) {
    let mut group = c.benchmark_group("10 nearest of 4,000 x 256");
    let x = Tensor::<2>::random([4_000, 256], Distribution::Normal(0.0, 1.0), &Device::flex());
    let values = x.to_data().try_into_vec_as::<f32>().expect("floating point");
    let set = Embeddings::new(values, 4_000, 256).expect("normal numbers are sound");
    group.bench_function("ours", |b| b.iter(|| nearest(&set, &set, 10, true).expect("one set")));
    group.bench_function("burn's operators", |b| b.iter(|| x.clone().matmul(x.clone().transpose()).topk_with_indices(10, 1)));
    group.finish();
}

fn quick() -> Criterion {
    retain_memory();
    Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = all;
    config = quick();
    targets = convolutions, normalisation_and_pooling, nuclear_norms, adam, neighbours
}
criterion_main!(all);
