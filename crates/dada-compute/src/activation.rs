//! The activations that are applied while a value is still in a register.

use burn::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::flex::values_mut;
use super::lanes::vectorised;

/// What follows a scale and shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
}

impl Activation {
    /// The interval that values are clamped to.
    pub(super) fn bounds(self) -> (f32, f32) {
        match self {
            Self::Identity => (f32::NEG_INFINITY, f32::INFINITY),
            Self::Relu => (0.0, f32::INFINITY),
            Self::Relu6 => (0.0, 6.0),
        }
    }

    /// The same by burn's operators.
    pub(super) fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Identity => x,
            Self::Relu => burn::tensor::activation::relu(x),
            Self::Relu6 => x.clamp(0.0, 6.0),
        }
    }
}

/// `x` limited to `low..=high`; NaN stays NaN, so that a diverged network shows in the loss.
#[inline(always)]
pub(super) fn clamp(x: f32, (low, high): (f32, f32)) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// The gradient passes where the activated value `y` lies strictly inside the bounds (zero at the kinks, as in PyTorch).
#[inline(always)]
pub(super) fn masked(gradient: f32, y: f32, (low, high): (f32, f32)) -> f32 {
    if y > low && y < high { gradient } else { 0.0 }
}

/// The gradient before the activation, from that after it and the activated values.
pub(super) fn activation_gradient(dy: FlexTensor, y: &[f32], activation: Activation) -> FlexTensor {
    const CHUNK: usize = 1 << 14;
    let mut dy = dy.to_contiguous();
    let bounds = activation.bounds();
    values_mut(&mut dy).par_chunks_mut(CHUNK).zip(y.par_chunks(CHUNK)).for_each(|(dy, y)| {
        vectorised(
            #[inline(always)]
            || {
                for (dy, y) in dy.iter_mut().zip(y) {
                    *dy = masked(*dy, *y, bounds);
                }
            },
        );
    });
    dy
}
