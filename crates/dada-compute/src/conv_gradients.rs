//! The gradients of a convolution on float32 slices.
//!
//! Depthwise and pointwise convolutions are bound by memory: they look at each map of the batch once, and all three gradients are made of it
//! while it is in the cache. Others take one pass for each gradient.

use std::borrow::Cow;
use std::ops::Range;

use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::activation::{Activation, activation_gradient, masked};
use super::conv_loops::{PIECES, TILE, forward, images_at_once, multiply};
use super::flex::{Shared, values, with_scratch};
use super::gemm::{Matrix, Write, matmul, matmul_shared};
use super::im2col::{ConvShape, col2im, im2col, row_stride};
use super::planes::copy_row;
use super::{depthwise, lanes, winograd};

/// Weights up to this number are summed for parts of the batch, larger ones for parts of the channels.
const SMALL_WEIGHT: usize = 1 << 17;

/// A weight `[out_channels, channels / groups, kh, kw]`, each output channel times its scale where there is one.
#[derive(Clone, Copy)]
pub(super) struct Folded<'a> {
    pub weight: &'a [f32],
    pub scale: Option<&'a [f32]>,
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

/// All gradients; that of x only with `of_x`.
pub(super) fn gradients(
    x: &[f32],
    folded: Folded,
    dy: FlexTensor,
    y: Option<(FlexTensor, Activation)>,
    s: &ConvShape,
    of_x: bool,
) -> Gradients {
    let dy = dy.to_contiguous();
    if depthwise::applies(s) || pointwise_applies(s) {
        let y = y.as_ref().map(|(y, activation)| (values(y), *activation));
        let incoming = Incoming { dy: values(&dy), y };
        return match depthwise::applies(s) {
            true => depthwise::gradients(x, folded, incoming, s, of_x),
            false => pointwise_gradients(x, folded, incoming, s, of_x),
        };
    }
    let dz = match y {
        Some((y, activation)) => activation_gradient(dy, values(&y), activation),
        None => dy,
    };
    let dz = values(&dz);
    Gradients {
        x: of_x.then(|| data_gradient(dz, folded, s)),
        weight: weight_gradient(x, dz, s),
        shift: if folded.scale.is_some() { channel_sums(dz, s) } else { Vec::new() },
    }
}

/// Whether partial sums of the weight's gradient are small enough for every part of the batch to have its own.
fn pointwise_applies(s: &ConvShape) -> bool {
    s.is_pointwise() && s.groups == 1 && s.channels * s.out_channels <= SMALL_WEIGHT
}

/// The gradients of a pointwise convolution, a few images or a part of one at a time.
fn pointwise_gradients(x: &[f32], folded: Folded, incoming: Incoming, s: &ConvShape, of_x: bool) -> Gradients {
    let (pixels, inputs, outputs) = (s.pixels(), s.channels, s.out_channels);
    let (images, weight) = (images_at_once(s), &scaled_weight(folded, s));
    let band = if images > 1 { pixels } else { TILE.min(pixels) };
    let stride = row_stride(images * band);
    let mut dx = vec![0.0; if of_x { x.len() } else { 0 }];
    let shared_dx = Shared::new(&mut dx);
    // The batch is cut into a fixed number of parts, each with its own sums.
    let per_part = s.batch.div_ceil(PIECES).next_multiple_of(images);
    let part = |part: usize| {
        let (mut dw, mut shift) = (vec![0.0; outputs * inputs], vec![0.0f64; outputs]);
        with_scratch((inputs + outputs) * stride, |scratch| {
            let (columns, dz) = scratch.split_at_mut(inputs * stride);
            let all = part * per_part..((part + 1) * per_part).min(s.batch);
            for first in all.clone().step_by(images) {
                let images = first..(first + images).min(all.end);
                for start in (0..pixels).step_by(band) {
                    let wanted = start..(start + band).min(pixels);
                    let width = images.len() * wanted.len();
                    lanes::vectorised(
                        #[inline(always)]
                        || {
                            for (channel, (line, shift)) in dz.chunks_exact_mut(stride).zip(&mut shift).enumerate() {
                                for (n, to) in images.clone().zip(line.chunks_exact_mut(wanted.len())) {
                                    incoming.copy((n * outputs + channel) * pixels + wanted.start, to);
                                }
                                *shift += f64::from(lanes::inlined_sum(&line[..width]));
                            }
                            for (channel, line) in columns.chunks_exact_mut(stride).enumerate() {
                                for (n, to) in images.clone().zip(line.chunks_exact_mut(wanted.len())) {
                                    copy_row(&x[(n * inputs + channel) * pixels..][wanted.clone()], to);
                                }
                            }
                        },
                    );
                    let right = Matrix::rows(columns, stride).transposed();
                    matmul([outputs, width, inputs], &mut dw, inputs, Matrix::rows(dz, stride), right, Write::Add);
                    if !of_x {
                        continue;
                    }
                    let left = Matrix::rows(weight, inputs).transposed();
                    matmul([inputs, outputs, width], columns, stride, left, Matrix::rows(dz, stride), Write::Replace);
                    for (channel, line) in columns.chunks_exact(stride).enumerate() {
                        for (n, from) in images.clone().zip(line.chunks_exact(wanted.len())) {
                            // SAFETY: an image belongs to one part of the batch, and parts to one task each.
                            let to = unsafe { shared_dx.slice((n * inputs + channel) * pixels + wanted.start, wanted.len()) };
                            copy_row(from, to);
                        }
                    }
                }
            }
        });
        (dw, shift)
    };
    let parts: Vec<_> = (0..s.batch.div_ceil(per_part.max(1))).into_par_iter().map(part).collect();
    let (mut dw, mut shift) = (vec![0.0; outputs * inputs], vec![0.0; outputs]);
    for (of_weight, of_shift) in parts {
        lanes::update(&mut dw, &of_weight, |sum, value| sum + value);
        shift.iter_mut().zip(of_shift).for_each(|(sum, value)| *sum += value);
    }
    Gradients { x: of_x.then_some(dx), weight: dw, shift: shift.into_iter().map(|sum| sum as f32).collect() }
}

/// Each output channel's sum over the batch and its map.
fn channel_sums(dz: &[f32], s: &ConvShape) -> Vec<f32> {
    let mut sums = vec![0.0; s.out_channels];
    for image in dz.chunks_exact(s.out_channels * s.out_pixels()) {
        for (sum, map) in sums.iter_mut().zip(image.chunks_exact(s.out_pixels())) {
            *sum += f64::from(lanes::sum(map));
        }
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}

/// The gradient of x from the gradient of x * (weight * scale).
fn data_gradient(dy: &[f32], folded: Folded, s: &ConvShape) -> Vec<f32> {
    let [top, bottom, left, right] = s.padding;
    let [rows, columns] = s.kernel;
    if s.stride == 1 && top.max(bottom) < rows && left.max(right) < columns {
        // A convolution of the gradient with the kernel turned around and its channels exchanged.
        let turned = ConvShape {
            channels: s.out_channels,
            height: s.out_height(),
            width: s.out_width(),
            out_channels: s.channels,
            padding: [rows - 1 - top, rows - 1 - bottom, columns - 1 - left, columns - 1 - right],
            ..*s
        };
        if s.taps() == 1 && s.groups == 1 {
            return multiply(dy, Matrix::rows(&scaled_weight(folded, s), s.channels).transposed(), &turned, None);
        }
        return forward(dy, &turned_weight(folded, s), &turned, None);
    }
    let weight = &scaled_weight(folded, s);
    let mut dx = vec![0.0; s.batch * s.channels * s.pixels()];
    let (pixels, k) = (s.out_pixels(), s.group_channels() * s.taps());
    let images = images_at_once(s).min(s.batch.div_ceil(4));
    let dx_chunks = dx.par_chunks_mut(images * s.channels * s.pixels());
    dx_chunks.zip(dy.par_chunks(images * s.out_channels * pixels)).for_each(|(dx, dy)| {
        let images = dy.len() / (s.out_channels * pixels);
        let width = images * pixels;
        with_scratch((k + s.group_out_channels()) * row_stride(width), |scratch| {
            let (columns, gathered) = scratch.split_at_mut(k * row_stride(width));
            for g in 0..s.groups {
                let outs = g * s.group_out_channels()..(g + 1) * s.group_out_channels();
                let right = side_by_side(dy, s.out_channels, pixels, outs.clone(), gathered);
                let left = Matrix::rows(&weight[outs.start * k..], k).transposed();
                matmul([k, s.group_out_channels(), width], columns, row_stride(width), left, right, Write::Replace);
                col2im(columns, s, g * s.group_channels()..(g + 1) * s.group_channels(), dx);
            }
        });
    });
    dx
}

/// Each row of the weight matrix times its output channel's scale.
fn scaled_weight<'a>(Folded { weight, scale }: Folded<'a>, s: &ConvShape) -> Cow<'a, [f32]> {
    let Some(scale) = scale else { return Cow::Borrowed(weight) };
    let row = s.group_channels() * s.taps();
    let mut scaled = vec![0.0; weight.len()];
    scaled.par_chunks_mut(row).zip(weight.par_chunks(row)).zip(scale).for_each(|((scaled, weight), scale)| {
        lanes::map(weight, scaled, |w| w * scale);
    });
    Cow::Owned(scaled)
}

/// weight `[out, in / groups, kh, kw]` as `[in, out / groups, kh, kw]` with the taps in reverse, each times its output channel's scale.
fn turned_weight(Folded { weight, scale }: Folded, s: &ConvShape) -> Vec<f32> {
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

/// The maps of `channels` of several images as one matrix [channels, images * pixels]: a view for one image, else a copy in `buffer`.
fn side_by_side<'a>(maps: &'a [f32], channels: usize, pixels: usize, wanted: Range<usize>, buffer: &'a mut [f32]) -> Matrix<'a> {
    let images = maps.len() / (channels * pixels);
    if images == 1 {
        return Matrix::rows(&maps[wanted.start * pixels..wanted.end * pixels], pixels);
    }
    copy_columns(maps, channels, pixels, wanted, 0..pixels, buffer);
    Matrix::rows(buffer, row_stride(images * pixels))
}

/// `pixels` of the maps of `wanted` channels, the images side by side, in rows that begin [`row_stride`] apart.
fn copy_columns(maps: &[f32], channels: usize, map: usize, wanted: Range<usize>, pixels: Range<usize>, buffer: &mut [f32]) {
    let width = maps.len() / (channels * map) * pixels.len();
    for (line, channel) in buffer.chunks_exact_mut(row_stride(width)).zip(wanted) {
        for (n, to) in line[..width].chunks_exact_mut(pixels.len()).enumerate() {
            to.copy_from_slice(&maps[(n * channels + channel) * map..][pixels.clone()]);
        }
    }
}

/// The gradient of the weight `[out_channels, channels / groups, kh, kw]`, summed over the batch in a fixed order.
fn weight_gradient(x: &[f32], dy: &[f32], s: &ConvShape) -> Vec<f32> {
    if winograd::applies(s) {
        return winograd::weight_gradient(x, dy, s);
    }
    let k = s.group_channels() * s.taps();
    let mut dw = vec![0.0; s.out_channels * k];
    let pieces = if s.groups > 1 || dw.len() <= SMALL_WEIGHT { 1 } else { PIECES.min(s.group_channels() / 8).max(1) };
    if pieces >= 2 {
        let per_piece = s.channels.div_ceil(pieces);
        let out = Shared::new(&mut dw);
        (0..pieces).into_par_iter().for_each(|piece| {
            let channels = (piece * per_piece).min(s.channels)..((piece + 1) * per_piece).min(s.channels);
            // SAFETY: pieces hold disjoint channels, hence disjoint columns of the weight matrix.
            unsafe { add_weight_gradient(x, dy, s, 0, channels, &out) };
        });
        return dw;
    }
    // Few weights: the batch is cut into a fixed number of parts, each with its own sum.
    let per_part = s.batch.div_ceil(PIECES);
    let parts: Vec<Vec<f32>> = (x.par_chunks(per_part * s.channels * s.pixels()))
        .zip(dy.par_chunks(per_part * s.out_channels * s.out_pixels()))
        .map(|(x, dy)| {
            let mut part = vec![0.0; s.out_channels * k];
            let out = Shared::new(&mut part);
            for g in 0..s.groups {
                // SAFETY: `part` belongs to this task alone.
                unsafe { add_weight_gradient(x, dy, s, g, g * s.group_channels()..(g + 1) * s.group_channels(), &out) };
            }
            part
        })
        .collect();
    for part in parts {
        lanes::update(&mut dw, &part, |sum, value| sum + value);
    }
    dw
}

/// Adds the part of the weight gradient that belongs to `channels`, all in group `g`.
///
/// # Safety
/// Nobody else uses these columns of `out` during the call.
unsafe fn add_weight_gradient(x: &[f32], dy: &[f32], s: &ConvShape, g: usize, channels: Range<usize>, out: &Shared) {
    if channels.is_empty() {
        return;
    }
    let (pixels, out_pixels, out_width) = (s.pixels(), s.out_pixels(), s.out_width());
    let (k, rows) = (s.group_channels() * s.taps(), channels.len() * s.taps());
    let images = images_at_once(s);
    let outs = g * s.group_out_channels()..(g + 1) * s.group_out_channels();
    let band = if images > 1 { s.out_height() } else { TILE.div_ceil(out_width).min(s.out_height()) };
    let start = outs.start * k + (channels.start - g * s.group_channels()) * s.taps();
    let stride = row_stride(images * band * out_width);
    with_scratch((rows + outs.len()) * stride, |scratch| {
        let (columns, gathered) = scratch.split_at_mut(rows * stride);
        for (x, dy) in x.chunks(images * s.channels * pixels).zip(dy.chunks(images * s.out_channels * out_pixels)) {
            let images = x.len() / (s.channels * pixels);
            let dy = side_by_side(dy, s.out_channels, out_pixels, outs.clone(), gathered);
            for first in (0..s.out_height()).step_by(band) {
                let lines = first..(first + band).min(s.out_height());
                let width = images * lines.len() * out_width;
                let columns = &mut columns[..rows * row_stride(width)];
                if s.is_pointwise() {
                    copy_columns(x, s.channels, pixels, channels.clone(), first * out_width..lines.end * out_width, columns);
                } else {
                    im2col(x, s, channels.clone(), lines, columns);
                }
                let (left, right) = (dy.from(0, first * out_width), Matrix::rows(columns, row_stride(width)).transposed());
                // SAFETY: these rows and columns of `out` are this call's, by its own contract.
                unsafe { matmul_shared([outs.len(), width, rows], out, start, k, left, right, Write::Add) };
            }
        }
    });
}
