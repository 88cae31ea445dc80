//! A linear layer, y = x Wᵀ + b, with its gradients in the layout of what they belong to.
//!
//! Composed of the engine's operators, the weight's gradient comes transposed: adding it up and handing it to an optimizer then walks
//! through memory column by column, which for a layer of millions of weights takes as long as the products.

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::flex::{Shared, dims, is_flex_f32, tensor, values};
use super::gemm::{Matrix, Write, matmul_shared};

/// `x` `[rows, in]` times the transpose of `weight` `[out, in]`, plus `bias` `[out]`: `[rows, out]`. All three get their gradients.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    let ([_, inputs], [outputs, width]) = (x.dims(), weight.dims());
    assert!(inputs == width && bias.dims() == [outputs], "{inputs} inputs and a bias {:?} for a weight [{outputs}, {width}]", bias.dims());
    if !(is_flex_f32(&x) && is_flex_f32(&weight) && is_flex_f32(&bias)) {
        return by_burn(x, weight, bias);
    }
    Tensor::from_dispatch(<Dispatch as LinearBackend>::affine_map(x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()))
}

fn by_burn(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    x.matmul(weight.transpose()) + bias.unsqueeze()
}

/// What the generated dispatch calls.
#[backend_extension(Flex, Autodiff)]
pub trait LinearBackend: Backend {
    /// x weightᵀ + bias.
    fn affine_map(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl LinearBackend for Flex {
    fn affine_map(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let (x, weight, bias) = (x.to_contiguous(), weight.to_contiguous(), bias.to_contiguous());
        let ([rows, inputs], [outputs, _]) = (dims(&x), dims(&weight));
        tensor(forward(values(&x), values(&weight), values(&bias), [rows, inputs, outputs]), [rows, outputs])
    }
}

impl<C: CheckpointStrategy> LinearBackend for Autodiff<Flex, C> {
    fn affine_map(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        let y = Flex::affine_map(x.clone(), weight.clone(), bias);
        match LinearBackward.prepare::<C>([x_node, weight_node, bias_node]).compute_bound().stateful() {
            OpsKind::UnTracked(prepared) => prepared.finish(y),
            OpsKind::Tracked(prepared) => prepared.finish(Saved { x, weight }, y),
        }
    }
}

#[derive(Clone, Debug)]
struct Saved {
    x: FlexTensor,
    weight: FlexTensor,
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, 3> for LinearBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node).to_contiguous();
        let Saved { x, weight } = &ops.state;
        let ([rows, inputs], [outputs, _]) = (dims(x), dims(weight));
        let sizes = [rows, inputs, outputs];
        let [x_node, weight_node, bias_node] = ops.parents;
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, tensor(input_gradient(values(&dy), values(weight), sizes), [rows, inputs]));
        }
        if let Some(node) = weight_node {
            grads.register::<Flex>(node.id, tensor(weight_gradient(values(&dy), values(x), sizes), [outputs, inputs]));
        }
        if let Some(node) = bias_node {
            let mut sums = vec![0.0; outputs];
            for row in values(&dy).chunks_exact(outputs.max(1)) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            grads.register::<Flex>(node.id, tensor(sums, [outputs]));
        }
    }
}

/// Columns of an output that one task makes of `length`: by the shape alone. `gemm` repacks the matrix whose columns these are, so that
/// dividing columns packs nothing twice.
fn block(length: usize) -> usize {
    length.div_ceil(16).next_multiple_of(16).max(128)
}

fn forward(x: &[f32], weight: &[f32], bias: &[f32], [rows, inputs, outputs]: [usize; 3]) -> Vec<f32> {
    let mut y = vec![0.0; rows * outputs];
    let out = Shared::new(&mut y);
    let width = block(outputs);
    (0..outputs.div_ceil(width)).into_par_iter().for_each(|task| {
        let start = task * width;
        let columns = width.min(outputs - start);
        for row in 0..rows {
            // SAFETY: each task has columns of its own.
            unsafe { out.slice(row * outputs + start, columns) }.copy_from_slice(&bias[start..start + columns]);
        }
        let right = Matrix::rows(weight, inputs).transposed().from(0, start);
        // SAFETY: as above.
        unsafe { matmul_shared([rows, inputs, columns], &out, start, outputs, Matrix::rows(x, inputs), right, Write::Add) };
    });
    y
}

/// dy · weight, `[rows, inputs]`.
fn input_gradient(dy: &[f32], weight: &[f32], [rows, inputs, outputs]: [usize; 3]) -> Vec<f32> {
    let mut dx = vec![0.0; rows * inputs];
    let out = Shared::new(&mut dx);
    let width = block(inputs);
    (0..inputs.div_ceil(width)).into_par_iter().for_each(|task| {
        let start = task * width;
        let columns = width.min(inputs - start);
        let (left, right) = (Matrix::rows(dy, outputs), Matrix::rows(weight, inputs).from(0, start));
        // SAFETY: each task has columns of its own.
        unsafe { matmul_shared([rows, outputs, columns], &out, start, inputs, left, right, Write::Replace) };
    });
    dx
}

/// dyᵀ · x, `[outputs, inputs]`.
fn weight_gradient(dy: &[f32], x: &[f32], [rows, inputs, outputs]: [usize; 3]) -> Vec<f32> {
    let mut gradient = vec![0.0; outputs * inputs];
    let out = Shared::new(&mut gradient);
    let width = block(inputs);
    (0..inputs.div_ceil(width)).into_par_iter().for_each(|task| {
        let start = task * width;
        let columns = width.min(inputs - start);
        let (left, right) = (Matrix::rows(dy, outputs).transposed(), Matrix::rows(x, inputs).from(0, start));
        // SAFETY: each task has columns of its own.
        unsafe { matmul_shared([outputs, rows, columns], &out, start, inputs, left, right, Write::Replace) };
    });
    gradient
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_close, leaf, noise, value_and_gradients};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn values_and_gradients_equal_burns(rows in 1usize..40, inputs in 1usize..300, outputs in 1usize..300) {
            let leaves = || (leaf(noise([rows, inputs], 1)), leaf(noise([outputs, inputs], 2)), leaf(noise([outputs], 3)));
            let (x, weight, bias) = leaves();
            let found = value_and_gradients(linear(x.clone(), weight.clone(), bias.clone()), [&x, &weight], [&bias]);
            let (x, weight, bias) = leaves();
            let expected = value_and_gradients(by_burn(x.clone(), weight.clone(), bias.clone()), [&x, &weight], [&bias]);
            assert_close(&found, &expected, &[rows, inputs, outputs]);
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let (x, weight) = (vec![0.3; 7 * 50], (0..400 * 50).map(|i| (i as f32).sin()).collect::<Vec<_>>());
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                (forward(&x, &weight, &vec![0.5; 400], [7, 50, 400]), input_gradient(&weight[..7 * 400], &weight, [7, 50, 400]))
            })
        };
        assert_eq!(run(1), run(4));
    }
}
