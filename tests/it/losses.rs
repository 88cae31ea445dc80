//! What every loss in the list has to stand, alone and under DADA.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use dada::config::RunConfig;
use dada::loss::{ProxyLoss, ProxyLossConfig};
use dada::model::encoder::EncoderInput;
use dada::model::layers::Initializer;
use dada::model::parameters;
use dada::train::learner::Learner;
use dada::train::losses::LossMonitor;
use dada::train::schedule::{At, Clock};
use dada::train::step::{self, Context, Record, update};
use rand_distr::{Distribution, StandardNormal};
use toml::{Table, Value};

const CLASSES: usize = 6;
const DIM: usize = 5;

fn normal(rows: usize, columns: usize, seed: u64) -> TensorData {
    let mut generator = dada::random::generator(seed, dada::random::Purpose::Initialise, 0, 0, 0);
    let values: Vec<f64> = (0..rows * columns).map(|_| StandardNormal.sample(&mut generator)).collect();
    TensorData::new(values, [rows, columns])
}

fn loss(config: &ProxyLossConfig) -> ProxyLoss {
    config.init(CLASSES, DIM, &mut Initializer::new(&Device::default().autodiff(), 4).with_dtype(DType::F64))
}

/// Value, gradient of the embeddings and gradient of the proxies; all finite.
fn judged(config: &ProxyLossConfig, loss: &ProxyLoss, x: TensorData, labels: &[usize]) -> (f64, TensorData, TensorData) {
    let x = Tensor::<2>::from_data(x, (&Device::default().autodiff(), DType::F64)).require_grad();
    let rows = loss.proxy_rows(x.clone(), labels);
    assert_eq!(rows.dims(), [labels.len(), DIM], "{config:?}");
    let value = loss.forward(x.clone(), labels);
    let gradients = value.backward();
    let (value, x) = (value.into_scalar::<f64>(), x.grad(&gradients).unwrap().into_data());
    let proxies = loss.proxies().grad(&gradients).unwrap().into_data();
    let finite = [x.clone(), proxies.clone(), rows.into_data()].iter().all(|data| data.iter::<f64>().all(f64::is_finite));
    assert!(value.is_finite() && finite, "{config:?}: {value} for {labels:?}");
    (value, x, proxies)
}

fn close(a: &TensorData, b: &TensorData) -> bool {
    a.shape() == b.shape() && a.iter::<f64>().zip(b.iter::<f64>()).all(|(a, b)| (a - b).abs() <= 1e-9 * (1.0 + b.abs()))
}

fn rows(data: &TensorData, order: &[usize]) -> TensorData {
    let values = data.as_slice::<f64>().unwrap();
    TensorData::new(order.iter().flat_map(|row| &values[row * DIM..][..DIM]).copied().collect(), [order.len(), DIM])
}

#[test]
fn a_loss_does_not_depend_on_the_order_of_rows() {
    for config in ProxyLossConfig::all() {
        let (loss, x, labels) = (loss(&config), normal(7, DIM, 1), [0, 3, 3, 5, 0, 0, 2]);
        let order = [4, 2, 6, 0, 5, 3, 1];
        let (value, of_x, of_proxies) = judged(&config, &loss, x.clone(), &labels);
        let permuted = order.map(|row| labels[row]);
        let (again, of_permuted, of_same_proxies) = judged(&config, &loss, rows(&x, &order), &permuted);
        assert!((value - again).abs() <= 1e-9 * (1.0 + value.abs()), "{config:?}: {value} {again}");
        assert!(close(&rows(&of_x, &order), &of_permuted) && close(&of_proxies, &of_same_proxies), "{config:?}");
    }
}

#[test]
fn a_loss_stands_one_class_absent_classes_one_row_and_duplicates() {
    for config in ProxyLossConfig::all() {
        let loss = loss(&config);
        judged(&config, &loss, normal(4, DIM, 2), &[1; 4]);
        judged(&config, &loss, normal(1, DIM, 3), &[5]);
        let twice = [0, 0, 1, 1, 1];
        let (_, gradient, _) = judged(&config, &loss, rows(&normal(2, DIM, 4), &twice), &[2, 2, 3, 3, 3]);
        let gradient = gradient.as_slice::<f64>().unwrap();
        let equal = |a: usize, b: usize| (0..DIM).all(|at| (gradient[a * DIM + at] - gradient[b * DIM + at]).abs() < 1e-12);
        assert!(equal(0, 1) && equal(2, 3) && equal(3, 4), "{config:?}: equal rows have equal gradients");
        // On its proxy, opposite to it, and nowhere.
        let proxy = loss.proxies().into_data();
        let on = rows(&proxy, &[0, 0]);
        let mut values = on.as_slice::<f64>().unwrap().to_vec();
        values[DIM..].iter_mut().for_each(|value| *value = -*value);
        judged(&config, &loss, TensorData::new(values, [2, DIM]), &[0, 0]);
        judged(&config, &loss, TensorData::new(vec![0.0; DIM], [1, DIM]), &[0]);
    }
}

#[test]
fn only_directions_count_and_descent_leads_down() {
    struct Descend<'a>(&'a burn::tensor::Gradients);
    impl ModuleMapper for Descend<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let gradient = param.val().grad(self.0).unwrap();
            param.map(|value| Tensor::from_inner(value.inner() - gradient * 1e-4).require_grad())
        }
    }
    for config in ProxyLossConfig::all() {
        let (loss, labels) = (loss(&config), [0, 3, 3, 5, 0, 0, 2]);
        let x = Tensor::<2>::from_data(normal(7, DIM, 5), (&Device::default().autodiff(), DType::F64));
        let value = loss.forward(x.clone(), &labels);
        let scaled = loss.forward(x.clone() * 7.5, &labels).into_scalar::<f64>();
        let gradients = value.backward();
        let value = value.into_scalar::<f64>();
        assert!((value - scaled).abs() < 1e-9 * (1.0 + value.abs()), "{config:?}");
        let lower = loss.map(&mut Descend(&gradients)).forward(x, &labels).into_scalar::<f64>();
        assert!(lower < value, "{config:?}: {lower} is not below {value}");
    }
}

/// A run whose pictures are features already.
pub fn features_run(loss: &ProxyLossConfig, more: &str) -> RunConfig {
    let base = format!(
        r#"
        encoder = {{ dim = {DIM}, backbone = {{ name = "convnet", stem = 4, channels = [6, 8] }} }}
        loss = {{ weight = 1.0 }}
        dada = {{ d_warmup_epochs = 0, domain = {{ hidden = [8] }}, category = {{ hidden = [8] }} }}
        optimizer = {{ encoder = {{ learning_rate = 1e-2 }}, schedule = {{ name = "constant" }} }}
        "#
    );
    let loss = Table::from_iter([("loss".to_owned(), Value::Table(Table::try_from(loss).unwrap()))]);
    RunConfig::resolve(&[toml::from_str(&base).unwrap(), loss, toml::from_str(more).unwrap()]).unwrap()
}

/// The terms of `steps` updates on one batch, and what has learned.
pub fn learn(config: &RunConfig, steps: usize) -> (Vec<Record>, Learner) {
    let device = Device::default().autodiff();
    let mut init = Initializer::new(&device, 9);
    let mut learner = Learner::new(config.encoder.init(&mut init), config, CLASSES, &mut init);
    let features = normal(8, 8, 6).convert::<f32>();
    let clock = Clock { epochs: config.train.epochs, warm_ups: config.warm_ups(), steps };
    let mut losses = LossMonitor::default();
    let mut records = Vec::new();
    for step in 0..steps {
        let input = EncoderInput::Pooled(Tensor::from_data(features.clone(), &device));
        let context = Context { config, clock, at: At { epoch: 0, step }, recording: true };
        let (updated, record) = update(learner, input, &[0, 0, 2, 2, 3, 3, 5, 5], context, &mut losses);
        learner = updated;
        records.push(record.expect("every step is recorded"));
    }
    losses.look().unwrap();
    (records, learner)
}

/// Two processes that each saw a batch take the step that one takes on the sum of both losses.
#[test]
fn gradients_of_two_batches_add_up_before_they_are_applied() {
    let config = features_run(&ProxyLossConfig::ProxyAnchor(Default::default()), "");
    let device = Device::default().autodiff();
    let at = At { epoch: config.warm_ups(), step: 0 };
    let clock = Clock { epochs: config.train.epochs.max(at.epoch + 1), warm_ups: config.warm_ups(), steps: 1 };
    let context = Context { config: &config, clock, at, recording: false };
    let learner = || {
        let mut init = Initializer::new(&device, 9);
        Learner::new(config.encoder.init(&mut init), &config, CLASSES, &mut init)
    };
    let gradients = |learner: &Learner, seed| {
        let input = EncoderInput::Pooled(Tensor::from_data(normal(8, 8, seed).convert::<f32>(), &device));
        let x = step::embed(learner, input, context);
        step::gradients(learner, x, &[0, 0, 2, 2, 3, 3, 5, 5], context, &mut LossMonitor::default()).0.unwrap()
    };
    let one = learner();
    let both = gradients(&one, 1).sum(gradients(&one, 2));
    let together = parameters::tensors(&one.apply(both, &config.optimizer, 1.0).encoder);
    let alone = |seed| {
        let one = learner();
        let gradients = gradients(&one, seed);
        parameters::tensors(&one.apply(gradients, &config.optimizer, 1.0).encoder)
    };
    let twice = {
        let one = learner();
        let both = gradients(&one, 1).sum(gradients(&one, 1));
        parameters::tensors(&one.apply(both, &config.optimizer, 1.0).encoder)
    };
    let path = "projection.weight";
    assert_ne!(together[path], alone(1)[path]);
    assert_ne!(together[path], alone(2)[path]);
    // Adam does not see a common factor, up to its epsilon.
    let [twice, once] = [&twice[path], &alone(1)[path]].map(|data| data.clone().convert::<f64>().try_to_vec::<f64>().unwrap());
    let worst = twice.iter().zip(&once).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-6, "{worst}");
}

#[test]
fn every_loss_learns_with_dada_and_without() {
    for loss in ProxyLossConfig::all() {
        for more in ["dada.enabled = false", "train.class_mixup = true", "dada = { mode = \"compat\" }"] {
            let (records, _) = learn(&features_run(&loss, more), 40);
            let values: Vec<f64> = records.iter().map(|record| record.proxy_loss.unwrap()).collect();
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            let (first, last) = (mean(&values[..5]), mean(&values[35..]));
            assert!(last < first && values.iter().all(|value| value.is_finite()), "{loss:?}, {more}: {first} to {last}");
            let dada = !more.contains("false");
            assert!(records.iter().all(|record| record.domain.is_some() == dada && record.discrepancy.is_some() == dada));
        }
    }
}

/// The `[loss]` sections in a page's or a file's snippets.
fn snippets(text: &str) -> Vec<Value> {
    let each = text.split("```toml").skip(1).map(|rest| rest.split("```").next().unwrap());
    each.map(|snippet| toml::from_str::<Table>(snippet).unwrap().remove("loss").unwrap()).collect()
}

/// The documentation at the top of a file.
fn header(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines.flat_map(|line| [line.strip_prefix(' ').unwrap_or(line), "\n"]).collect()
}

#[test]
fn every_loss_is_documented_with_its_defaults() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut stated = snippets(&std::fs::read_to_string(root.join("docs/losses.md")).unwrap());
    // A loss may be documented at the top of its file instead of on the page.
    for entry in std::fs::read_dir(root.join("crates/dada/src/loss")).unwrap() {
        stated.extend(snippets(&header(&std::fs::read_to_string(entry.unwrap().path()).unwrap())));
    }
    for config in ProxyLossConfig::all() {
        let whole = Value::Table(Table::try_from(&config).unwrap());
        assert!(stated.contains(&whole), "no snippet states {} with all its keys:\n{whole}", config.name());
    }
    assert_eq!(stated.len(), ProxyLossConfig::all().len(), "one snippet a loss");
}
