//! Depthwise convolution: each channel with its own small kernel, by vectorised passes over one map in the first-level cache.

use rayon::prelude::*;

use super::conv_loops::Epilogue;
use super::flex::with_scratch;
use super::im2col::ConvShape;
use super::lanes::vectorised;
use super::planes::{BLOCK, Layout};

/// Values of one task.
const TASK: usize = 1 << 15;

/// Whether every channel is a group of its own with one output.
pub(super) fn applies(s: &ConvShape) -> bool {
    s.groups > 1 && s.groups == s.channels && s.channels == s.out_channels
}

/// `out[t]` = Σ factor · `values[offset + t]` over the taps; `out` is a number of whole blocks.
#[inline(always)]
fn slide(values: &[f32], offsets: &[usize], factors: &[f32], out: &mut [f32]) {
    const WIDE: usize = 4 * BLOCK;
    let whole = out.len() / WIDE * WIDE;
    let (wide, narrow) = out.split_at_mut(whole);
    slide_blocks::<WIDE>(values, offsets, factors, wide);
    slide_blocks::<BLOCK>(&values[whole..], offsets, factors, narrow);
}

/// The same with sums of `N` values in registers.
#[inline(always)]
fn slide_blocks<const N: usize>(values: &[f32], offsets: &[usize], factors: &[f32], out: &mut [f32]) {
    for (block, out) in out.chunks_exact_mut(N).enumerate() {
        let mut sums = [0.0f32; N];
        for (offset, factor) in offsets.iter().zip(factors) {
            let values = &values[offset + block * N..][..N];
            for lane in 0..N {
                sums[lane] += factor * values[lane];
            }
        }
        out.copy_from_slice(&sums);
    }
}

/// The place of each tap.
fn tap_offsets(s: &ConvShape, layout: &Layout) -> Vec<usize> {
    (0..s.taps()).map(|tap| layout.offset(tap / s.kernel[1], tap % s.kernel[1])).collect()
}

fn planes_per_task(s: &ConvShape) -> usize {
    (TASK / s.pixels()).max(1)
}

/// y `[batch, channels, out_height, out_width]` = epilogue(x * weight).
pub(super) fn forward(x: &[f32], weight: &[f32], s: &ConvShape, epilogue: Option<Epilogue>) -> Vec<f32> {
    let layout = Layout::new(s);
    let offsets = tap_offsets(s, &layout);
    let per_task = planes_per_task(s);
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
                        for (y, out) in y.chunks_exact_mut(layout.out_width).zip(layout.out_rows(out)) {
                            y.copy_from_slice(out);
                        }
                    },
                );
                if let Some(epilogue) = epilogue {
                    epilogue.apply(channel, y);
                }
            }
        });
    });
    y
}

/// The gradient of x from the gradient of x * (weight * scale).
pub(super) fn data_gradient(dy: &[f32], weight: &[f32], scale: Option<&[f32]>, s: &ConvShape) -> Vec<f32> {
    let layout = Layout::new(s);
    let per_task = planes_per_task(s);
    // Each part of the map collects the taps that fall into it, from an output map with zeros before and after.
    let lead = layout.offset_in_part(s.kernel[0] - 1, s.kernel[1] - 1);
    let taps_of_part = |part: usize| {
        let in_part = |tap: &usize| (tap / s.kernel[1] % s.stride, tap % s.kernel[1] % s.stride) == (part / s.stride, part % s.stride);
        (0..s.taps()).filter(in_part).collect::<Vec<_>>()
    };
    let taps: Vec<Vec<usize>> = (0..s.stride * s.stride).map(taps_of_part).collect();
    let offset = |tap: &usize| lead - layout.offset_in_part(tap / s.kernel[1], tap % s.kernel[1]);
    let offsets: Vec<Vec<usize>> = taps.iter().map(|taps| taps.iter().map(offset).collect()).collect();
    let mut dx = vec![0.0; s.batch * s.channels * s.pixels()];
    let tasks = dx.par_chunks_mut(per_task * s.pixels()).zip(dy.par_chunks(per_task * s.out_pixels()));
    tasks.enumerate().for_each(|(task, (dx, dy))| {
        let spread_len = lead + layout.out_len().max(layout.part_len());
        with_scratch(layout.len() + spread_len, |scratch| {
            let (parts, spread) = scratch.split_at_mut(layout.len());
            spread.fill(0.0);
            let mut factors = Vec::with_capacity(s.taps());
            for (plane, (dx, dy)) in dx.chunks_exact_mut(s.pixels()).zip(dy.chunks_exact(s.out_pixels())).enumerate() {
                let channel = (task * per_task + plane) % s.channels;
                let kernel = &weight[channel * s.taps()..][..s.taps()];
                let scale = scale.map_or(1.0, |scale| scale[channel]);
                layout.spread(dy, &mut spread[lead..lead + layout.out_len()]);
                for (part, (taps, offsets)) in taps.iter().zip(&offsets).enumerate() {
                    factors.clear();
                    factors.extend(taps.iter().map(|tap| scale * kernel[*tap]));
                    let to = &mut parts[part * layout.part_len()..][..layout.part_len()];
                    vectorised(
                        #[inline(always)]
                        || slide(spread, offsets, &factors, to),
                    );
                }
                layout.join(parts, dx);
            }
        });
    });
    dx
}

/// The gradient of the weight `[channels, 1, kh, kw]`, summed over the batch in a fixed order.
pub(super) fn weight_gradient(x: &[f32], dy: &[f32], s: &ConvShape) -> Vec<f32> {
    let layout = Layout::new(s);
    let offsets = tap_offsets(s, &layout);
    let mut dw = vec![0.0; s.channels * s.taps()];
    dw.par_chunks_mut(s.taps()).enumerate().for_each(|(channel, dw)| {
        with_scratch(layout.len() + layout.out_len() + s.taps() * BLOCK, |scratch| {
            scratch.fill(0.0);
            let (parts, scratch) = scratch.split_at_mut(layout.len());
            let (spread, sums) = scratch.split_at_mut(layout.out_len());
            for n in 0..s.batch {
                let plane = n * s.channels + channel;
                vectorised(
                    #[inline(always)]
                    || {
                        layout.split(&x[plane * s.pixels()..][..s.pixels()], parts);
                        layout.spread(&dy[plane * s.out_pixels()..][..s.out_pixels()], spread);
                        let rows = sums.chunks_exact_mut(s.kernel[1] * BLOCK).zip(offsets.chunks_exact(s.kernel[1]));
                        for (sums, offsets) in rows {
                            match offsets {
                                [a, b, c] => add_products(spread, parts, [*a, *b, *c], sums),
                                [a, b, c, d, e] => add_products(spread, parts, [*a, *b, *c, *d, *e], sums),
                                _ => {
                                    for (offset, sums) in offsets.iter().zip(sums.chunks_exact_mut(BLOCK)) {
                                        add_products(spread, parts, [*offset], sums);
                                    }
                                }
                            }
                        }
                    },
                );
            }
            for (dw, sums) in dw.iter_mut().zip(sums.chunks_exact(BLOCK)) {
                *dw = sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() as f32;
            }
        });
    });
    dw
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
    use crate::compute::ConvOptions;
    use crate::compute::conv::tests::{Case, check};
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
