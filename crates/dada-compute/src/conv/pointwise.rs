//! The gradients of a pointwise convolution with few weights, all three made of a part of a map while it is in the cache.

use rayon::prelude::*;

use super::im2col::row_stride;
use super::operands::{Folded, Gradients, Incoming};
use super::product_gradients::SMALL_WEIGHT;
use super::products::{PIECES, TILE, images_at_once};
use super::shape::ConvShape;
use crate::flex::{Shared, with_scratch};
use crate::gemm::{Matrix, Write, matmul};
use crate::lanes::{self, copy_row};

/// Whether partial sums of the weight's gradient are small enough for every part of the batch to have its own.
pub(super) fn applies(s: &ConvShape) -> bool {
    s.is_pointwise() && s.groups == 1 && s.channels * s.out_channels <= SMALL_WEIGHT
}

/// The gradients of a pointwise convolution, a few images or a part of one at a time.
pub(super) fn gradients(x: &[f32], folded: Folded, incoming: Incoming, s: &ConvShape, of_x: bool) -> Gradients {
    let (pixels, inputs, outputs) = (s.pixels(), s.channels, s.out_channels);
    let (images, weight) = (images_at_once(s), &folded.scaled(s));
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
