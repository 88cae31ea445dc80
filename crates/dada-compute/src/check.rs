//! Comparing an operation with burn's own: values and gradients of a weighted sum of its output.

use burn::Tensor;
use burn::tensor::{Device, TensorData};
use std::fmt::Debug;

/// Values in -1..1 that differ between seeds.
pub(super) fn noise<const D: usize>(dims: [usize; D], seed: u32) -> Tensor<D> {
    let len: usize = dims.iter().product();
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let values = (0..len).map(|_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 2.0 - 1.0
    });
    Tensor::from_data(TensorData::new(values.collect::<Vec<_>>(), dims), &Device::flex().autodiff())
}

/// A tracked leaf.
pub(super) fn leaf<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.detach().require_grad()
}

/// The values of `y`, and the gradients of Σ weight · y with respect to each leaf, the weights being fixed noise.
pub(super) fn value_and_gradients<const D: usize, const N: usize, const A: usize, const B: usize>(
    y: Tensor<D>,
    leaves: [&Tensor<N>; A],
    vectors: [&Tensor<1>; B],
) -> Vec<Vec<f32>> {
    let weights = noise(y.dims(), 77);
    let grads = (y.clone() * weights).sum().backward();
    let mut found = vec![y.into_data().try_to_vec::<f32>().unwrap()];
    found.extend(leaves.map(|leaf| leaf.grad(&grads).unwrap().into_data().try_to_vec::<f32>().unwrap()));
    found.extend(vectors.map(|leaf| leaf.grad(&grads).unwrap().into_data().try_to_vec::<f32>().unwrap()));
    found
}

/// Each list within 1e-4 of the other, relative to its largest value, or to 0.1 where a sum of many such terms cancels.
pub(super) fn assert_close(found: &[Vec<f32>], expected: &[Vec<f32>], case: &impl Debug) {
    assert_eq!(found.len(), expected.len());
    for (which, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "list {which} of {case:?}");
        let scale = expected.iter().fold(0.1f32, |largest, value| largest.max(value.abs()));
        for (at, (a, b)) in found.iter().zip(expected).enumerate() {
            assert!((a - b).abs() <= 1e-4 * scale, "list {which}, value {at} of {case:?}: {a} instead of {b}");
        }
    }
}
