//! Mixtures of samples of one class ("positive mixup").

use std::collections::BTreeMap;

use burn::tensor::{Int, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};

/// Appends one mixture m x_a + (1 - m) x_b for each class that occurs at least twice, made of its first two rows, classes in
/// ascending order.
pub fn append_class_mixtures(x: Tensor<2>, labels: &[usize], m: f64) -> (Tensor<2>, Vec<usize>) {
    let mut rows_of: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    for (row, &label) in labels.iter().enumerate() {
        rows_of.entry(label).or_default().push(row as i64);
    }
    rows_of.retain(|_, rows| rows.len() > 1);
    if rows_of.is_empty() {
        return (x, labels.to_vec());
    }
    let first = select(&x, rows_of.values().map(|rows| rows[0]).collect()) * m;
    let second = select(&x, rows_of.values().map(|rows| rows[1]).collect()) * (1.0 - m);
    let labels = labels.iter().chain(rows_of.keys()).copied().collect();
    (Tensor::cat(vec![x, first + second], 0), labels)
}

fn select(x: &Tensor<2>, rows: Vec<i64>) -> Tensor<2> {
    let count = rows.len();
    x.clone().select(0, Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &x.device()))
}

/// One coefficient of class mixtures, m ~ Beta(2, 2).
pub fn class_coefficient(generator: &mut ChaCha8Rng) -> f64 {
    Beta::new(2.0, 2.0).expect("2 is positive").sample(generator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn each_class_with_two_rows_gets_one_mixture_of_its_first_two() {
        let x = Tensor::<2>::from_floats([[1.0], [2.0], [4.0], [8.0], [16.0], [32.0]], &Device::default());
        let (mixed, labels) = append_class_mixtures(x, &[7, 3, 3, 7, 5, 3], 0.25);
        assert_eq!(labels, [7, 3, 3, 7, 5, 3, 3, 7]);
        assert_eq!(mixed.into_data().try_to_vec::<f32>().unwrap()[6..], [0.25 * 2.0 + 0.75 * 4.0, 0.25 * 1.0 + 0.75 * 8.0]);
    }
}
