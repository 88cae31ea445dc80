//! One map laid out for sliding windows: padded, and split by its rows' and columns' position within a stride.
//!
//! With stride s, the value at padded row i and column j goes to part (i mod s, j mod s), row i / s, column j / s. Under a window's tap
//! (i, j), the inputs of consecutive output columns then lie side by side, and rows of all parts and of the output have one common
//! pitch, so that a whole map is one long vector: output t takes tap (i, j) from place `offset(i, j) + t`. Between the rows of the
//! output lie a few meaningless values.

use super::conv::ConvShape;
use super::lanes::copy_row;

/// Lengths are multiples of this.
pub(super) const BLOCK: usize = 16;

/// Where the parts of a map lie.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    stride: usize,
    /// Values from one row to the next.
    pitch: usize,
    part: usize,
    width: usize,
    top: usize,
    left: usize,
    pub out_height: usize,
    pub out_width: usize,
    slack: usize,
}

impl Layout {
    pub(super) fn new(s: &ConvShape) -> Self {
        let pitch = (s.width + s.padding[2] + s.padding[3]).div_ceil(s.stride);
        let rows = (s.height + s.padding[0] + s.padding[1]).div_ceil(s.stride);
        Self {
            stride: s.stride,
            pitch,
            part: (rows * pitch).next_multiple_of(BLOCK),
            width: s.width,
            top: s.padding[0],
            left: s.padding[2],
            out_height: s.out_height(),
            out_width: s.out_width(),
            slack: s.kernel[0] / s.stride * pitch + s.kernel[1] + BLOCK,
        }
    }

    /// Values of all parts, and of what reading past the last row may touch.
    pub(super) fn len(&self) -> usize {
        self.stride * self.stride * self.part + self.slack
    }

    /// Values of an output map whose rows have the common pitch, rounded up to whole blocks.
    pub(super) fn out_len(&self) -> usize {
        (self.out_height * self.pitch).next_multiple_of(BLOCK)
    }

    /// The first place of tap (i, j).
    pub(super) fn offset(&self, i: usize, j: usize) -> usize {
        (i % self.stride * self.stride + j % self.stride) * self.part + self.offset_in_part(i, j)
    }

    /// The same from the beginning of its part.
    pub(super) fn offset_in_part(&self, i: usize, j: usize) -> usize {
        i / self.stride * self.pitch + j / self.stride
    }

    /// Values of one part, a number of whole blocks.
    pub(super) fn part_len(&self) -> usize {
        self.part
    }

    /// The parts of `plane` `[height, width]`; `to` holds `len()` values, which already are the padding.
    #[inline(always)]
    pub(super) fn split(&self, plane: &[f32], to: &mut [f32]) {
        for (i, row) in plane.chunks_exact(self.width).enumerate() {
            for phase in 0..self.stride {
                let (first, start) = self.row(i, phase);
                match self.stride {
                    1 => copy_row(row, &mut to[start..start + self.width]),
                    2 => {
                        let (pairs, last) = row.get(first..).unwrap_or_default().as_chunks::<2>();
                        let (to, after) = to[start..].split_at_mut(pairs.len());
                        to.iter_mut().zip(pairs).for_each(|(to, pair)| *to = pair[0]);
                        after.iter_mut().zip(last).for_each(|(to, last)| *to = *last);
                    }
                    stride => {
                        let values = row.get(first..).unwrap_or_default().iter().step_by(stride);
                        to[start..].iter_mut().zip(values).for_each(|(to, value)| *to = *value);
                    }
                }
            }
        }
    }

    /// The inverse of [`Layout::split`].
    #[inline(always)]
    pub(super) fn join(&self, from: &[f32], plane: &mut [f32]) {
        for (i, row) in plane.chunks_exact_mut(self.width).enumerate() {
            for phase in 0..self.stride {
                let (first, start) = self.row(i, phase);
                match self.stride {
                    1 => copy_row(&from[start..start + self.width], row),
                    2 => {
                        let (pairs, last) = row.get_mut(first..).unwrap_or_default().as_chunks_mut::<2>();
                        let (from, after) = from[start..].split_at(pairs.len());
                        pairs.iter_mut().zip(from).for_each(|(pair, from)| pair[0] = *from);
                        last.iter_mut().zip(after).for_each(|(last, from)| *last = *from);
                    }
                    stride => {
                        let values = row.get_mut(first..).unwrap_or_default().iter_mut().step_by(stride);
                        values.zip(&from[start..]).for_each(|(to, from)| *to = *from);
                    }
                }
            }
        }
    }

    /// Of row i: the first column that falls into column phase (left + first) mod stride, and its place.
    fn row(&self, i: usize, first: usize) -> (usize, usize) {
        (first, self.offset(i + self.top, first + self.left))
    }

    /// `out` `[out_height, out_width]` with the common pitch; the values between the rows of `to` become zero, those after the last are
    /// left.
    #[inline(always)]
    pub(super) fn spread(&self, out: &[f32], to: &mut [f32]) {
        for (to, from) in to.chunks_mut(self.pitch).zip(out.chunks_exact(self.out_width)) {
            copy_row(from, &mut to[..self.out_width]);
            to[self.out_width..].fill(0.0);
        }
    }

    /// The inverse of [`Layout::spread`].
    #[inline(always)]
    pub(super) fn gather(&self, from: &[f32], out: &mut [f32]) {
        for (out, from) in out.chunks_exact_mut(self.out_width).zip(from.chunks(self.pitch)) {
            copy_row(&from[..self.out_width], out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_tap_of_every_output_lies_where_the_layout_says(
            (height, width) in (1usize..9, 1usize..9), kernel in prop::array::uniform2(1usize..6),
            stride in 1usize..4, padding in prop::array::uniform4(0usize..4),
        ) {
            prop_assume!(height + padding[0] + padding[1] >= kernel[0] && width + padding[2] + padding[3] >= kernel[1]);
            let s = ConvShape { batch: 1, channels: 1, height, width, out_channels: 1, kernel, stride, padding, groups: 1 };
            let layout = Layout::new(&s);
            let plane: Vec<f32> = (0..height * width).map(|i| 1.0 + i as f32).collect();
            let mut parts = vec![0.0; layout.len()];
            layout.split(&plane, &mut parts);
            let mut back = vec![0.0; plane.len()];
            layout.join(&parts, &mut back);
            prop_assert_eq!(&back, &plane);
            for r in 0..layout.out_height {
                for q in 0..layout.out_width {
                    for i in 0..kernel[0] {
                        for j in 0..kernel[1] {
                            let (y, x) = ((r * stride + i).wrapping_sub(padding[0]), (q * stride + j).wrapping_sub(padding[2]));
                            let expected = if y < height && x < width { plane[y * width + x] } else { 0.0 };
                            prop_assert_eq!(parts[layout.offset(i, j) + r * layout.pitch + q], expected);
                        }
                    }
                }
            }
            prop_assert!(layout.offset(kernel[0] - 1, kernel[1] - 1) + layout.out_len() <= layout.len());
        }
    }
}
