//! The terms of one pass, option by option.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Gradients, Tensor};

use super::*;
use crate::model::layers::Initializer;
use crate::model::layers::normalize;
use crate::random::generator;

const LABELS: [usize; 6] = [4, 1, 1, 0, 4, 4];
const DIM: usize = 5;

/// Discriminators without norm and dropout, whose logits can be recomputed row by row.
fn plain() -> DadaConfig {
    let shape = DiscriminatorConfig { hidden: vec![7], norm: Norm::None, dropout: 0.0, ..Default::default() };
    let mut config = DadaConfig::default();
    config.domain.discriminator = shape.clone();
    config.category.discriminator = shape;
    config
}

struct World {
    config: DadaConfig,
    discriminators: Discriminators,
    x: Tensor<2>,
    proxies: Tensor<2>,
}

impl World {
    fn new(config: DadaConfig) -> Self {
        let mut init = Initializer::new(&Device::default().autodiff(), 3).with_dtype(DType::F64);
        let [x, proxies] = [0, 1].map(|_| init.normal([LABELS.len(), DIM], 1.0).val());
        let discriminators = config.init(DIM, 8, &mut init);
        Self { config, discriminators, x, proxies }
    }

    fn random() -> impl Fn(crate::random::Purpose) -> rand_chacha::ChaCha8Rng {
        |purpose| generator(7, purpose, 0, 0, 0)
    }

    fn terms(&self, discriminators: &Discriminators, scale: GradientScale) -> Terms {
        let mut random = Randomness::new(&self.config.mix, LABELS.len(), Self::random());
        Terms::new(discriminators, &self.config, self.x.clone(), self.proxies.clone(), &LABELS, &mut random, scale)
    }

    fn logits(&self, discriminator: &Discriminator, vectors: Tensor<2>, chosen: Option<&[usize]>) -> Tensor<2> {
        let [logits] = discriminator.forward([vectors], chosen, &mut generator(0, crate::random::Purpose::Dropout, 0, 0, 0));
        logits
    }

    fn mixtures(&self, coefficients: &[f64]) -> Tensor<2> {
        self.config.mix.mix(self.discriminators.mixer.as_ref(), self.x.clone(), self.proxies.clone(), coefficients)
    }
}

fn scalar(value: Option<Tensor<1>>) -> f64 {
    value.unwrap().into_scalar::<f64>()
}

/// Every parameter's gradient, in order; empty where there is none.
fn gradients<M: Module>(module: &M, gradients: &Gradients) -> Vec<Vec<f64>> {
    struct Collect<'a>(&'a Gradients, Vec<Vec<f64>>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push(param.val().grad(self.0).map_or(vec![], |gradient| gradient.into_data().iter().collect()));
        }
    }
    let mut collect = Collect(gradients, vec![]);
    module.visit(&mut collect);
    collect.1
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-12 + 1e-9 * b.abs())
}

#[test]
fn reversal_gives_both_sides_their_own_gradients_in_one_pass() {
    let mut config = plain();
    config.update = Update::Reversal;
    config.domain.generator_weight = 0.3;
    config.category = CategoryConfig { weight: 0.2, discrepancy_weight: 0.7, ..config.category };
    config.category.discriminator.dropout = 0.4;
    config.category.discriminator.norm = Norm::BatchJoint;
    config.mix.mode = MixMode::Gated;
    let ramp_up = RampUp { domain: 0.5, category: 0.25 };
    let world = World::new(config);
    let config = &world.config;

    let inputs = |gradients: &Gradients| {
        [&world.x, &world.proxies].map(|leaf| leaf.grad(gradients).unwrap().into_data().iter().collect::<Vec<f64>>()).concat()
    };
    let weights = |discriminators: &Discriminators, all: &Gradients| {
        gradients(&discriminators.domain, all).into_iter().chain(gradients(&discriminators.category, all)).collect::<Vec<_>>().concat()
    };

    let reversed = world.terms(&world.discriminators, GradientScale::reversed(config, ramp_up)).for_discriminators(config).unwrap();
    let value = reversed.clone().into_scalar::<f64>();
    let joint = reversed.backward();
    let alone = world.terms(&world.discriminators, GradientScale::ZERO).for_discriminators(config).unwrap();
    assert!((value - alone.clone().into_scalar::<f64>()).abs() < 1e-12);
    let alone = alone.backward();
    assert!(close(&weights(&world.discriminators, &joint), &weights(&world.discriminators, &alone)));
    assert!(world.x.grad(&alone).is_none() && gradients(&world.discriminators.mixer, &alone).concat().is_empty());

    let encoder = world.terms(&world.discriminators.frozen(), GradientScale::ONE).for_encoder(config, ramp_up).unwrap().backward();
    assert!(close(&inputs(&joint), &inputs(&encoder)));
    let (of_joint, of_encoder) =
        (gradients(&world.discriminators.mixer, &joint).concat(), gradients(&world.discriminators.mixer, &encoder).concat());
    assert!(of_encoder.iter().any(|g| g.abs() > 1e-6) && close(&of_joint, &of_encoder));
    assert!(weights(&world.discriminators, &encoder).is_empty());
}

#[test]
fn without_mixtures_samples_are_told_from_proxies() {
    let mut config = plain();
    config.mix.mode = MixMode::Nothing;
    let world = World::new(config);
    let terms = world.terms(&world.discriminators, GradientScale::ONE);
    let [x, p] = [&world.x, &world.proxies].map(|v| normalize(v.clone()));
    let discriminator = world.discriminators.domain.as_ref().unwrap();
    assert_eq!(discriminator.outputs(), 2);
    let logits = [&x, &p].map(|vectors| world.logits(discriminator, vectors.clone(), None));
    assert!((scalar(terms.domain) - domain_loss(&logits).into_scalar::<f64>()).abs() < 1e-12);
    let discriminator = world.discriminators.category.as_ref().unwrap();
    let [samples, proxies] = [x, p].map(|vectors| world.logits(discriminator, vectors, None));
    let expected = Discrepancy::NuclearNorm.measure(samples, proxies);
    assert!((scalar(terms.discrepancy) - scalar(expected)).abs() < 1e-12);
}

#[test]
fn appended_proxies_belong_to_the_mixed_domain() {
    let mut config = plain();
    config.mix.append_proxies = true;
    let world = World::new(config);
    let terms = world.terms(&world.discriminators, GradientScale::ONE);
    let random = Randomness::new(&world.config.mix, LABELS.len(), World::random());
    let [x, p] = [&world.x, &world.proxies].map(|v| normalize(v.clone()));

    let discriminator = world.discriminators.domain.as_ref().unwrap();
    let mixed = Tensor::cat(vec![world.mixtures(&random.domain), p.clone()], 0);
    let logits = [x.clone(), mixed, p.clone()].map(|vectors| world.logits(discriminator, vectors, None));
    assert!((scalar(terms.domain) - domain_loss(&logits).into_scalar::<f64>()).abs() < 1e-12);

    let discriminator = world.discriminators.category.as_ref().unwrap();
    let mixed = Tensor::cat(vec![world.mixtures(&random.category), p], 0);
    let (mixed, samples) =
        (world.logits(discriminator, mixed, None), world.logits(discriminator, Tensor::cat(vec![x.clone(), x], 0), None));
    let expected = Discrepancy::NuclearNorm.measure(samples, mixed);
    assert!((scalar(terms.discrepancy) - scalar(expected)).abs() < 1e-12);
}

#[test]
fn sampled_classes_are_the_ones_that_risk_and_discrepancy_are_about() {
    let mut config = plain();
    config.category.sampled_classes = 2;
    let world = World::new(config);
    let terms = world.terms(&world.discriminators, GradientScale::ONE);
    let mut random = Randomness::new(&world.config.mix, LABELS.len(), World::random());
    let chosen = world.config.category.sample_classes(&LABELS, 8, &mut random.classes).unwrap();
    assert_eq!(chosen.len(), 5);

    let discriminator = world.discriminators.category.as_ref().unwrap();
    let [samples, mixtures] =
        [normalize(world.x.clone()), world.mixtures(&random.category)].map(|v| world.logits(discriminator, v, Some(&chosen)));
    let indices = LABELS.map(|label| chosen.iter().position(|class| *class == label).unwrap());
    assert!((scalar(terms.risk) - 2.0 * cross_entropy(samples.clone(), &indices).into_scalar::<f64>()).abs() < 1e-12);
    assert!((scalar(terms.discrepancy) - scalar(Discrepancy::NuclearNorm.measure(samples, mixtures))).abs() < 1e-12);
}

#[test]
fn without_a_discrepancy_mixtures_are_not_seen_and_the_risk_is_the_same() {
    let risk = |discrepancy| {
        let mut config = plain();
        config.category.discrepancy = discrepancy;
        let world = World::new(config);
        let terms = world.terms(&world.discriminators, GradientScale::ONE);
        (scalar(terms.risk), terms.discrepancy.is_some())
    };
    let (with, without) = (risk(Discrepancy::L1), risk(Discrepancy::None));
    assert!(with.1 && !without.1 && (with.0 - without.0).abs() < 1e-12);
    let mut config = plain();
    config.category = CategoryConfig { weight: 0.0, discrepancy: Discrepancy::None, ..config.category };
    assert!(World::new(config).discriminators.category.is_none(), "a level with nothing to say has no discriminator");
}

#[test]
fn ramp_up_scale_what_encoder_and_proxies_minimise_and_nothing_else() {
    let world = World::new(plain());
    let config = &world.config;
    let terms = world.terms(&world.discriminators, GradientScale::ONE);
    let value = |ramp_up| scalar(terms.for_encoder(config, ramp_up));
    let [domain, risk, discrepancy] = [&terms.confusion, &terms.risk, &terms.discrepancy].map(|term| scalar(term.clone()));
    let expected = 0.5 * config.domain.generator_weight * domain
        + 0.25 * (config.category.weight * risk + config.category.discrepancy_weight * discrepancy);
    assert!((value(RampUp { domain: 0.5, category: 0.25 }) - expected).abs() < 1e-12);
    assert!(terms.for_encoder(config, RampUp { domain: 0.0, category: 0.0 }).is_none());
}

#[test]
fn the_risk_on_mixtures_is_that_of_their_classes() {
    for appended in [false, true] {
        let mut config = plain();
        config.mix.append_proxies = appended;
        let world = World::new(config);
        let random = Randomness::new(&world.config.mix, LABELS.len(), World::random());
        let mut vectors = vec![normalize(world.mixtures(&random.category))];
        vectors.extend(appended.then(|| normalize(world.proxies.clone())));
        let labels = LABELS.repeat(vectors.len());
        let logits = world.logits(world.discriminators.category.as_ref().unwrap(), Tensor::cat(vectors, 0), None);
        let found = scalar(world.terms(&world.discriminators, GradientScale::ONE).mixture_risk());
        assert!((found - 2.0 * cross_entropy(logits, &labels).into_scalar::<f64>()).abs() < 1e-9);
    }
}
