//! What every way to convolve takes and gives beside the maps themselves.

use std::borrow::Cow;

use rayon::prelude::*;

use super::shape::ConvShape;
use crate::activation::{Activation, clamp, masked};
use crate::flex::Shared;
use crate::lanes::{self, copy_row, vectorised};

/// What happens to an output value before it is stored: activation(scale`[channel]` * value + shift`[channel]`).
#[derive(Clone, Copy)]
pub(super) struct Epilogue<'a> {
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    pub activation: Activation,
}

impl Epilogue<'_> {
    pub(super) fn apply(&self, channel: usize, values: &mut [f32]) {
        vectorised(
            #[inline(always)]
            || self.apply_inlined(channel, values),
        );
    }

    /// The same inside of a vectorised closure.
    #[inline(always)]
    pub(super) fn apply_inlined(&self, channel: usize, values: &mut [f32]) {
        let (scale, shift, bounds) = (self.scale[channel], self.shift[channel], self.activation.bounds());
        for value in values {
            *value = clamp(scale * *value + shift, bounds);
        }
    }
}

/// A weight `[out_channels, channels / groups, kh, kw]`, each output channel times its scale where there is one.
#[derive(Clone, Copy)]
pub(super) struct Folded<'a> {
    pub weight: &'a [f32],
    pub scale: Option<&'a [f32]>,
}

impl<'a> Folded<'a> {
    /// Each row of the weight matrix times its output channel's scale.
    pub(super) fn scaled(self, s: &ConvShape) -> Cow<'a, [f32]> {
        let Self { weight, scale } = self;
        let Some(scale) = scale else { return Cow::Borrowed(weight) };
        let row = s.group_channels() * s.taps();
        let mut scaled = vec![0.0; weight.len()];
        scaled.par_chunks_mut(row).zip(weight.par_chunks(row)).zip(scale).for_each(|((scaled, weight), scale)| {
            lanes::map(weight, scaled, |w| w * scale);
        });
        Cow::Owned(scaled)
    }

    /// weight `[out, in / groups, kh, kw]` as `[in, out / groups, kh, kw]` with the taps in reverse, each times its output channel's scale.
    pub(super) fn turned(self, s: &ConvShape) -> Vec<f32> {
        let Self { weight, scale } = self;
        let (inputs, outputs, taps) = (s.group_channels(), s.group_out_channels(), s.taps());
        let mut turned = vec![0.0; weight.len()];
        // Several channels at a time: neighbours in the source, each with its own stream of results.
        const CHANNELS: usize = 16;
        let per_group = inputs.div_ceil(CHANNELS);
        let out = Shared::new(&mut turned);
        (0..s.groups * per_group).into_par_iter().for_each(|task| {
            let (g, first) = (task / per_group, task % per_group * CHANNELS);
            let last = (first + CHANNELS).min(inputs);
            // SAFETY: each task has its own channels, hence its own rows.
            let turned = unsafe { out.slice((g * inputs + first) * outputs * taps, (last - first) * outputs * taps) };
            for o in 0..outputs {
                let out_channel = g * outputs + o;
                let factor = scale.map_or(1.0, |scale| scale[out_channel]);
                let source = &weight[(out_channel * inputs + first) * taps..(out_channel * inputs + last) * taps];
                for (c, source) in source.chunks_exact(taps).enumerate() {
                    let to = &mut turned[(c * outputs + o) * taps..][..taps];
                    for (to, from) in to.iter_mut().zip(source.iter().rev()) {
                        *to = from * factor;
                    }
                }
            }
        });
        turned
    }
}

/// The gradient of a convolution's output, and the output where an activation has cut it off.
#[derive(Clone, Copy)]
pub(super) struct Incoming<'a> {
    pub dy: &'a [f32],
    pub y: Option<(&'a [f32], Activation)>,
}

impl Incoming<'_> {
    /// The gradient before the activation, `to.len()` values from `start` on. For vectorised closures.
    #[inline(always)]
    pub(super) fn copy(&self, start: usize, to: &mut [f32]) {
        let dy = &self.dy[start..][..to.len()];
        match self.y {
            None => copy_row(dy, to),
            Some((y, activation)) => {
                let bounds = activation.bounds();
                for ((to, dy), y) in to.iter_mut().zip(dy).zip(&y[start..][..dy.len()]) {
                    *to = masked(*dy, *y, bounds);
                }
            }
        }
    }
}

/// Of activation(scale * (x * weight) + shift).
pub(super) struct Gradients {
    /// By x, if it was asked for.
    pub x: Option<Vec<f32>>,
    /// By scale * weight.
    pub weight: Vec<f32>,
    /// By the shift `[out_channels]`; may be empty where nothing is folded in.
    pub shift: Vec<f32>,
}
