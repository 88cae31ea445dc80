//! Batch norm of `[rows, width]`, scale, shift and activation in one pass; several groups of rows may have statistics of their own.

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::activation::{Activation, clamp, masked};
use super::flex::{Shared, dims, is_flex_f32, tensor, values, values_mut};
use super::lanes::vectorised;

/// Columns of one task.
const BLOCK: usize = 64;
/// Added to a variance.
const EPSILON: f32 = 1e-5;

/// `x` `[rows, width]` normalised by the mean and biased variance (ε = 1e-5) of each column over each group of rows, then times `gamma`
/// `[width]`, plus `beta` `[width]`, then `activation`. `groups` are the numbers of rows of consecutive groups.
///
/// All three tensors get their gradients, through the statistics as well (Ioffe and Szegedy 2015).
pub fn batch_norm_rows(x: Tensor<2>, gamma: Tensor<1>, beta: Tensor<1>, groups: &[usize], activation: Activation) -> Tensor<2> {
    assert!(groups.iter().sum::<usize>() == x.dims()[0] && !groups.contains(&0), "groups {groups:?} of {} rows", x.dims()[0]);
    if !(is_flex_f32(&x) && is_flex_f32(&gamma) && is_flex_f32(&beta)) {
        return by_burn(x, gamma, beta, groups, activation);
    }
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    Tensor::from_dispatch(<Dispatch as BatchNormRowsBackend>::normalise_rows(x, gamma, beta, groups.to_vec(), activation))
}

fn by_burn(x: Tensor<2>, gamma: Tensor<1>, beta: Tensor<1>, groups: &[usize], activation: Activation) -> Tensor<2> {
    let mut start = 0;
    let standardised = groups.iter().map(|&rows| {
        start += rows;
        let x = x.clone().narrow(0, start - rows, rows);
        let centred = x.clone() - x.mean_dim(0);
        let variance = centred.clone().square().mean_dim(0);
        centred / (variance + f64::from(EPSILON)).sqrt()
    });
    activation.apply(Tensor::cat(standardised.collect(), 0) * gamma.unsqueeze() + beta.unsqueeze())
}

/// What the generated dispatch calls.
#[backend_extension(Flex, Autodiff)]
pub trait BatchNormRowsBackend: Backend {
    /// activation(gamma * standardised x + beta).
    fn normalise_rows(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        groups: Vec<usize>,
        activation: Activation,
    ) -> FloatTensor<Self>;
}

impl BatchNormRowsBackend for Flex {
    fn normalise_rows(x: FlexTensor, gamma: FlexTensor, beta: FlexTensor, groups: Vec<usize>, activation: Activation) -> FlexTensor {
        let (x, gamma, beta) = (x.to_contiguous(), gamma.to_contiguous(), beta.to_contiguous());
        let [rows, width] = dims(&x);
        let mut y = vec![0.0; rows * width];
        let out = Shared::new(&mut y);
        each_block(&x, &gamma, &beta, &groups, |block| block.forward(&out, activation.bounds()));
        tensor(y, [rows, width])
    }
}

impl<C: CheckpointStrategy> BatchNormRowsBackend for Autodiff<Flex, C> {
    fn normalise_rows(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        groups: Vec<usize>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (gamma, gamma_node) = gamma.into_parts();
        let (beta, beta_node) = beta.into_parts();
        let (x, gamma, beta) = (x.to_contiguous(), gamma.to_contiguous(), beta.to_contiguous());
        let y = Flex::normalise_rows(x.clone(), gamma.clone(), beta.clone(), groups.clone(), activation);
        match RowsBackward.prepare::<C>([x_node, gamma_node, beta_node]).compute_bound().stateful() {
            OpsKind::UnTracked(prepared) => prepared.finish(y),
            OpsKind::Tracked(prepared) => prepared.finish(Saved { x, gamma, beta, groups, activation }, y),
        }
    }
}

#[derive(Clone, Debug)]
struct Saved {
    x: FlexTensor,
    gamma: FlexTensor,
    beta: FlexTensor,
    groups: Vec<usize>,
    activation: Activation,
}

#[derive(Debug)]
struct RowsBackward;

impl Backward<Flex, 3> for RowsBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let mut dy = grads.consume::<Flex>(&ops.node).to_contiguous();
        let [x_node, gamma_node, beta_node] = ops.parents;
        let Saved { x, gamma, beta, groups, activation } = &ops.state;
        let gradient = Shared::new(values_mut(&mut dy));
        let sums = each_block(x, gamma, beta, groups, |block| block.backward(&gradient, activation.bounds()));
        let (products, sums): (Vec<_>, Vec<_>) = sums.into_iter().unzip();
        let [_, width] = dims(x);
        let vector = |blocks: Vec<[f32; BLOCK]>| {
            let mut values = blocks.concat();
            values.truncate(width);
            tensor(values, [width])
        };
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, dy);
        }
        if let Some(node) = gamma_node {
            grads.register::<Flex>(node.id, vector(products));
        }
        if let Some(node) = beta_node {
            grads.register::<Flex>(node.id, vector(sums));
        }
    }
}

/// Some columns of the input.
struct Block<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    groups: &'a [usize],
    /// Of a whole row.
    width: usize,
    /// The first column.
    start: usize,
}

fn each_block<R: Send>(
    x: &FlexTensor,
    gamma: &FlexTensor,
    beta: &FlexTensor,
    groups: &[usize],
    work: impl Fn(Block) -> R + Sync,
) -> Vec<R> {
    let [_, width] = dims(x);
    let (x, gamma, beta) = (values(x), values(gamma), values(beta));
    (0..width.div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            let start = block * BLOCK;
            let end = width.min(start + BLOCK);
            work(Block { x, gamma: &gamma[start..end], beta: &beta[start..end], groups, width, start })
        })
        .collect()
}

/// What a group's columns are made of: y = factor * x + offset, and normalised x = (x - mean) * inverse.
struct Columns {
    mean: [f32; BLOCK],
    inverse: [f32; BLOCK],
    factor: [f32; BLOCK],
    offset: [f32; BLOCK],
}

impl Block<'_> {
    #[inline(always)]
    fn row(&self, row: usize) -> &[f32] {
        &self.x[row * self.width + self.start..][..self.gamma.len()]
    }

    #[inline(always)]
    fn columns(&self, first: usize, rows: usize) -> Columns {
        let (mut mean, mut inverse, mut factor, mut offset) = ([0.0f32; BLOCK], [0.0f32; BLOCK], [0.0f32; BLOCK], [0.0f32; BLOCK]);
        for row in first..first + rows {
            mean.iter_mut().zip(self.row(row)).for_each(|(mean, x)| *mean += x);
        }
        mean.iter_mut().for_each(|mean| *mean /= rows as f32);
        for row in first..first + rows {
            for ((square, x), mean) in inverse.iter_mut().zip(self.row(row)).zip(&mean) {
                *square += (x - mean) * (x - mean);
            }
        }
        for (at, (gamma, beta)) in self.gamma.iter().zip(self.beta).enumerate() {
            inverse[at] = 1.0 / (inverse[at] / rows as f32 + EPSILON).sqrt();
            factor[at] = gamma * inverse[at];
            offset[at] = beta - mean[at] * factor[at];
        }
        Columns { mean, inverse, factor, offset }
    }

    fn forward(&self, out: &Shared, bounds: (f32, f32)) {
        vectorised(
            #[inline(always)]
            || {
                let mut first = 0;
                for &rows in self.groups {
                    let Columns { factor, offset, .. } = self.columns(first, rows);
                    for row in first..first + rows {
                        // SAFETY: each task has columns of its own.
                        let y = unsafe { out.slice(row * self.width + self.start, self.gamma.len()) };
                        for (((y, x), factor), offset) in y.iter_mut().zip(self.row(row)).zip(&factor).zip(&offset) {
                            *y = clamp(x * factor + offset, bounds);
                        }
                    }
                    first += rows;
                }
            },
        );
    }

    /// Replaces dy by dx; the gradients of gamma and beta.
    fn backward(&self, gradient: &Shared, bounds: (f32, f32)) -> ([f32; BLOCK], [f32; BLOCK]) {
        vectorised(
            #[inline(always)]
            || {
                let (mut products, mut sums, mut first) = ([0.0f32; BLOCK], [0.0f32; BLOCK], 0);
                for &rows in self.groups {
                    let Columns { mean, inverse, factor, offset } = self.columns(first, rows);
                    let (mut product, mut sum) = ([0.0f32; BLOCK], [0.0f32; BLOCK]);
                    for row in first..first + rows {
                        // SAFETY: each task has columns of its own, and holds one row of them at a time.
                        let dy = unsafe { gradient.slice(row * self.width + self.start, self.gamma.len()) };
                        let x = self.row(row);
                        // The bound spares a check of each index, and with it scalar code.
                        for at in 0..dy.len().min(x.len()).min(BLOCK) {
                            dy[at] = masked(dy[at], x[at] * factor[at] + offset[at], bounds);
                            product[at] += dy[at] * (x[at] - mean[at]) * inverse[at];
                            sum[at] += dy[at];
                        }
                    }
                    let share = 1.0 / rows as f32;
                    for row in first..first + rows {
                        // SAFETY: as above.
                        let dy = unsafe { gradient.slice(row * self.width + self.start, self.gamma.len()) };
                        let x = self.row(row);
                        for at in 0..dy.len().min(x.len()).min(BLOCK) {
                            dy[at] = factor[at] * (dy[at] - share * (sum[at] + (x[at] - mean[at]) * inverse[at] * product[at]));
                        }
                    }
                    for at in 0..BLOCK {
                        products[at] += product[at];
                        sums[at] += sum[at];
                    }
                    first += rows;
                }
                (products, sums)
            },
        )
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
            groups in prop::collection::vec(3usize..12, 1..4), width in 1usize..150,
            activation in prop::sample::select(vec![Activation::Identity, Activation::Relu]),
        ) {
            let rows = groups.iter().sum();
            let leaves = || (leaf(noise([rows, width], 1) * 2.0 + 0.7), leaf(noise([width], 2) + 1.5), leaf(noise([width], 3)));
            let (x, gamma, beta) = leaves();
            // At a value of zero, up to rounding, the gradient of a ReLU may go either way.
            let before = by_burn(x, gamma, beta, &groups, Activation::Identity).into_data().try_to_vec::<f32>().unwrap();
            prop_assume!(before.iter().all(|value| value.abs() > 1e-5));
            let (x, gamma, beta) = leaves();
            let found = value_and_gradients(batch_norm_rows(x.clone(), gamma.clone(), beta.clone(), &groups, activation), [&x], [&gamma, &beta]);
            let (x, gamma, beta) = leaves();
            let burns = by_burn(x.clone(), gamma.clone(), beta.clone(), &groups, activation);
            let expected = value_and_gradients(burns, [&x], [&gamma, &beta]);
            assert_close(&found, &expected, &(groups, width));
        }
    }
}
