//! The gradients of a convolution through matrix products, one pass over the maps for each.

use std::ops::Range;

use rayon::prelude::*;

use super::im2col::{col2im, im2col, row_stride};
use super::operands::Folded;
use super::products::{PIECES, TILE, images_at_once};
use super::shape::ConvShape;
use crate::flex::{Shared, with_scratch};
use crate::gemm::{Matrix, Write, matmul, matmul_shared};
use crate::lanes;

/// Weights up to this number are summed for parts of the batch, larger ones for parts of the channels.
pub(super) const SMALL_WEIGHT: usize = 1 << 17;

/// The gradient of x from the gradient of x * (weight * scale).
pub(super) fn by_x(dy: &[f32], folded: Folded, s: &ConvShape) -> Vec<f32> {
    let weight = &folded.scaled(s);
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
pub(super) fn by_weight(x: &[f32], dy: &[f32], s: &ConvShape) -> Vec<f32> {
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
