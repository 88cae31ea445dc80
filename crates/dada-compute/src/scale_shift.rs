//! A factor and an offset for each channel, and the activation that follows, in one pass.

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::activation::{Activation, clamp, masked};
use super::flex::{dims, is_flex_f32, tensor, values, values_mut};
use super::lanes;

/// `activation(scale * x + shift)` with `x` `[batch, channels, height, width]`, `scale` and `shift` `[channels]`: batch norm with frozen
/// statistics. All three get their gradients.
pub fn scale_shift(x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>, activation: Activation) -> Tensor<4> {
    if !is_flex_f32(&x) {
        return by_burn(x, scale, shift, activation);
    }
    let (x, scale, shift) = (x.into_dispatch(), scale.into_dispatch(), shift.into_dispatch());
    Tensor::from_dispatch(<Dispatch as ScaleShiftBackend>::channelwise(x, scale, shift, activation))
}

fn by_burn(x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>, activation: Activation) -> Tensor<4> {
    let [_, channels, _, _] = x.dims();
    activation.apply(x * scale.reshape([1, channels, 1, 1]) + shift.reshape([1, channels, 1, 1]))
}

/// What the generated dispatch calls.
#[backend_extension(Flex, Autodiff)]
pub trait ScaleShiftBackend: Backend {
    /// activation(scale * x + shift).
    fn channelwise(x: FloatTensor<Self>, scale: FloatTensor<Self>, shift: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self>;
}

impl ScaleShiftBackend for Flex {
    fn channelwise(x: FlexTensor, scale: FlexTensor, shift: FlexTensor, activation: Activation) -> FlexTensor {
        let (x, scale, shift) = (x.to_contiguous(), scale.to_contiguous(), shift.to_contiguous());
        let [batch, channels, height, width] = dims(&x);
        assert!(dims(&scale) == [channels] && dims(&shift) == [channels], "scale and shift are per channel");
        let (pixels, bounds) = (height * width, activation.bounds());
        let mut y = vec![0.0; batch * channels * pixels];
        if !y.is_empty() {
            let images = y.par_chunks_mut(channels * pixels).zip(values(&x).par_chunks(channels * pixels));
            images.for_each(|(y, x)| {
                let factors = values(&scale).iter().zip(values(&shift));
                for ((y, x), (scale, shift)) in y.chunks_exact_mut(pixels).zip(x.chunks_exact(pixels)).zip(factors) {
                    lanes::map(x, y, |x| clamp(scale * x + shift, bounds));
                }
            });
        }
        tensor(y, [batch, channels, height, width])
    }
}

impl<C: CheckpointStrategy> ScaleShiftBackend for Autodiff<Flex, C> {
    fn channelwise(x: FloatTensor<Self>, scale: FloatTensor<Self>, shift: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (scale, scale_node) = scale.into_parts();
        let (shift, shift_node) = shift.into_parts();
        let (x, scale, shift) = (x.to_contiguous(), scale.to_contiguous(), shift.to_contiguous());
        let y = Flex::channelwise(x.clone(), scale.clone(), shift.clone(), activation);
        match ChannelwiseBackward.prepare::<C>([x_node, scale_node, shift_node]).compute_bound().stateful() {
            OpsKind::UnTracked(prepared) => prepared.finish(y),
            OpsKind::Tracked(prepared) => prepared.finish((x, scale, shift, activation), y),
        }
    }
}

#[derive(Debug)]
struct ChannelwiseBackward;

impl Backward<Flex, 3> for ChannelwiseBackward {
    type State = (FlexTensor, FlexTensor, FlexTensor, Activation);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let mut dy = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (x, scale, shift, activation) = ops.state;
        let [x_node, scale_node, shift_node] = ops.parents;
        let [_, channels, height, width] = dims(&x);
        let (pixels, bounds) = (height * width, activation.bounds());
        // Each image's sums by channel; they are added up in the order of the batch.
        let images = values_mut(&mut dy).par_chunks_mut((channels * pixels).max(1)).zip(values(&x).par_chunks((channels * pixels).max(1)));
        let sums: Vec<Vec<[f32; 2]>> = images
            .map(|(dy, x)| {
                let factors = values(&scale).iter().zip(values(&shift));
                let planes = dy.chunks_exact_mut(pixels).zip(x.chunks_exact(pixels)).zip(factors);
                planes
                    .map(|((dy, x), (scale, shift))| {
                        let dz = |dy, x| masked(dy, scale * x + shift, bounds);
                        let sums = lanes::sums_of(dy, x, dz, |x| x);
                        lanes::update(dy, x, |dy, x| scale * dz(dy, x));
                        sums
                    })
                    .collect()
            })
            .collect();
        let total = |which: usize| {
            let sum = |channel: usize| sums.iter().map(|image| f64::from(image[channel][which])).sum::<f64>() as f32;
            tensor((0..channels).map(sum).collect(), [channels])
        };
        if let Some(node) = scale_node {
            grads.register::<Flex>(node.id, total(1));
        }
        if let Some(node) = shift_node {
            grads.register::<Flex>(node.id, total(0));
        }
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, dy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_close, leaf, noise, value_and_gradients};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_and_gradients_equal_burns(
            dims in prop::array::uniform4(1usize..8),
            activation in prop::sample::select(vec![Activation::Identity, Activation::Relu, Activation::Relu6]),
        ) {
            let inputs = || (leaf(noise(dims, 1) * 8.0), leaf(noise([dims[1]], 2)), leaf(noise([dims[1]], 3)));
            let (x, scale, shift) = inputs();
            let ours = value_and_gradients(scale_shift(x.clone(), scale.clone(), shift.clone(), activation), [&x], [&scale, &shift]);
            let (x, scale, shift) = inputs();
            let burns = value_and_gradients(by_burn(x.clone(), scale.clone(), shift.clone(), activation), [&x], [&scale, &shift]);
            assert_close(&ours, &burns, &dims);
        }
    }
}
