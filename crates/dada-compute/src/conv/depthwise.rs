//! Depthwise convolution: each channel with its own small kernel, by vectorised passes over one map in the first-level cache.

use rayon::prelude::*;

use super::operands::{Epilogue, Folded, Gradients, Incoming};
use super::shape::ConvShape;
use crate::flex::{Shared, with_scratch};
use crate::lanes::{self, vectorised};
use crate::planes::{BLOCK, Layout};

/// Values of one task.
const TASK: usize = 1 << 15;
/// Values of an image that a task takes at a time where it takes the same channels of all images.
const SMALL_TASK: usize = 1 << 11;

/// Whether every channel is a group of its own with one output.
pub(super) fn applies(s: &ConvShape) -> bool {
    s.groups > 1 && s.groups == s.channels && s.channels == s.out_channels
}

/// `out[t]` = Σ factor · `values[offset + t]` over the taps; `out` is a number of whole blocks.
#[inline(always)]
fn slide(values: &[f32], offsets: &[usize], factors: &[f32], out: &mut [f32]) {
    // As many sums at once as are left: they do not wait for each other.
    let done = slide_blocks::<{ 4 * BLOCK }>(values, offsets, factors, out, 0);
    let done = slide_blocks::<{ 2 * BLOCK }>(values, offsets, factors, out, done);
    slide_blocks::<BLOCK>(values, offsets, factors, out, done);
}

/// The same from `start` on with sums of `N` values in registers, and where that ends.
#[inline(always)]
fn slide_blocks<const N: usize>(values: &[f32], offsets: &[usize], factors: &[f32], out: &mut [f32], start: usize) -> usize {
    let blocks = out[start..].as_chunks_mut::<N>().0;
    let end = start + blocks.len() * N;
    for (block, out) in blocks.iter_mut().enumerate() {
        let mut sums = [0.0f32; N];
        for (offset, factor) in offsets.iter().zip(factors) {
            let values = &values[offset + start + block * N..][..N];
            for lane in 0..N {
                sums[lane] += factor * values[lane];
            }
        }
        *out = sums;
    }
    end
}

/// The place of each tap.
fn tap_offsets(s: &ConvShape, layout: &Layout) -> Vec<usize> {
    (0..s.taps()).map(|tap| layout.offset(tap / s.kernel[1], tap % s.kernel[1])).collect()
}

/// y `[batch, channels, out_height, out_width]` = epilogue(x * weight).
pub(super) fn forward(x: &[f32], weight: &[f32], s: &ConvShape, epilogue: Option<Epilogue>) -> Vec<f32> {
    let layout = Layout::new(s);
    let offsets = tap_offsets(s, &layout);
    let per_task = (TASK / s.pixels()).max(1);
    let mut y = vec![0.0; s.batch * s.channels * s.out_pixels()];
    let tasks = y.par_chunks_mut(per_task * s.out_pixels()).zip(x.par_chunks(per_task * s.pixels()));
    tasks.enumerate().for_each(|(task, (y, x))| {
        with_scratch(layout.len() + layout.out_len(), |scratch| {
            let (parts, out) = scratch.split_at_mut(layout.len());
            parts.fill(0.0);
            for (plane, (y, x)) in y.chunks_exact_mut(s.out_pixels()).zip(x.chunks_exact(s.pixels())).enumerate() {
                let channel = (task * per_task + plane) % s.channels;
                let kernel = &weight[channel * s.taps()..][..s.taps()];
                vectorised(
                    #[inline(always)]
                    || {
                        layout.split(x, parts);
                        slide(parts, &offsets, kernel, out);
                        layout.gather(out, y);
                        if let Some(epilogue) = epilogue {
                            epilogue.apply_inlined(channel, y);
                        }
                    },
                );
            }
        });
    });
    y
}

/// The taps that fall into each part of the input map, and where each finds its values in an output map with `lead` zeros before it.
struct Turned {
    lead: usize,
    parts: Vec<(Vec<usize>, Vec<usize>)>,
}

impl Turned {
    fn new(s: &ConvShape, layout: &Layout) -> Self {
        let lead = layout.offset_in_part(s.kernel[0] - 1, s.kernel[1] - 1);
        let place = |tap: usize| [tap / s.kernel[1], tap % s.kernel[1]];
        let part = |part: usize| {
            let taps = (0..s.taps()).filter(|&tap| place(tap).map(|at| at % s.stride) == [part / s.stride, part % s.stride]);
            let taps: Vec<usize> = taps.collect();
            let offsets = taps.iter().map(|&tap| lead - layout.offset_in_part(place(tap)[0], place(tap)[1])).collect();
            (taps, offsets)
        };
        Self { lead, parts: (0..s.stride * s.stride).map(part).collect() }
    }
}

/// The gradients of activation(scale * (x * weight) + shift), each map of the batch looked at once.
pub(super) fn gradients(x: &[f32], folded: Folded, incoming: Incoming, s: &ConvShape, of_x: bool) -> Gradients {
    let layout = Layout::new(s);
    let (offsets, turned) = (tap_offsets(s, &layout), Turned::new(s, &layout));
    let spread_len = turned.lead + layout.out_len().max(layout.part_len());
    // Channels that lie side by side share a task where maps are small.
    let per_task = (SMALL_TASK / s.pixels()).clamp(1, 16);
    let mut dx = vec![0.0; if of_x { s.batch * s.channels * s.pixels() } else { 0 }];
    let (mut dw, mut shift) = (vec![0.0; s.channels * s.taps()], vec![0.0; s.channels]);
    let shared_dx = Shared::new(&mut dx);
    dw.par_chunks_mut(per_task * s.taps()).zip(shift.par_chunks_mut(per_task)).enumerate().for_each(|(task, (dw, shift))| {
        let channels = task * per_task..task * per_task + shift.len();
        // The kernels turned around, part by part.
        let factors: Vec<f32> = channels
            .clone()
            .flat_map(|channel| {
                let kernel = &folded.weight[channel * s.taps()..][..s.taps()];
                let scale = folded.scale.map_or(1.0, |scale| scale[channel]);
                turned.parts.iter().flat_map(move |(taps, _)| taps.iter().map(move |&tap| scale * kernel[tap]))
            })
            .collect();
        let mut totals = vec![0.0f64; shift.len()];
        with_scratch(2 * layout.len() + spread_len + s.out_pixels() + dw.len() * BLOCK, |scratch| {
            scratch.fill(0.0);
            let (parts, scratch) = scratch.split_at_mut(layout.len());
            let (dx_parts, scratch) = scratch.split_at_mut(layout.len());
            let (spread, scratch) = scratch.split_at_mut(spread_len);
            let (dz, sums) = scratch.split_at_mut(s.out_pixels());
            for n in 0..s.batch {
                for (place, channel) in channels.clone().enumerate() {
                    let plane = n * s.channels + channel;
                    let x = &x[plane * s.pixels()..][..s.pixels()];
                    let sums = &mut sums[place * s.taps() * BLOCK..][..s.taps() * BLOCK];
                    let mut factors = &factors[place * s.taps()..][..s.taps()];
                    // SAFETY: a channel's maps belong to its task alone.
                    let mut dx = of_x.then(|| unsafe { shared_dx.slice(plane * s.pixels(), s.pixels()) });
                    totals[place] += vectorised(
                        #[inline(always)]
                        || {
                            let out = &mut spread[turned.lead..][..layout.out_len()];
                            incoming.copy(plane * s.out_pixels(), dz);
                            layout.spread(dz, out);
                            layout.split(x, parts);
                            add_all_products(out, parts, &offsets, s.kernel[1], sums);
                            if let Some(dx) = &mut dx {
                                for ((_, offsets), to) in turned.parts.iter().zip(dx_parts.chunks_exact_mut(layout.part_len())) {
                                    let (of_part, rest) = factors.split_at(offsets.len());
                                    factors = rest;
                                    slide(spread, offsets, of_part, to);
                                }
                                layout.join(dx_parts, dx);
                            }
                            f64::from(lanes::inlined_sum(dz))
                        },
                    );
                }
            }
            for (dw, sums) in dw.iter_mut().zip(sums.chunks_exact(BLOCK)) {
                *dw = sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() as f32;
            }
        });
        for (shift, total) in shift.iter_mut().zip(totals) {
            *shift = total as f32;
        }
    });
    Gradients { x: of_x.then_some(dx), weight: dw, shift }
}

/// Adds the products of `a` with `values` from each tap's offset on to the sixteen running sums of the tap, a kernel's row at a time.
#[inline(always)]
fn add_all_products(a: &[f32], values: &[f32], offsets: &[usize], columns: usize, sums: &mut [f32]) {
    for (sums, offsets) in sums.chunks_exact_mut(columns * BLOCK).zip(offsets.chunks_exact(columns)) {
        match offsets {
            [a0, a1, a2] => add_products(a, values, [*a0, *a1, *a2], sums),
            [a0, a1, a2, a3, a4] => add_products(a, values, [*a0, *a1, *a2, *a3, *a4], sums),
            _ => {
                for (offset, sums) in offsets.iter().zip(sums.chunks_exact_mut(BLOCK)) {
                    add_products(a, values, [*offset], sums);
                }
            }
        }
    }
}

/// Adds the products of `a` with `values` from each offset on to that offset's sixteen running sums.
#[inline(always)]
fn add_products<const N: usize>(a: &[f32], values: &[f32], offsets: [usize; N], sums: &mut [f32]) {
    let mut totals = [[0.0f32; BLOCK]; N];
    for (block, a) in a.chunks_exact(BLOCK).enumerate() {
        for tap in 0..N {
            let values = &values[offsets[tap] + block * BLOCK..][..BLOCK];
            for lane in 0..BLOCK {
                totals[tap][lane] += a[lane] * values[lane];
            }
        }
    }
    for (sum, total) in sums.iter_mut().zip(totals.as_flattened()) {
        *sum += total;
    }
}

#[cfg(test)]
mod tests {
    use crate::ConvOptions;
    use crate::conv::tensors::tests::{Case, check};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn values_and_gradients_equal_burns(
            (batch, channels, height, width) in (1usize..4, 2usize..9, 1usize..20, 1usize..20),
            kernel in prop::sample::select(vec![[3, 3], [5, 5], [1, 4], [7, 2]]),
            stride in 1usize..4, padding in prop::array::uniform4(0usize..4),
        ) {
            let [rows, columns] = kernel;
            prop_assume!(height + padding[0] + padding[1] >= rows && width + padding[2] + padding[3] >= columns);
            let options = ConvOptions { stride, padding, groups: channels };
            check(&Case { x: [batch, channels, height, width], weight: [channels, 1, rows, columns], options });
        }
    }
}
