//! Convolution on float32 slices through matrix products.
//!
//! Images whose maps are small are taken several at a time, so that each product has enough columns.

use std::ops::Range;

use rayon::prelude::*;

use super::im2col::{im2col, row_stride};
use super::operands::Epilogue;
use super::shape::ConvShape;
use crate::flex::with_scratch;
use crate::gemm::{Matrix, Write, matmul};

/// Columns of one product: enough to pay for packing the weights, few enough for the column matrix to stay in the cache.
pub(super) const TILE: usize = 512;
/// Independent pieces of work to aim at, whatever the number of threads.
pub(super) const PIECES: usize = 8;
/// Products smaller than this (in multiplications) are not worth a second thread.
const SMALL: usize = 1 << 18;

/// Images taken together.
pub(super) fn images_at_once(s: &ConvShape) -> usize {
    let wanted = TILE.div_ceil(s.out_pixels());
    if s.out_pixels() >= TILE / 4 { 1 } else { wanted.min(s.batch) }
}

/// y `[batch, out_channels, out_height, out_width]` = epilogue(x * weight); a row of `weight` belongs to an output channel, a column to a row of the column matrix.
pub(super) fn forward(x: &[f32], weight: Matrix, s: &ConvShape, epilogue: Option<Epilogue>) -> Vec<f32> {
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
