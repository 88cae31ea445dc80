//! The column matrix of a convolution: one row for each (channel, kernel row, kernel column), one column for each output pixel.

use std::ops::Range;

use super::shape::ConvShape;

/// The output positions along one axis whose input position `position * stride + tap - padding` lies inside `0..size`.
fn inside(tap: usize, padding: usize, stride: usize, size: usize, out: usize) -> Range<usize> {
    let first = padding.saturating_sub(tap).div_ceil(stride).min(out);
    let last = if size + padding > tap { ((size + padding - tap - 1) / stride + 1).min(out) } else { 0 };
    first..last.max(first)
}

/// Values from one row of a matrix of `width` columns to the next: an odd number of cache lines, since columns would otherwise compete
/// for the same few cache sets.
pub(super) fn row_stride(width: usize) -> usize {
    (width.div_ceil(16) | 1) * 16
}

/// Maps with fewer pixels are looked up value by value.
const SMALL_MAP: usize = 64;

/// Fills `columns` [channels.len() * taps, images * rows.len() * out_width], whose rows begin [`row_stride`] apart, from whole images
/// (`x`, all channels of each).
///
/// `rows` are the output rows wanted; the images stand side by side in each row of `columns`.
pub(super) fn im2col(x: &[f32], s: &ConvShape, channels: Range<usize>, rows: Range<usize>, columns: &mut [f32]) {
    let (pixels, out_width) = (s.pixels(), s.out_width());
    let image = s.channels * pixels;
    let block = rows.len() * out_width;
    let images = x.len() / image;
    let stride = row_stride(images * block);
    if pixels < SMALL_MAP {
        return small_im2col(x, s, channels, rows, columns);
    }
    // With a stride, each map is first split into its columns' phases, so that every tap is a copy of consecutive values.
    let phase_width = s.width.div_ceil(s.stride);
    let mut phases = vec![0.0; if s.stride > 1 && s.taps() > 1 { s.stride * s.height * phase_width } else { 0 }];
    let first_row = (rows.start * s.stride).saturating_sub(s.padding[0]);
    let last_row = (rows.end.saturating_sub(1) * s.stride + s.kernel[0]).saturating_sub(s.padding[0]);
    for (c, lines) in columns.chunks_exact_mut(s.taps() * stride).take(channels.len()).enumerate() {
        for n in 0..images {
            let plane = &x[n * image + (channels.start + c) * pixels..][..pixels];
            if !phases.is_empty() {
                for (row, from) in plane.chunks_exact(s.width).enumerate().take(last_row).skip(first_row) {
                    for phase in 0..s.stride.min(s.width) {
                        let to = &mut phases[(phase * s.height + row) * phase_width..][..phase_width];
                        for (to, from) in to.iter_mut().zip(from[phase..].iter().step_by(s.stride)) {
                            *to = *from;
                        }
                    }
                }
            }
            for (tap, line) in lines.chunks_exact_mut(stride).enumerate() {
                let tap = [tap / s.kernel[1], tap % s.kernel[1]];
                let out = &mut line[n * block..][..block];
                if phases.is_empty() {
                    gather(plane, s, tap, rows.clone(), out);
                } else {
                    gather_phase(&phases, s, tap, rows.clone(), out);
                }
            }
        }
    }
}

/// The same for maps of a few pixels, where looking each value up is cheaper than finding the ends of rows.
fn small_im2col(x: &[f32], s: &ConvShape, channels: Range<usize>, rows: Range<usize>, columns: &mut [f32]) {
    let (pixels, out_width) = (s.pixels(), s.out_width());
    let image = s.channels * pixels;
    let block = rows.len() * out_width;
    let images = x.len() / image;
    // The source of each value; the padding's is a zero behind the map.
    let source = |at: usize| {
        let (tap, r, q) = (at / block, rows.start + at % block / out_width, at % out_width);
        let row = (r * s.stride + tap / s.kernel[1]).checked_sub(s.padding[0]).filter(|row| *row < s.height);
        let column = (q * s.stride + tap % s.kernel[1]).checked_sub(s.padding[2]).filter(|column| *column < s.width);
        row.zip(column).map_or(SMALL_MAP - 1, |(row, column)| row * s.width + column)
    };
    let sources: Vec<u8> = (0..s.taps() * block).map(|at| source(at) as u8).collect();
    let stride = row_stride(images * block);
    let mut map = [0.0; SMALL_MAP];
    for (c, lines) in columns.chunks_exact_mut(s.taps() * stride).take(channels.len()).enumerate() {
        for n in 0..images {
            map[..pixels].copy_from_slice(&x[n * image + (channels.start + c) * pixels..][..pixels]);
            for (line, sources) in lines.chunks_exact_mut(stride).zip(sources.chunks_exact(block)) {
                for (to, source) in line[n * block..][..block].iter_mut().zip(sources) {
                    *to = map[usize::from(*source) % SMALL_MAP];
                }
            }
        }
    }
}

/// One tap of one plane that is split into its columns' phases.
fn gather_phase(phases: &[f32], s: &ConvShape, [i, j]: [usize; 2], rows: Range<usize>, out: &mut [f32]) {
    let [top, _, left, _] = s.padding;
    let (out_width, phase_width) = (s.out_width(), s.width.div_ceil(s.stride));
    let valid_rows = inside(i, top, s.stride, s.height, s.out_height());
    let valid = inside(j, left, s.stride, s.width, out_width);
    for (r, row) in rows.zip(out.chunks_exact_mut(out_width)) {
        if !valid_rows.contains(&r) || valid.is_empty() {
            row.fill(0.0);
            continue;
        }
        let first = valid.start * s.stride + j - left;
        let (phase, skip) = (first % s.stride, first / s.stride);
        let source = &phases[(phase * s.height + r * s.stride + i - top) * phase_width + skip..][..valid.len()];
        row[..valid.start].fill(0.0);
        row[valid.end..].fill(0.0);
        row[valid.clone()].copy_from_slice(source);
    }
}

/// One tap of one plane: `out` [rows.len(), out_width].
fn gather(plane: &[f32], s: &ConvShape, [i, j]: [usize; 2], rows: Range<usize>, out: &mut [f32]) {
    let [top, _, left, _] = s.padding;
    let out_width = s.out_width();
    let valid_rows = inside(i, top, s.stride, s.height, s.out_height());
    let valid = inside(j, left, s.stride, s.width, out_width);
    let first = rows.start.max(valid_rows.start).min(rows.end);
    let last = rows.end.min(valid_rows.end).max(first);
    out[..(first - rows.start) * out_width].fill(0.0);
    out[(last - rows.start) * out_width..].fill(0.0);
    if first == last {
        return;
    }
    let out = &mut out[(first - rows.start) * out_width..(last - rows.start) * out_width];
    if valid.is_empty() {
        out.fill(0.0);
    } else if s.stride == 1 && out_width == s.width {
        // Rows of equal length: the whole map is one shifted copy, whose wrapped ends are then overwritten by zeros.
        let shift = (first + i - top) * s.width;
        let (from, skip) = if j >= left { (shift + j - left, 0) } else { (shift, left - j) };
        let len = (out.len() - skip).min(plane.len() - from);
        out[skip..skip + len].copy_from_slice(&plane[from..from + len]);
        for row in out.chunks_exact_mut(out_width) {
            row[..valid.start].fill(0.0);
            row[valid.end..].fill(0.0);
        }
    } else {
        for (r, row) in (first..last).zip(out.chunks_exact_mut(out_width)) {
            let source = &plane[(r * s.stride + i - top) * s.width..][..s.width];
            row[..valid.start].fill(0.0);
            row[valid.end..].fill(0.0);
            let source = &source[valid.start * s.stride + j - left..];
            if s.stride == 1 {
                row[valid.clone()].copy_from_slice(&source[..valid.len()]);
            } else {
                for (to, from) in row[valid.clone()].iter_mut().zip(source.iter().step_by(s.stride)) {
                    *to = *from;
                }
            }
        }
    }
}

/// The transpose of [`im2col`] on whole maps: adds each column value of `channels` to the pixel of `x` that it was taken from.
pub(super) fn col2im(columns: &[f32], s: &ConvShape, channels: Range<usize>, x: &mut [f32]) {
    let (pixels, out_width, block) = (s.pixels(), s.out_width(), s.out_pixels());
    let image = s.channels * pixels;
    let images = x.len() / image;
    let [top, _, left, _] = s.padding;
    let mut lines = columns.chunks_exact(row_stride(images * block));
    for channel in channels {
        for i in 0..s.kernel[0] {
            let valid_rows = inside(i, top, s.stride, s.height, s.out_height());
            for j in 0..s.kernel[1] {
                let valid = inside(j, left, s.stride, s.width, out_width);
                let line = lines.next().expect("the caller sized `columns` for these channels");
                if valid.is_empty() {
                    continue;
                }
                for (n, block) in line[..images * block].chunks_exact(block).enumerate() {
                    let plane = &mut x[n * image + channel * pixels..][..pixels];
                    for r in valid_rows.clone() {
                        let from = &block[r * out_width..][valid.clone()];
                        let to = &mut plane[(r * s.stride + i - top) * s.width..][..s.width][valid.start * s.stride + j - left..];
                        for (to, from) in to.iter_mut().step_by(s.stride).zip(from) {
                            *to += from;
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn element(x: &[f32], s: &ConvShape, n: usize, c: usize, [i, j]: [usize; 2], [r, q]: [usize; 2]) -> f32 {
        let (y, z) = (r * s.stride + i, q * s.stride + j);
        if y < s.padding[0] || z < s.padding[2] || y - s.padding[0] >= s.height || z - s.padding[2] >= s.width {
            return 0.0;
        }
        x[((n * s.channels + c) * s.height + y - s.padding[0]) * s.width + z - s.padding[2]]
    }

    proptest! {
        #[test]
        fn columns_equal_a_lookup_and_col2im_is_the_transpose(
            (images, channels, height, width) in (1usize..3, 1usize..3, 1usize..12, 1usize..12),
            kernel in prop::array::uniform2(1usize..5), stride in 1usize..4, padding in prop::array::uniform4(0usize..4),
        ) {
            prop_assume!(height + padding[0] + padding[1] >= kernel[0] && width + padding[2] + padding[3] >= kernel[1]);
            let s = ConvShape { batch: images, channels, height, width, out_channels: 1, kernel, stride, padding, groups: 1 };
            let x: Vec<f32> = (0..images * channels * height * width).map(|i| 1.0 + i as f32).collect();
            let (out_height, out_width) = (s.out_height(), s.out_width());
            let width = images * s.out_pixels();
            let mut columns = vec![f32::NAN; channels * s.taps() * row_stride(width)];
            im2col(&x, &s, 0..channels, 0..out_height, &mut columns);
            let mut counts = vec![0.0; x.len()];
            col2im(&vec![1.0; columns.len()], &s, 0..channels, &mut counts);
            let mut at = columns.chunks(row_stride(width)).flat_map(|row| &row[..width]);
            let mut sum = 0.0;
            for c in 0..channels {
                for tap in 0..s.taps() {
                    for n in 0..images {
                        for p in 0..s.out_pixels() {
                            let expected = element(&x, &s, n, c, [tap / kernel[1], tap % kernel[1]], [p / out_width, p % out_width]);
                            prop_assert_eq!(*at.next().unwrap(), expected);
                            sum += expected;
                        }
                    }
                }
            }
            let transposed: f32 = counts.iter().zip(&x).map(|(a, b)| a * b).sum();
            prop_assert!((transposed - sum).abs() <= 1e-4 * sum.abs());
        }
    }
}
