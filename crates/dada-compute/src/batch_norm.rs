//! Batch normalisation by the batch's own statistics, with the scale, shift and activation that follow, in one pass.
//!
//! Each channel is handled by one thread over the whole batch, so that its values are still in the cache when they are needed for
//! the second time, and its sums have a fixed order.

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, Flex, backend_extension};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::activation::{Activation, clamp, masked};
use super::flex::{Shared, dims, is_flex_f32, tensor, values, values_mut};
use super::lanes;

/// A normalised batch, and the statistics for the running averages.
pub struct BatchNormOutput {
    /// Normalised, scaled, shifted and activated, `[batch, channels, height, width]`.
    pub y: Tensor<4>,
    /// The batch's mean, detached, `[channels]`.
    pub mean: Tensor<1>,
    /// The batch's biased variance, detached, `[channels]`.
    pub variance: Tensor<1>,
}

/// `activation(gamma * (x - mean) / sqrt(variance + eps) + beta)` with each channel's own mean and biased variance over the batch.
///
/// `x` is `[batch, channels, height, width]`, `gamma` and `beta` are `[channels]`; all three get their gradients, through the
/// statistics as well (Ioffe and Szegedy 2015).
pub fn batch_norm(x: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>, eps: f64, activation: Activation) -> BatchNormOutput {
    if !is_flex_f32(&x) {
        return by_burn(x, gamma, beta, eps, activation);
    }
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    let (y, mean, variance) = <Dispatch as BatchNormBackend>::normalise(x, gamma, beta, eps, activation);
    BatchNormOutput { y: Tensor::from_dispatch(y), mean: Tensor::from_dispatch(mean), variance: Tensor::from_dispatch(variance) }
}

fn by_burn(x: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>, eps: f64, activation: Activation) -> BatchNormOutput {
    let [batch, channels, height, width] = x.dims();
    let over_batch = |x: Tensor<4>| x.swap_dims(0, 1).reshape([channels, batch * height * width]).mean_dim(1).reshape([1, channels, 1, 1]);
    let mean = over_batch(x.clone());
    let centred = x - mean.clone();
    let variance = over_batch(centred.clone().powi_scalar(2));
    let normalised = centred / (variance.clone() + eps).sqrt();
    let y = normalised * gamma.reshape([1, channels, 1, 1]) + beta.reshape([1, channels, 1, 1]);
    BatchNormOutput { y: activation.apply(y), mean: mean.detach().reshape([channels]), variance: variance.detach().reshape([channels]) }
}

/// What the generated dispatch calls.
#[backend_extension(Flex, Autodiff)]
pub trait BatchNormBackend: Backend {
    /// The output, mean and variance of [`batch_norm`].
    fn normalise(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f64,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl BatchNormBackend for Flex {
    fn normalise(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        eps: f64,
        activation: Activation,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let (x, gamma, beta) = (x.to_contiguous(), gamma.to_contiguous(), beta.to_contiguous());
        let [batch, channels, height, width] = dims(&x);
        let sizes = [batch, channels, height * width];
        let (y, mean, variance) = forward(values(&x), values(&gamma), values(&beta), sizes, eps, activation);
        (tensor(y, [batch, channels, height, width]), tensor(mean, [channels]), tensor(variance, [channels]))
    }
}

impl<C: CheckpointStrategy> BatchNormBackend for Autodiff<Flex, C> {
    fn normalise(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f64,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (x, x_node) = x.into_parts();
        let (gamma, gamma_node) = gamma.into_parts();
        let (beta, beta_node) = beta.into_parts();
        let (x, gamma, beta) = (x.to_contiguous(), gamma.to_contiguous(), beta.to_contiguous());
        let (y, mean, variance) = Flex::normalise(x.clone(), gamma.clone(), beta.clone(), eps, activation);
        let y = match NormaliseBackward.prepare::<C>([x_node, gamma_node, beta_node]).compute_bound().stateful() {
            OpsKind::UnTracked(prepared) => prepared.finish(y),
            OpsKind::Tracked(prepared) => {
                let saved = Saved { x, gamma, beta, mean: mean.clone(), variance: variance.clone(), eps, activation };
                prepared.finish(saved, y)
            }
        };
        (y, Self::from_inner(mean), Self::from_inner(variance))
    }
}

#[derive(Clone, Debug)]
struct Saved {
    x: FlexTensor,
    gamma: FlexTensor,
    beta: FlexTensor,
    mean: FlexTensor,
    variance: FlexTensor,
    eps: f64,
    activation: Activation,
}

#[derive(Debug)]
struct NormaliseBackward;

impl Backward<Flex, 3> for NormaliseBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let mut dy = grads.consume::<Flex>(&ops.node).to_contiguous();
        let [x_node, gamma_node, beta_node] = ops.parents;
        let (dgamma, dbeta) = backward(&mut dy, &ops.state, x_node.is_some());
        let channels = dgamma.len();
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, dy);
        }
        if let Some(node) = gamma_node {
            grads.register::<Flex>(node.id, tensor(dgamma, [channels]));
        }
        if let Some(node) = beta_node {
            grads.register::<Flex>(node.id, tensor(dbeta, [channels]));
        }
    }
}

/// A channel's y = factor * x + offset.
fn affine(gamma: f32, beta: f32, mean: f32, variance: f32, eps: f64) -> (f32, f32) {
    let factor = gamma / (variance + eps as f32).sqrt();
    (factor, beta - mean * factor)
}

/// y, mean and variance of x `[batch, channels, pixels]`.
fn forward(
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    [batch, channels, pixels]: [usize; 3],
    eps: f64,
    activation: Activation,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    assert!(gamma.len() == channels && beta.len() == channels, "gamma and beta are per channel");
    assert!(batch * pixels > 0, "an empty batch has no mean");
    let mut y = vec![0.0; x.len()];
    let out = Shared::new(&mut y);
    let bounds = activation.bounds();
    let statistics: Vec<(f32, f32)> = (0..channels)
        .into_par_iter()
        .map(|channel| {
            let plane = |n: usize| &x[(n * channels + channel) * pixels..][..pixels];
            let (mean, variance) = mean_and_variance(batch, plane);
            let (factor, offset) = affine(gamma[channel], beta[channel], mean, variance, eps);
            for n in 0..batch {
                // SAFETY: each channel's planes are written by its own task only.
                let to = unsafe { out.slice((n * channels + channel) * pixels, pixels) };
                lanes::map(plane(n), to, |x| clamp(x * factor + offset, bounds));
            }
            (mean, variance)
        })
        .collect();
    let (mean, variance) = statistics.into_iter().unzip();
    (y, mean, variance)
}

/// The mean and biased variance of `batch` planes, each plane's own combined pairwise (Chan, Golub and LeVeque 1983), so that a
/// large mean does not cancel a small variance.
fn mean_and_variance<'a>(batch: usize, plane: impl Fn(usize) -> &'a [f32]) -> (f32, f32) {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for n in 0..batch {
        let values = plane(n);
        let size = values.len() as f64;
        let own = f64::from(lanes::sum(values)) / size;
        let centre = own as f32;
        let [off, spread] = lanes::sums_of(values, values, |x, _| x - centre, |x| x - centre);
        let spread = f64::from(spread) - f64::from(off) * f64::from(off) / size;
        let delta = own - mean;
        mean += delta * size / (count + size);
        squares += spread + delta * delta * count * size / (count + size);
        count += size;
    }
    (mean as f32, (squares / count).max(0.0) as f32)
}

/// Replaces `dy` by dx (if wanted), and returns the gradients of gamma and beta.
fn backward(dy: &mut FlexTensor, saved: &Saved, wants_x: bool) -> (Vec<f32>, Vec<f32>) {
    let [batch, channels, height, width] = dims(&saved.x);
    let pixels = height * width;
    let (x, gamma, beta) = (values(&saved.x), values(&saved.gamma), values(&saved.beta));
    let (means, variances) = (values(&saved.mean), values(&saved.variance));
    let gradient = Shared::new(values_mut(dy));
    let bounds = saved.activation.bounds();
    let size = (batch * pixels) as f64;
    let sums: Vec<(f32, f32)> = (0..channels)
        .into_par_iter()
        .map(|channel| {
            let (mean, variance) = (means[channel], variances[channel]);
            // The very expression of the forward pass: the same activations are cut off.
            let (factor, offset) = affine(gamma[channel], beta[channel], mean, variance, saved.eps);
            let inverse_deviation = 1.0 / (variance + saved.eps as f32).sqrt();
            let plane = |n: usize| {
                let start = (n * channels + channel) * pixels;
                // SAFETY: each channel's planes are used by its own task only, one at a time.
                (unsafe { gradient.slice(start, pixels) }, &x[start..start + pixels])
            };
            let (mut sum, mut product) = (0.0, 0.0);
            for n in 0..batch {
                let (dy, x) = plane(n);
                let dz = |dy, x| masked(dy, x * factor + offset, bounds);
                let [first, second] = lanes::sums_of(dy, x, dz, |x| x - mean);
                sum += f64::from(first);
                product += f64::from(second) * f64::from(inverse_deviation);
            }
            if wants_x {
                // dx = factor * (dz - sum / size - normalised x * product / size)
                let slope = -(f64::from(factor) * product / size * f64::from(inverse_deviation)) as f32;
                let constant = (-f64::from(factor) * sum / size) as f32;
                for n in 0..batch {
                    let (dy, x) = plane(n);
                    let dz = |dy, x| masked(dy, x * factor + offset, bounds);
                    lanes::update(dy, x, |dy, x| factor * dz(dy, x) + (slope * (x - mean) + constant));
                }
            }
            (product as f32, sum as f32)
        })
        .collect();
    sums.into_iter().unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_close, leaf, noise, value_and_gradients};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_and_gradients_equal_burns(
            dims in (1usize..6, 1usize..5, 1usize..9, 1usize..9), offset in -3.0f32..3.0,
            activation in prop::sample::select(vec![Activation::Identity, Activation::Relu, Activation::Relu6]),
        ) {
            let dims = [dims.0, dims.1, dims.2, dims.3];
            prop_assume!(dims[0] * dims[2] * dims[3] > 2);
            let inputs = || (leaf(noise(dims, 1) * 2.0 + offset), leaf(noise([dims[1]], 2) + 1.5), leaf(noise([dims[1]], 3)));
            let (x, gamma, beta) = inputs();
            let ours = batch_norm(x.clone(), gamma.clone(), beta.clone(), 1e-2, activation);
            let found = value_and_gradients(ours.y, [&x], [&gamma, &beta]);
            let (x, gamma, beta) = inputs();
            let burns = by_burn(x.clone(), gamma.clone(), beta.clone(), 1e-2, activation);
            let expected = value_and_gradients(burns.y, [&x], [&gamma, &beta]);
            assert_close(&found, &expected, &dims);
            let statistics = |output: [Tensor<1>; 2]| output.map(|t| t.into_data().try_to_vec::<f32>().unwrap()).to_vec();
            assert_close(&statistics([ours.mean, ours.variance]), &statistics([burns.mean, burns.variance]), &dims);
        }
    }

    #[test]
    fn a_large_mean_does_not_hide_a_small_variance() {
        let x: Vec<f32> = (0..4 * 64).map(|i| 1000.0 + (i % 2) as f32).collect();
        let (mean, variance) = mean_and_variance(4, |n| &x[n * 64..][..64]);
        assert_eq!((mean, variance), (1000.5, 0.25));
    }
}
