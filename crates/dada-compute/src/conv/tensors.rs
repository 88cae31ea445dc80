//! Two-dimensional convolution on tensors, with its gradients.

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn_flex::FlexTensor;

use super::algorithm;
use super::operands::{Epilogue, Folded};
use super::shape::ConvShape;
use crate::activation::Activation;
use crate::flex::{dims, is_flex_f32, tensor, values};

/// Stride, padding and groups of a 2-D convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    /// Pixels from one output position to the next, along both axes.
    pub stride: usize,
    /// Zeros added at `[top, bottom, left, right]` (asymmetric for TensorFlow's "SAME").
    pub padding: [usize; 4],
    /// Parts that the channels are divided into; output channels see their own part only.
    pub groups: usize,
}

impl Default for ConvOptions {
    fn default() -> Self {
        Self { stride: 1, padding: [0; 4], groups: 1 }
    }
}

impl ConvOptions {
    fn shape(&self, [batch, channels, height, width]: [usize; 4], weight: [usize; 4]) -> ConvShape {
        let [out_channels, group_channels, rows, columns] = weight;
        let [top, bottom, left, right] = self.padding;
        assert!(self.stride > 0 && self.groups > 0, "a convolution's stride and groups are at least 1: {self:?}");
        assert!(
            channels == group_channels * self.groups && out_channels % self.groups == 0,
            "{channels} channels in {} groups do not fit the weight {weight:?}",
            self.groups
        );
        assert!(
            rows > 0 && columns > 0 && height + top + bottom >= rows && width + left + right >= columns,
            "the kernel [{rows}, {columns}] does not fit into [{height}, {width}] padded by {:?}",
            self.padding
        );
        let (kernel, padding) = ([rows, columns], self.padding);
        ConvShape { batch, channels, height, width, out_channels, kernel, stride: self.stride, padding, groups: self.groups }
    }
}

/// Convolution of `x` `[batch, in, height, width]` with `weight` `[out, in / groups, kernel height, kernel width]`, plus `bias` `[out]`.
///
/// # Panics
/// Where the shapes do not fit each other, as burn's own does.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, options: ConvOptions) -> Tensor<4> {
    if !is_flex_f32(&x) {
        return by_burn(x, weight, bias, options);
    }
    match bias {
        None => Tensor::from_dispatch(<Dispatch as ConvBackend>::convolve(x.into_dispatch(), weight.into_dispatch(), options)),
        Some(bias) => {
            let ones = Tensor::ones_like(&bias.clone().detach());
            conv2d_scaled(x, weight, ones, bias, options, Activation::Identity)
        }
    }
}

/// Convolution with a frozen batch norm folded in: `activation(scale * (x * weight) + shift)`, exactly, in one pass.
///
/// `scale` and `shift` are per output channel, `[out]`; all four tensors get their gradients. Shapes as in [`conv2d`].
pub fn conv2d_scaled(
    x: Tensor<4>,
    weight: Tensor<4>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    options: ConvOptions,
    activation: Activation,
) -> Tensor<4> {
    if !is_flex_f32(&x) {
        let [out_channels, _, _, _] = weight.dims();
        let y = by_burn(x, weight * scale.reshape([out_channels, 1, 1, 1]), None, options);
        return activation.apply(y + shift.reshape([1, out_channels, 1, 1]));
    }
    Tensor::from_dispatch(<Dispatch as ConvBackend>::convolve_scaled(
        x.into_dispatch(),
        weight.into_dispatch(),
        scale.into_dispatch(),
        shift.into_dispatch(),
        options,
        activation,
    ))
}

fn by_burn(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, options: ConvOptions) -> Tensor<4> {
    let [top, bottom, left, right] = options.padding;
    let stride = [options.stride; 2];
    let options = burn::tensor::ops::ConvOptions::new_with_padding(stride, [(top, bottom), (left, right)], [1, 1], options.groups);
    burn::tensor::module::conv2d(x, weight, bias, options)
}

/// What the generated dispatch calls.
#[backend_extension(Flex, Autodiff)]
pub trait ConvBackend: Backend {
    /// x * weight.
    fn convolve(x: FloatTensor<Self>, weight: FloatTensor<Self>, options: ConvOptions) -> FloatTensor<Self>;

    /// activation(scale * (x * weight) + shift).
    fn convolve_scaled(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        options: ConvOptions,
        activation: Activation,
    ) -> FloatTensor<Self>;
}

impl ConvBackend for Flex {
    fn convolve(x: FlexTensor, weight: FlexTensor, options: ConvOptions) -> FlexTensor {
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        let s = options.shape(dims(&x), dims(&weight));
        let y = algorithm::forward(values(&x), values(&weight), &s, None);
        tensor(y, [s.batch, s.out_channels, s.out_height(), s.out_width()])
    }

    fn convolve_scaled(
        x: FlexTensor,
        weight: FlexTensor,
        scale: FlexTensor,
        shift: FlexTensor,
        options: ConvOptions,
        activation: Activation,
    ) -> FlexTensor {
        let (x, weight, scale, shift) = (x.to_contiguous(), weight.to_contiguous(), scale.to_contiguous(), shift.to_contiguous());
        let s = options.shape(dims(&x), dims(&weight));
        assert!(dims(&scale) == [s.out_channels] && dims(&shift) == [s.out_channels], "scale and shift are per output channel");
        let epilogue = Epilogue { scale: values(&scale), shift: values(&shift), activation };
        let y = algorithm::forward(values(&x), values(&weight), &s, Some(epilogue));
        tensor(y, [s.batch, s.out_channels, s.out_height(), s.out_width()])
    }
}

/// What the gradients need.
#[derive(Clone, Debug)]
struct Saved {
    x: FlexTensor,
    weight: FlexTensor,
    shape: ConvShape,
}

impl<C: CheckpointStrategy> ConvBackend for Autodiff<Flex, C> {
    fn convolve(x: FloatTensor<Self>, weight: FloatTensor<Self>, options: ConvOptions) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        match ConvolveBackward.prepare::<C>([x_node, weight_node]).compute_bound().stateful() {
            OpsKind::UnTracked(prepared) => prepared.finish(Flex::convolve(x, weight, options)),
            OpsKind::Tracked(prepared) => {
                let shape = options.shape(dims(&x), dims(&weight));
                let y = Flex::convolve(x.clone(), weight.clone(), options);
                prepared.finish(Saved { x, weight, shape }, y)
            }
        }
    }

    fn convolve_scaled(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        options: ConvOptions,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (scale, scale_node) = scale.into_parts();
        let (shift, shift_node) = shift.into_parts();
        let (x, weight, scale) = (x.to_contiguous(), weight.to_contiguous(), scale.to_contiguous());
        match ScaledBackward.prepare::<C>([x_node, weight_node, scale_node, shift_node]).compute_bound().stateful() {
            OpsKind::UnTracked(prepared) => prepared.finish(Flex::convolve_scaled(x, weight, scale, shift, options, activation)),
            OpsKind::Tracked(prepared) => {
                let shape = options.shape(dims(&x), dims(&weight));
                let y = Flex::convolve_scaled(x.clone(), weight.clone(), scale.clone(), shift, options, activation);
                let kept = (activation != Activation::Identity).then(|| y.clone());
                prepared.finish((Saved { x, weight, shape }, scale, kept, activation), y)
            }
        }
    }
}

#[derive(Debug)]
struct ConvolveBackward;

impl Backward<Flex, 2> for ConvolveBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let [x_node, weight_node] = ops.parents;
        let Saved { x, weight, shape } = ops.state;
        let folded = Folded { weight: values(&weight), scale: None };
        let found = algorithm::gradients(values(&x), folded, dy, None, &shape, x_node.is_some());
        if let Some(node) = weight_node {
            grads.register::<Flex>(node.id, tensor(found.weight, dims::<4>(&weight)));
        }
        if let Some((node, dx)) = x_node.zip(found.x) {
            grads.register::<Flex>(node.id, tensor(dx, [shape.batch, shape.channels, shape.height, shape.width]));
        }
    }
}

#[derive(Debug)]
struct ScaledBackward;

impl Backward<Flex, 4> for ScaledBackward {
    /// With the scale, the output where the activation needs it, and the activation.
    type State = (Saved, FlexTensor, Option<FlexTensor>, Activation);

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let [x_node, weight_node, scale_node, shift_node] = ops.parents;
        let (Saved { x, weight, shape }, scale, y, activation) = ops.state;
        let folded = Folded { weight: values(&weight), scale: Some(values(&scale)) };
        let found = algorithm::gradients(values(&x), folded, dy, y.map(|y| (y, activation)), &shape, x_node.is_some());
        if let Some(node) = shift_node {
            grads.register::<Flex>(node.id, tensor(found.shift, [shape.out_channels]));
        }
        let mut dw = found.weight;
        let row = shape.group_channels() * shape.taps();
        if let Some(node) = scale_node {
            let per_channel = values(&weight).chunks_exact(row).zip(dw.chunks_exact(row));
            let sums = per_channel.map(|(w, dw)| w.iter().zip(dw).map(|(w, dw)| f64::from(w * dw)).sum::<f64>() as f32);
            grads.register::<Flex>(node.id, tensor(sums.collect(), [shape.out_channels]));
        }
        if let Some(node) = weight_node {
            for (dw, scale) in dw.chunks_exact_mut(row).zip(values(&scale)) {
                dw.iter_mut().for_each(|dw| *dw *= scale);
            }
            grads.register::<Flex>(node.id, tensor(dw, dims::<4>(&weight)));
        }
        if let Some((node, dx)) = x_node.zip(found.x) {
            grads.register::<Flex>(node.id, tensor(dx, [shape.batch, shape.channels, shape.height, shape.width]));
        }
    }
}

#[cfg(test)]
pub(in crate::conv) mod tests {
    use super::*;
    use crate::check::{assert_close, leaf, noise, value_and_gradients};
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    pub(crate) struct Case {
        pub x: [usize; 4],
        pub weight: [usize; 4],
        pub options: ConvOptions,
    }

    fn case() -> impl Strategy<Value = Case> {
        let sizes = (1usize..10, 1usize..4, 1usize..5, 1usize..14, 1usize..14);
        (sizes, 1usize..6, 1usize..6, 1usize..4, prop::array::uniform4(0usize..4), 1usize..4).prop_filter_map(
            "the kernel fits",
            |((batch, inputs, outputs, height, width), rows, columns, stride, padding, groups)| {
                let fits = height + padding[0] + padding[1] >= rows && width + padding[2] + padding[3] >= columns;
                fits.then(|| Case {
                    x: [batch, inputs * groups, height, width],
                    weight: [outputs * groups, inputs, rows, columns],
                    options: ConvOptions { stride, padding, groups },
                })
            },
        )
    }

    pub(crate) fn check(case: &Case) {
        let Case { x, weight, options } = case.clone();
        let outs = weight[0];
        let inputs = || (leaf(noise(x, 1)), leaf(noise(weight, 2)), leaf(noise([outs], 3)), leaf(noise([outs], 4)));
        let (a, w, scale, shift) = inputs();
        let ours = value_and_gradients(conv2d(a.clone(), w.clone(), None, options), [&a, &w], []);
        let (a, w, _, _) = inputs();
        let burns = value_and_gradients(by_burn(a.clone(), w.clone(), None, options), [&a, &w], []);
        assert_close(&ours, &burns, case);

        let (a, w, _, _) = inputs();
        let ours = value_and_gradients(conv2d(a.clone(), w.clone(), Some(shift.clone()), options), [&a, &w], [&shift]);
        let (a, w, _, shift) = inputs();
        let burns = value_and_gradients(by_burn(a.clone(), w.clone(), Some(shift.clone()), options), [&a, &w], [&shift]);
        assert_close(&ours, &burns, case);

        for activation in [Activation::Identity, Activation::Relu, Activation::Relu6] {
            let (a, w, _, shift) = inputs();
            let y = conv2d_scaled(a.clone(), w.clone(), scale.clone(), shift.clone(), options, activation);
            let ours = value_and_gradients(y, [&a, &w], [&scale, &shift]);
            let (a, w, scale, shift) = inputs();
            let y = by_burn(a.clone(), w.clone() * scale.clone().reshape([outs, 1, 1, 1]), Some(shift.clone()), options);
            let burns = value_and_gradients(activation.apply(y), [&a, &w], [&scale, &shift]);
            assert_close(&ours, &burns, case);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn values_and_gradients_equal_burns(case in case()) {
            check(&case);
        }
    }

    #[test]
    fn the_shapes_of_residual_networks_agree_with_burn() {
        let same = |stride, padding| ConvOptions { stride, padding: [padding; 4], groups: 1 };
        for (x, weight, options) in [
            ([2, 3, 40, 40], [16, 3, 7, 7], same(2, 3)),
            ([5, 32, 8, 8], [24, 32, 3, 3], same(1, 1)),
            ([9, 16, 24, 24], [32, 16, 1, 1], same(1, 0)),
            ([37, 32, 4, 4], [24, 32, 1, 1], same(1, 0)),
            ([3, 32, 9, 9], [16, 32, 1, 1], same(2, 0)),
            ([16, 64, 2, 2], [128, 64, 3, 3], same(1, 1)),
            ([1, 64, 30, 30], [64, 64, 3, 3], same(1, 1)),
            ([17, 40, 7, 9], [25, 40, 3, 3], same(1, 1)),
            ([3, 16, 12, 19], [16, 16, 3, 3], ConvOptions { stride: 1, padding: [0, 2, 3, 1], groups: 1 }),
        ] {
            check(&Case { x, weight, options });
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let shape = |batch, channels, size, out_channels, k: usize, stride, groups| {
            let (kernel, padding) = ([k, k], [k / 2; 4]);
            ConvShape { batch, channels, height: size, width: size, out_channels, kernel, stride, padding, groups }
        };
        for s in [
            shape(3, 3, 40, 32, 7, 2, 1),
            shape(9, 64, 12, 64, 3, 1, 1),
            shape(5, 256, 7, 640, 1, 1, 1),
            shape(37, 32, 4, 24, 1, 1, 1),
            shape(5, 16, 40, 24, 1, 1, 1),
            shape(20, 64, 2, 64, 3, 1, 1),
            shape(5, 32, 9, 32, 5, 2, 32),
            shape(2, 16, 30, 24, 3, 2, 2),
        ] {
            let sample = |len: usize| (0..len).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<_>>();
            let x = sample(s.batch * s.channels * s.pixels());
            let weight = sample(s.out_channels * s.group_channels() * s.taps());
            let dy = sample(s.batch * s.out_channels * s.out_pixels());
            let scale = sample(s.out_channels);
            let run = |threads| {
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
                    let forward = algorithm::forward(&x, &weight, &s, None);
                    let dy = tensor(dy.clone(), [s.batch, s.out_channels, s.out_height(), s.out_width()]);
                    let y = (dy.clone(), Activation::Relu6);
                    let found = algorithm::gradients(&x, Folded { weight: &weight, scale: Some(&scale) }, dy, Some(y), &s, true);
                    (forward, found.x, found.weight, found.shift)
                })
            };
            assert!(run(1) == run(3), "{s:?}");
        }
    }

    #[test]
    fn float64_goes_through_burn() {
        let device = burn::tensor::Device::flex();
        let x = Tensor::<4>::ones([1, 1, 3, 3], (&device, burn::tensor::DType::F64));
        let weight = Tensor::ones([1, 1, 3, 3], (&device, burn::tensor::DType::F64));
        let y = conv2d(x, weight, None, ConvOptions::default());
        assert_eq!(y.dtype(), burn::tensor::DType::F64);
        assert_eq!(y.into_data().try_to_vec::<f64>().unwrap(), [9.0]);
    }
}
