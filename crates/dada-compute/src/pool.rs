//! Pooling.

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::conv::ConvShape;
use super::flex::{dims, is_flex_f32, tensor, values, with_scratch};
use super::lanes::vectorised;
use super::planes::Layout;

/// Values of one task.
const TASK: usize = 1 << 15;

/// The largest value of each `kernel` × `kernel` window of `x` `[batch, channels, height, width]`; windows are `stride` apart.
///
/// `padding` at `[top, bottom, left, right]` never wins. Of equal values, the first in reading order gets the gradient.
///
/// # Panics
/// Where the kernel does not fit into the padded map, or a padding is not smaller than the kernel.
pub fn max_pool2d(x: Tensor<4>, kernel: usize, stride: usize, padding: [usize; 4]) -> Tensor<4> {
    if is_flex_f32(&x) {
        return Tensor::from_dispatch(<Dispatch as PoolBackend>::windows_max(x.into_dispatch(), kernel, stride, padding));
    }
    by_burn(x, kernel, stride, padding)
}

fn by_burn(x: Tensor<4>, kernel: usize, stride: usize, [top, bottom, left, right]: [usize; 4]) -> Tensor<4> {
    let options = burn::tensor::ops::MaxPoolOptions::new([kernel; 2]).with_stride([stride; 2]);
    burn::tensor::module::max_pool2d(x, options.with_padding_pairs([(top, bottom), (left, right)]))
}

/// The mean of each map: `x` `[batch, channels, height, width]` to `[batch, channels]`.
pub fn global_avg_pool(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels])
}

/// The largest value of each map: `x` `[batch, channels, height, width]` to `[batch, channels]`.
pub fn global_max_pool(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels, height * width]).max_dim(2).reshape([batch, channels])
}

/// What the generated dispatch calls.
#[backend_extension(Flex, Autodiff)]
pub trait PoolBackend: Backend {
    /// [`max_pool2d`].
    fn windows_max(x: FloatTensor<Self>, kernel: usize, stride: usize, padding: [usize; 4]) -> FloatTensor<Self>;
}

fn shape(x: &FlexTensor, kernel: usize, stride: usize, padding: [usize; 4]) -> ConvShape {
    let [batch, channels, height, width] = dims(x);
    let [top, bottom, left, right] = padding;
    assert!(stride > 0 && padding.iter().all(|p| *p < kernel), "padding {padding:?} needs to be smaller than the kernel, {kernel}");
    assert!(height + top + bottom >= kernel && width + left + right >= kernel, "a window of {kernel} does not fit [{height}, {width}]");
    ConvShape { batch, channels, height, width, out_channels: channels, kernel: [kernel; 2], stride, padding, groups: channels }
}

impl PoolBackend for Flex {
    fn windows_max(x: FlexTensor, kernel: usize, stride: usize, padding: [usize; 4]) -> FlexTensor {
        let x = x.to_contiguous();
        let s = shape(&x, kernel, stride, padding);
        tensor(forward(values(&x), &s), [s.batch, s.channels, s.out_height(), s.out_width()])
    }
}

impl<C: CheckpointStrategy> PoolBackend for Autodiff<Flex, C> {
    fn windows_max(x: FloatTensor<Self>, kernel: usize, stride: usize, padding: [usize; 4]) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let x = x.to_contiguous();
        let s = shape(&x, kernel, stride, padding);
        let y = Flex::windows_max(x.clone(), kernel, stride, padding);
        match MaxBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::UnTracked(prepared) => prepared.finish(y),
            OpsKind::Tracked(prepared) => prepared.finish((x, y.clone(), s), y),
        }
    }
}

#[derive(Debug)]
struct MaxBackward;

impl Backward<Flex, 1> for MaxBackward {
    type State = (FlexTensor, FlexTensor, ConvShape);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (x, y, s) = ops.state;
        if let [Some(node)] = ops.parents {
            let dx = backward(values(&x), values(&y), values(&dy), &s);
            grads.register::<Flex>(node.id, tensor(dx, [s.batch, s.channels, s.height, s.width]));
        }
    }
}

/// The places of all taps, in reading order.
fn taps<'a>(layout: &'a Layout, s: &'a ConvShape) -> impl Iterator<Item = usize> + 'a {
    (0..s.taps()).map(|tap| layout.offset(tap / s.kernel[1], tap % s.kernel[1]))
}

fn forward(x: &[f32], s: &ConvShape) -> Vec<f32> {
    let layout = Layout::new(s);
    let per_task = (TASK / s.pixels()).max(1);
    let mut y = vec![0.0; s.batch * s.channels * s.out_pixels()];
    y.par_chunks_mut(per_task * s.out_pixels()).zip(x.par_chunks(per_task * s.pixels())).for_each(|(y, x)| {
        with_scratch(layout.len() + layout.out_len(), |scratch| {
            let (parts, out) = scratch.split_at_mut(layout.len());
            parts.fill(f32::NEG_INFINITY);
            for (y, x) in y.chunks_exact_mut(s.out_pixels()).zip(x.chunks_exact(s.pixels())) {
                vectorised(
                    #[inline(always)]
                    || {
                        layout.split(x, parts);
                        out.fill(f32::NEG_INFINITY);
                        for place in taps(&layout, s) {
                            for (largest, value) in out.iter_mut().zip(&parts[place..]) {
                                *largest = if *value > *largest || value.is_nan() { *value } else { *largest };
                            }
                        }
                        layout.gather(out, y);
                    },
                );
            }
        });
    });
    y
}

/// Hands each output's gradient to the first of its inputs that equals it.
fn backward(x: &[f32], y: &[f32], dy: &[f32], s: &ConvShape) -> Vec<f32> {
    let layout = Layout::new(s);
    let per_task = (TASK / s.pixels()).max(1);
    let mut dx = vec![0.0; s.batch * s.channels * s.pixels()];
    let outputs = y.par_chunks(per_task * s.out_pixels()).zip(dy.par_chunks(per_task * s.out_pixels()));
    let inputs = dx.par_chunks_mut(per_task * s.pixels()).zip(x.par_chunks(per_task * s.pixels()));
    inputs.zip(outputs).for_each(|((dx, x), (y, dy))| {
        with_scratch(2 * (layout.len() + layout.out_len()), |scratch| {
            let (parts, scratch) = scratch.split_at_mut(layout.len());
            let (gradients, scratch) = scratch.split_at_mut(layout.len());
            let (largest, left) = scratch.split_at_mut(layout.out_len());
            left.fill(0.0);
            parts.fill(f32::NEG_INFINITY);
            let inputs = dx.chunks_exact_mut(s.pixels()).zip(x.chunks_exact(s.pixels()));
            let outputs = y.chunks_exact(s.out_pixels()).zip(dy.chunks_exact(s.out_pixels()));
            for ((dx, x), (y, dy)) in inputs.zip(outputs) {
                vectorised(
                    #[inline(always)]
                    || {
                        layout.split(x, parts);
                        layout.spread(y, largest);
                        // Between the rows and after them, the gradient left to hand out is zero.
                        layout.spread(dy, left);
                        gradients.fill(0.0);
                        for place in taps(&layout, s) {
                            let at_tap = parts[place..].iter().zip(&mut gradients[place..]);
                            for ((value, gradient), (largest, left)) in at_tap.zip(largest.iter().zip(left.iter_mut())) {
                                let won = value == largest;
                                *gradient += if won { *left } else { 0.0 };
                                *left = if won { 0.0 } else { *left };
                            }
                        }
                        layout.join(gradients, dx);
                    },
                );
            }
        });
    });
    dx
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_close, leaf, noise, value_and_gradients};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_and_gradients_equal_burns(
            (batch, channels, height, width) in (1usize..4, 1usize..4, 1usize..15, 1usize..15),
            kernel in 1usize..5, stride in 1usize..4, padding in prop::array::uniform4(0usize..4),
        ) {
            let padding = padding.map(|p| p.min(kernel / 2));
            prop_assume!(height + padding[0] + padding[1] >= kernel && width + padding[2] + padding[3] >= kernel);
            let input = || leaf(noise([batch, channels, height, width], 1));
            let x = input();
            let ours = value_and_gradients(max_pool2d(x.clone(), kernel, stride, padding), [&x], []);
            let x = input();
            let burns = value_and_gradients(by_burn(x.clone(), kernel, stride, padding), [&x], []);
            assert_close(&ours, &burns, &(height, width, kernel, stride, padding));
        }
    }

    #[test]
    fn of_equal_values_the_first_gets_the_gradient() {
        let x = leaf(noise([1, 1, 2, 4], 1) * 0.0);
        let grads = max_pool2d(x.clone(), 2, 2, [0; 4]).sum().backward();
        assert_eq!(x.grad(&grads).unwrap().into_data().try_to_vec::<f32>().unwrap(), [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn global_pools_reduce_each_map() {
        let x = leaf(noise([3, 5, 4, 6], 1));
        let values = x.clone().into_data().try_to_vec::<f32>().unwrap();
        let maps = || values.chunks(24);
        let expected = |f: fn(&[f32]) -> f32| maps().map(f).collect::<Vec<_>>();
        let (mean, max) = (global_avg_pool(x.clone()), global_max_pool(x.clone()));
        assert_eq!((mean.dims(), max.dims()), ([3, 5], [3, 5]));
        let means = expected(|map| map.iter().sum::<f32>() / 24.0);
        let largest = expected(|map| map.iter().copied().fold(f32::MIN, f32::max));
        let weights = noise([3, 5], 77).into_data().try_to_vec::<f32>().unwrap();
        let mean_gradient = weights.iter().flat_map(|w| [w / 24.0; 24]).collect();
        assert_close(&value_and_gradients(mean, [&x], []), &[means, mean_gradient], &"mean");
        let owner = maps().zip(&largest).zip(&weights);
        let max_gradient = owner.flat_map(|((map, m), w)| map.iter().map(|v| if v == m { *w } else { 0.0 }).collect::<Vec<_>>()).collect();
        assert_close(&value_and_gradients(max, [&x], []), &[largest.clone(), max_gradient], &"max");
    }
}
