//! Reading golden numbers: files of a fixed form whose sizes are free.

use std::path::PathBuf;

use burn::tensor::{DType, Device, Tensor, TensorData};
use serde_json::Value;

/// The file of this name in `DADA_GOLDEN_DIR`, or among the fixtures.
pub fn read(name: &str) -> Value {
    let folder = std::env::var_os("DADA_GOLDEN_DIR")
        .map_or(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures")), PathBuf::from);
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

pub fn labels(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|label| label.as_u64().unwrap() as usize).collect()
}

/// A vector or matrix as float64 data.
pub fn data(value: &Value) -> TensorData {
    let rows = value.as_array().unwrap();
    match rows.first() {
        Some(Value::Array(first)) => {
            let values = rows.iter().flat_map(|row| row.as_array().unwrap()).map(number).collect::<Vec<_>>();
            TensorData::new(values, [rows.len(), first.len()])
        }
        _ => TensorData::new(rows.iter().map(number).collect::<Vec<_>>(), [rows.len()]),
    }
}

/// A tracked float64 matrix whose gradient can be asked for.
pub fn leaf(value: &Value) -> Tensor<2> {
    Tensor::from_data(data(value), (&Device::default().autodiff(), DType::F64)).require_grad()
}

/// ‖ours - golden‖ ≤ 1e-6 ‖golden‖ + 1e-8.
pub fn check(what: &str, ours: TensorData, golden: &Value) {
    let golden = data(golden);
    assert_eq!(ours.shape(), golden.shape(), "{what}: shape");
    let (ours, golden): (Vec<f64>, Vec<f64>) = (ours.iter().collect(), golden.iter().collect());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let error = norm(&mut ours.iter().zip(&golden).map(|(a, b)| a - b));
    let size = norm(&mut golden.iter().copied());
    assert!(error <= 1e-6 * size + 1e-8, "{what}: off by {error:e}, golden norm {size:e}");
}

pub fn check_value(what: &str, ours: Tensor<1>, golden: &Value) {
    let (ours, golden) = (ours.into_scalar::<f64>(), number(golden));
    assert!((ours - golden).abs() <= 1e-6 * golden.abs() + 1e-8, "{what}: {ours} instead of {golden}");
}
