//! Does the domain discriminator see?

use burn::tensor::{Device, Tensor, TensorData};
use dada::adversarial::{DadaConfig, Draw, GradientScale, MixConfig, Norm, Randomness, Terms};
use dada::model::layers::Initializer;
use dada::random::{Purpose, generator};
use dada::train::optimizer::{Adam, OptimizerConfig, ParameterGradients, Rate};
use rand_distr::{Distribution, Normal};

const ROWS: usize = 64;
const DIM: usize = 8;

/// A cloud around a corner of its own.
fn cloud(corner: usize, step: usize) -> Tensor<2> {
    let mut generator = generator(1, Purpose::Sample, corner, step, 0);
    let noise = Normal::new(0.0, 0.1).unwrap();
    let value = |index: usize, noise: f32| noise + if index % DIM == corner { 1.0 } else { 0.0 };
    let values: Vec<f32> = (0..ROWS * DIM).map(|index| value(index, noise.sample(&mut generator))).collect();
    Tensor::from_data(TensorData::new(values, [ROWS, DIM]), &Device::default().autodiff())
}

/// The last of 400 steps' mean loss of a domain discriminator that learns to tell samples, mixtures and proxies apart.
fn loss_after_training(config: &DadaConfig) -> f64 {
    let mut init = Initializer::new(&Device::default().autodiff(), 0);
    let mut discriminators = config.init(DIM, 4, &mut init);
    let optimizer = OptimizerConfig::default();
    let mut adam = Adam::default();
    let labels = [0; ROWS];
    let mut recent = Vec::new();
    for step in 0..400 {
        let mut random = Randomness::new(&config.mix, ROWS, |purpose| generator(0, purpose, 0, step, 0));
        let terms = Terms::new(&discriminators, config, cloud(0, step), cloud(1, step), &labels, &mut random, GradientScale::ZERO);
        let loss = terms.domain.unwrap();
        recent.push(loss.clone().into_scalar::<f64>());
        let rate = Rate { learning_rate: 5e-3, weight_decay: 0.0 };
        let gradients = ParameterGradients::take(&discriminators, &mut loss.backward());
        let finite = Tensor::ones([1], &Device::default());
        discriminators = adam.step(discriminators, gradients, &optimizer, rate, 1.0, &finite);
    }
    recent[350..].iter().sum::<f64>() / 50.0
}

#[test]
fn the_domain_discriminator_sees_in_corrected_mode_and_stays_at_chance_in_compat_mode() {
    let mut config = DadaConfig { mix: MixConfig { alpha: 8.0, beta: 8.0, ..Default::default() }, ..Default::default() };
    config.category.weight = 0.0;
    config.category.discrepancy_weight = 0.0;
    let corrected = loss_after_training(&config);
    assert!(corrected < 1.0, "corrected: {corrected}");

    config.mix = MixConfig { normalize: false, draw: Draw::Batch, ..config.mix };
    config.domain.discriminator.norm = Norm::BatchPerDomain;
    config.domain.discriminator.output_norm = true;
    let compat = loss_after_training(&config);
    let chance = 3.0 * 3f64.ln();
    assert!(compat >= chance - 1e-3, "compat: {compat}, chance {chance}");
}
