//! What every loss is checked with.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::*;

/// A matrix by its rows.
pub type Rows = Vec<Vec<f64>>;

pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn tensor(rows: &Rows, dtype: DType) -> Tensor<2> {
    let data = TensorData::new(rows.concat(), [rows.len(), rows[0].len()]);
    Tensor::from_data(data, (&Device::default().autodiff(), dtype))
}

fn matrix(tensor: Tensor<2>) -> Rows {
    let [_, dim] = tensor.dims();
    let values: Vec<f64> = tensor.into_data().iter().collect();
    values.chunks(dim).map(<[f64]>::to_vec).collect()
}

/// The loss with these proxies.
fn with_proxies(loss: ProxyLoss, proxies: &Rows, dtype: DType) -> ProxyLoss {
    struct Replace<'a>(&'a Rows, DType);
    impl ModuleMapper for Replace<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|old| tensor(self.0, self.1).reshape(old.shape()).require_grad())
        }
    }
    loss.map(&mut Replace(proxies, dtype))
}

/// Compares value and gradients with an oracle and its finite differences, with five classes, one of them absent from the batch and
/// one three times in it.
pub fn check(config: &ProxyLossConfig, oracle: impl Fn(&Rows, &[usize], &Rows) -> f64) {
    let mut init = Initializer::new(&Device::default().autodiff(), 11).with_dtype(DType::F64);
    let labels = [3, 0, 1, 0, 4, 0];
    let x = matrix(init.normal([labels.len(), 4], 1.5).val());
    let loss = config.init(5, 4, &mut init);
    let proxies = matrix(loss.proxies());

    let batch = tensor(&x, DType::F64).require_grad();
    let loss = with_proxies(loss, &proxies, DType::F64);
    let value = loss.forward(batch.clone(), &labels);
    let gradients = value.backward();
    let expected = oracle(&x, &labels, &proxies);
    let found = value.into_scalar::<f64>();
    assert!((found - expected).abs() <= 1e-9 * (1.0 + expected.abs()), "{config:?}: {found} is not {expected}");

    let compare = |what: &str, gradient: Rows, rows: &Rows, oracle: &dyn Fn(&Rows) -> f64| {
        for (row, gradient) in gradient.iter().enumerate() {
            for (at, gradient) in gradient.iter().enumerate() {
                let moved = |step: f64| {
                    let mut rows = rows.clone();
                    rows[row][at] += step;
                    oracle(&rows)
                };
                let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((gradient - difference).abs() < 1e-6 * (1.0 + difference.abs()), "{config:?}, {what}: {gradient} {difference}");
            }
        }
    };
    compare("embeddings", matrix(batch.grad(&gradients).unwrap()), &x, &|x| oracle(x, &labels, &proxies));
    compare("proxies", matrix(loss.proxies().grad(&gradients).unwrap()), &proxies, &|proxies| oracle(&x, &labels, proxies));

    let single = with_proxies(loss, &proxies, DType::F32).forward(tensor(&x, DType::F32), &labels).into_scalar::<f64>();
    assert!((single - expected).abs() <= 1e-4 * (1.0 + expected.abs()), "{config:?} in single precision: {single} is not {expected}");
}
