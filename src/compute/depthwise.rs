//! Depthwise convolution: each channel with its own small kernel, by vectorised passes over one map in the first-level cache.

use rayon::prelude::*;

use super::conv_loops::Epilogue;
use super::flex::with_scratch;
use super::im2col::ConvShape;
use super::planes::Layout;

/// Values computed together, in registers.
const BLOCK: usize = 64;
/// Values of one task.
const TASK: usize = 1 << 15;

/// Whether every channel is a group of its own with one output.
pub(super) fn applies(s: &ConvShape) -> bool {
    s.groups > 1 && s.groups == s.channels && s.channels == s.out_channels
}

/// `out[t]` = Σ factor · `values[offset + t]` over `taps`, pairs of offset and factor.
#[inline(always)]
fn slide(values: &[f32], taps: &[(usize, f32)], out: &mut [f32]) {
    let whole = out.len() / BLOCK * BLOCK;
    let (blocks, rest) = out.split_at_mut(whole);
    for (block, out) in blocks.chunks_exact_mut(BLOCK).enumerate() {
        let mut sums = [0.0f32; BLOCK];
        for (offset, factor) in taps {
            let values = &values[offset + block * BLOCK..][..BLOCK];
            for lane in 0..BLOCK {
                sums[lane] += factor * values[lane];
            }
        }
        out.copy_from_slice(&sums);
    }
    rest.fill(0.0);
    for (offset, factor) in taps {
        let len = rest.len();
        for (sum, value) in rest.iter_mut().zip(&values[offset + whole..][..len]) {
            *sum += factor * value;
        }
    }
}

fn planes_per_task(s: &ConvShape) -> usize {
    (TASK / s.pixels()).max(1)
}

/// y [batch, channels, out_height, out_width] = epilogue(x * weight).
pub(super) fn forward(x: &[f32], weight: &[f32], s: &ConvShape, epilogue: Option<Epilogue>) -> Vec<f32> {
    let layout = Layout::new(s);
    let per_task = planes_per_task(s);
    let mut y = vec![0.0; s.batch * s.channels * s.out_pixels()];
    let tasks = y.par_chunks_mut(per_task * s.out_pixels()).zip(x.par_chunks(per_task * s.pixels()));
    tasks.enumerate().for_each(|(task, (y, x))| {
        with_scratch(layout.len() + layout.out_len(), |scratch| {
            let (parts, out) = scratch.split_at_mut(layout.len());
            parts.fill(0.0);
            let mut taps = Vec::with_capacity(s.taps());
            for (plane, (y, x)) in y.chunks_exact_mut(s.out_pixels()).zip(x.chunks_exact(s.pixels())).enumerate() {
                let channel = (task * per_task + plane) % s.channels;
                let kernel = &weight[channel * s.taps()..][..s.taps()];
                taps.clear();
                taps.extend(kernel.iter().enumerate().map(|(tap, w)| (layout.offset(tap / s.kernel[1], tap % s.kernel[1]), *w)));
                pulp::Arch::new().dispatch(
                    #[inline(always)]
                    || {
                        layout.split(x, parts);
                        slide(parts, &taps, out);
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
    let mut dx = vec![0.0; s.batch * s.channels * s.pixels()];
    let tasks = dx.par_chunks_mut(per_task * s.pixels()).zip(dy.par_chunks(per_task * s.out_pixels()));
    tasks.enumerate().for_each(|(task, (dx, dy))| {
        let spread_len = lead + layout.out_len().max(layout.part_len());
        with_scratch(layout.len() + spread_len, |scratch| {
            let (parts, spread) = scratch.split_at_mut(layout.len());
            spread.fill(0.0);
            let mut taps = Vec::with_capacity(s.taps());
            for (plane, (dx, dy)) in dx.chunks_exact_mut(s.pixels()).zip(dy.chunks_exact(s.out_pixels())).enumerate() {
                let channel = (task * per_task + plane) % s.channels;
                let kernel = &weight[channel * s.taps()..][..s.taps()];
                let factor = scale.map_or(1.0, |scale| scale[channel]);
                layout.spread(dy, &mut spread[lead..lead + layout.out_len()]);
                for part in 0..s.stride * s.stride {
                    let (i, j) = (part / s.stride, part % s.stride);
                    taps.clear();
                    for i in (i..s.kernel[0]).step_by(s.stride) {
                        for j in (j..s.kernel[1]).step_by(s.stride) {
                            taps.push((lead - layout.offset_in_part(i, j), factor * kernel[i * s.kernel[1] + j]));
                        }
                    }
                    let to = &mut parts[part * layout.part_len()..][..layout.part_len()];
                    pulp::Arch::new().dispatch(
                        #[inline(always)]
                        || slide(spread, &taps, to),
                    );
                }
                layout.join(parts, dx);
            }
        });
    });
    dx
}

/// The gradient of the weight [channels, 1, kh, kw], summed over the batch in a fixed order.
pub(super) fn weight_gradient(x: &[f32], dy: &[f32], s: &ConvShape) -> Vec<f32> {
    let layout = Layout::new(s);
    let mut dw = vec![0.0; s.channels * s.taps()];
    dw.par_chunks_mut(s.taps()).enumerate().for_each(|(channel, dw)| {
        with_scratch(layout.len() + layout.out_len(), |scratch| {
            let (parts, spread) = scratch.split_at_mut(layout.len());
            parts.fill(0.0);
            let mut sums = vec![0.0f64; s.taps()];
            for n in 0..s.batch {
                let plane = n * s.channels + channel;
                layout.split(&x[plane * s.pixels()..][..s.pixels()], parts);
                layout.spread(&dy[plane * s.out_pixels()..][..s.out_pixels()], spread);
                for (i, sums) in sums.chunks_exact_mut(s.kernel[1]).enumerate() {
                    let place = |j: usize| &parts[layout.offset(i, j)..][..spread.len()];
                    match sums {
                        [a, b, c] => add([a, b, c], products(spread, [place(0), place(1), place(2)])),
                        [a, b, c, d, e] => {
                            add([a, b, c, d, e], products(spread, [place(0), place(1), place(2), place(3), place(4)]));
                        }
                        _ => {
                            for (j, sum) in sums.iter_mut().enumerate() {
                                add([sum], products(spread, [place(j)]));
                            }
                        }
                    }
                }
            }
            dw.iter_mut().zip(sums).for_each(|(dw, sum)| *dw = sum as f32);
        });
    });
    dw
}

fn add<const N: usize>(sums: [&mut f64; N], values: [f32; N]) {
    for (sum, value) in sums.into_iter().zip(values) {
        *sum += f64::from(value);
    }
}

/// The inner products of `a` with each of `others`, all of one length.
fn products<const N: usize>(a: &[f32], others: [&[f32]; N]) -> [f32; N] {
    const LANES: usize = 32;
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut sums = [[0.0f32; LANES]; N];
            let whole = a.len() / LANES * LANES;
            for start in (0..whole).step_by(LANES) {
                let a = &a[start..start + LANES];
                for (sums, other) in sums.iter_mut().zip(&others) {
                    let other = &other[start..start + LANES];
                    for lane in 0..LANES {
                        sums[lane] += a[lane] * other[lane];
                    }
                }
            }
            std::array::from_fn(|which| {
                let rest: f32 = a[whole..].iter().zip(&others[which][whole..]).map(|(a, b)| a * b).sum();
                sums[which].iter().sum::<f32>() + rest
            })
        },
    )
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
