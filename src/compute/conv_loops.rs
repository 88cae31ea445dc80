//! Convolution on float32 slices: forward, data gradient and weight gradient through matrix products.
//!
//! Images whose maps are small are taken several at a time, so that each product has enough columns.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::activation::{Activation, clamp};
use super::depthwise;
use super::flex::{Shared, with_scratch};
use super::gemm::{Matrix, Write, matmul, matmul_shared};
use super::im2col::{ConvShape, col2im, im2col, row_stride};
use super::lanes::{self, vectorised};
use super::winograd;

/// Columns of one product: enough to pay for packing the weights, few enough for the column matrix to stay in the cache.
const TILE: usize = 512;
/// Independent pieces of work to aim at, whatever the number of threads.
const PIECES: usize = 8;
/// Weights up to this number are summed for parts of the batch, larger ones for parts of the channels.
const SMALL_WEIGHT: usize = 1 << 17;
/// Products smaller than this (in multiplications) are not worth a second thread.
const SMALL: usize = 1 << 18;

/// What happens to an output value before it is stored: activation(scale`[channel]` * value + shift`[channel]`).
#[derive(Clone, Copy)]
pub(super) struct Epilogue<'a> {
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    pub activation: Activation,
}

impl Epilogue<'_> {
    pub(super) fn apply(&self, channel: usize, values: &mut [f32]) {
        let (scale, shift, bounds) = (self.scale[channel], self.shift[channel], self.activation.bounds());
        vectorised(
            #[inline(always)]
            || {
                for value in values.iter_mut() {
                    *value = clamp(scale * *value + shift, bounds);
                }
            },
        );
    }
}

/// Images taken together.
fn images_at_once(s: &ConvShape) -> usize {
    let wanted = TILE.div_ceil(s.out_pixels());
    if s.out_pixels() >= TILE / 4 { 1 } else { wanted.min(s.batch) }
}

/// y `[batch, out_channels, out_height, out_width]` = epilogue(x * weight).
pub(super) fn forward(x: &[f32], weight: &[f32], s: &ConvShape, epilogue: Option<Epilogue>) -> Vec<f32> {
    if depthwise::applies(s) {
        return depthwise::forward(x, weight, s, epilogue);
    }
    if winograd::applies(s) {
        return winograd::forward(x, weight, s, epilogue);
    }
    multiply(x, Matrix::rows(weight, s.group_channels() * s.taps()), s, epilogue)
}

/// The same through matrix products; a row of `weight` belongs to an output channel, a column to a row of the column matrix.
fn multiply(x: &[f32], weight: Matrix, s: &ConvShape, epilogue: Option<Epilogue>) -> Vec<f32> {
    let mut y = vec![0.0; s.batch * s.out_channels * s.out_pixels()];
    let images = images_at_once(s);
    let (x_len, y_len) = (images * s.channels * s.pixels(), images * s.out_channels * s.out_pixels());
    if y.is_empty() {
        return y;
    }
    let group = |y: &mut [f32], x: &[f32], pieces: usize| {
        if y.len() == s.out_channels * s.out_pixels() {
            forward_image(x, weight, s, epilogue, y, pieces);
        } else {
            forward_images(x, weight, s, epilogue, y, pieces);
        }
    };
    if s.batch.div_ceil(images) >= 4 {
        y.par_chunks_mut(y_len).zip(x.par_chunks(x_len)).for_each(|(y, x)| group(y, x, 1));
    } else {
        y.chunks_mut(y_len).zip(x.chunks(x_len)).for_each(|(y, x)| group(y, x, PIECES));
    }
    y
}

/// Rows of a matrix for each of `pieces` tasks.
fn rows_per_piece(rows: usize, pieces: usize, work_per_row: usize) -> usize {
    if rows * work_per_row < SMALL { rows } else { rows.div_ceil(pieces).next_multiple_of(8).min(rows) }
}

/// Fills `columns` for `channels`, on several threads when `pieces` > 1.
fn fill_columns(x: &[f32], s: &ConvShape, channels: Range<usize>, rows: Range<usize>, columns: &mut [f32], pieces: usize) {
    if pieces == 1 {
        return im2col(x, s, channels, rows, columns);
    }
    let per_piece = channels.len().div_ceil(pieces);
    let row = columns.len() / channels.len();
    columns.par_chunks_mut(per_piece * row).enumerate().for_each(|(piece, columns)| {
        let first = channels.start + piece * per_piece;
        im2col(x, s, first..(first + per_piece).min(channels.end), rows.clone(), columns);
    });
}

/// One image, its map cut into bands of rows.
fn forward_image(x: &[f32], weight: Matrix, s: &ConvShape, epilogue: Option<Epilogue>, y: &mut [f32], pieces: usize) {
    let (pixels, out_width, k) = (s.out_pixels(), s.out_width(), s.group_channels() * s.taps());
    let band = if s.is_pointwise() { s.out_height() } else { TILE.div_ceil(out_width).min(s.out_height()) };
    let bands = s.out_height().div_ceil(band);
    // On several threads, all bands share one column matrix if that is not too large; otherwise they follow one another.
    let band = if pieces > 1 && bands > 1 && k * pixels <= 1 << 22 { s.out_height() } else { band };
    with_scratch(if s.is_pointwise() { 0 } else { k * row_stride(band * out_width) }, |columns| {
        for first in (0..s.out_height()).step_by(band) {
            let rows = first..(first + band).min(s.out_height());
            let (start, width) = (first * out_width, rows.len() * out_width);
            for (g, y) in y.chunks_exact_mut(s.group_out_channels() * pixels).enumerate() {
                let channels = g * s.group_channels()..(g + 1) * s.group_channels();
                let right = if s.is_pointwise() {
                    Matrix::rows(&x[channels.start * pixels..], pixels)
                } else {
                    let columns = &mut columns[..k * row_stride(width)];
                    fill_columns(x, s, channels, rows.clone(), columns, pieces);
                    Matrix::rows(columns, row_stride(width))
                };
                let per_piece = rows_per_piece(s.group_out_channels(), pieces, k * width);
                let block = |(piece, y): (usize, &mut [f32])| {
                    let first = g * s.group_out_channels() + piece * per_piece;
                    matmul([y.len() / pixels, k, width], &mut y[start..], pixels, weight.from(first, 0), right, Write::Replace);
                    if let Some(epilogue) = epilogue {
                        y.chunks_exact_mut(pixels).enumerate().for_each(|(o, y)| epilogue.apply(first + o, &mut y[start..start + width]));
                    }
                };
                if per_piece == s.group_out_channels() {
                    block((0, y));
                } else {
                    y.par_chunks_mut(per_piece * pixels).enumerate().for_each(block);
                }
            }
        }
    });
}

/// Several images with small maps: their columns side by side, the product then sorted back into images.
fn forward_images(x: &[f32], weight: Matrix, s: &ConvShape, epilogue: Option<Epilogue>, y: &mut [f32], pieces: usize) {
    let (pixels, k) = (s.out_pixels(), s.group_channels() * s.taps());
    let images = y.len() / (s.out_channels * pixels);
    let width = images * pixels;
    with_scratch(k * row_stride(width) + s.out_channels * width, |scratch| {
        let (columns, out) = scratch.split_at_mut(k * row_stride(width));
        for (g, out) in out.chunks_exact_mut(s.group_out_channels() * width).enumerate() {
            fill_columns(x, s, g * s.group_channels()..(g + 1) * s.group_channels(), 0..s.out_height(), columns, pieces);
            let right = Matrix::rows(columns, row_stride(width));
            let per_piece = rows_per_piece(s.group_out_channels(), pieces, k * width);
            let block = |(piece, out): (usize, &mut [f32])| {
                let first = g * s.group_out_channels() + piece * per_piece;
                matmul([out.len() / width, k, width], out, width, weight.from(first, 0), right, Write::Replace);
                if let Some(epilogue) = epilogue {
                    out.chunks_exact_mut(width).enumerate().for_each(|(o, out)| epilogue.apply(first + o, out));
                }
            };
            if per_piece == s.group_out_channels() {
                block((0, out));
            } else {
                out.par_chunks_mut(per_piece * width).enumerate().for_each(block);
            }
        }
        for (n, y) in y.chunks_exact_mut(s.out_channels * pixels).enumerate() {
            for (o, y) in y.chunks_exact_mut(pixels).enumerate() {
                y.copy_from_slice(&out[o * width + n * pixels..][..pixels]);
            }
        }
    });
}

/// The gradient of x from the gradient of x * (weight * scale).
pub(super) fn data_gradient(dy: &[f32], weight: &[f32], scale: Option<&[f32]>, s: &ConvShape) -> Vec<f32> {
    if depthwise::applies(s) {
        return depthwise::data_gradient(dy, weight, scale, s);
    }
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
            return multiply(dy, Matrix::rows(&scaled_weight(weight, scale, s), s.channels).transposed(), &turned, None);
        }
        return forward(dy, &turned_weight(weight, scale, s), &turned, None);
    }
    let weight = &scaled_weight(weight, scale, s);
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
fn scaled_weight<'a>(weight: &'a [f32], scale: Option<&[f32]>, s: &ConvShape) -> Cow<'a, [f32]> {
    let Some(scale) = scale else { return Cow::Borrowed(weight) };
    let row = s.group_channels() * s.taps();
    let mut scaled = vec![0.0; weight.len()];
    scaled.par_chunks_mut(row).zip(weight.par_chunks(row)).zip(scale).for_each(|((scaled, weight), scale)| {
        lanes::map(weight, scaled, |w| w * scale);
    });
    Cow::Owned(scaled)
}

/// weight `[out, in / groups, kh, kw]` as `[in, out / groups, kh, kw]` with the taps in reverse, each times its output channel's scale.
fn turned_weight(weight: &[f32], scale: Option<&[f32]>, s: &ConvShape) -> Vec<f32> {
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
pub(super) fn weight_gradient(x: &[f32], dy: &[f32], s: &ConvShape) -> Vec<f32> {
    if depthwise::applies(s) {
        return depthwise::weight_gradient(x, dy, s);
    }
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
        dw.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
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
