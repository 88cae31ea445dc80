//! 3 × 3 convolutions of stride 1 with a quarter of the multiplications, by Winograd's F(4 × 4, 3 × 3).
//!
//! A tile of 6 × 6 inputs gives 4 × 4 outputs: Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A (Lavin and Gray 2016). The elementwise product, summed
//! over input channels, is one matrix product for each of the 36 places, over all tiles. Each gradient is the same computation run
//! backwards; only the weight gradient needs code of its own. Transforms work on sixteen channels at a time, which is why maps are
//! brought into channel-last blocks first.

use rayon::prelude::*;

use super::operands::Epilogue;
use super::shape::ConvShape;
use super::winograd_transform::{
    IN, LANES, Lanes, OUT, ZERO, both_axes, gradient_transform, input_transform, output_transform, weight_gradient_transform,
    weight_transform,
};
use crate::flex::{Shared, with_scratch};
use crate::gemm::{Matrix, Write, matmul};
use crate::lanes::vectorised;

/// Places of a transformed tile.
const PLACES: usize = IN * IN;
/// Multiplications to save for each pair of channels before transforming that pair's weights pays.
const WORTHWHILE: usize = 2048;
/// Transformed values held at once.
const CHUNK: usize = 1 << 20;

/// Whether the transform pays: it needs some channels, maps that fill their tiles, and enough of them.
pub(super) fn applies(s: &ConvShape) -> bool {
    let tiles = s.out_height().div_ceil(OUT) * s.out_width().div_ceil(OUT);
    s.kernel == [3, 3]
        && s.stride == 1
        && s.groups == 1
        && s.channels >= LANES
        && s.out_channels >= LANES
        && 2 * tiles * PLACES <= s.out_pixels() * s.taps()
        && (s.out_pixels() * s.taps() - tiles * PLACES) * s.batch >= WORTHWHILE
}

/// Values from one place's matrix `[rows, columns]` to the next: an odd number of cache lines, since the 36 values of a transformed tile
/// would otherwise compete for the same few cache sets.
fn place_stride(rows: usize, columns: usize) -> usize {
    ((rows * columns / LANES) | 1) * LANES
}

/// The tiles of one convolution.
#[derive(Clone, Copy)]
struct Tiles {
    down: usize,
    across: usize,
    inputs: usize,
    outputs: usize,
}

impl Tiles {
    fn new(s: &ConvShape) -> Self {
        Self {
            down: s.out_height().div_ceil(OUT),
            across: s.out_width().div_ceil(OUT),
            inputs: s.channels.next_multiple_of(LANES),
            outputs: s.out_channels.next_multiple_of(LANES),
        }
    }

    /// Values from one row of a place's weights `[in, out]` to the next: an odd number of cache lines, as in [`place_stride`].
    fn weight_row(&self) -> usize {
        place_stride(1, self.outputs)
    }

    fn per_image(&self) -> usize {
        self.down * self.across
    }

    /// Images whose transformed values are held at once.
    fn images(&self, s: &ConvShape) -> usize {
        (CHUNK / (PLACES * self.per_image() * (self.inputs + self.outputs))).clamp(1, s.batch)
    }
}

/// The rows of one row of tiles, channel-last: small enough for the first-level cache.
#[derive(Clone, Copy)]
struct Band {
    rows: usize,
    columns: usize,
    /// Rows and columns of the map.
    map: [usize; 2],
    /// Zeros before the map's first row and column.
    padding: [usize; 2],
}

impl Band {
    /// Of the padded input.
    fn of_input(s: &ConvShape, tiles: Tiles) -> Self {
        let padding = [s.padding[0], s.padding[2]];
        Self { rows: IN, columns: tiles.across * OUT + 2, map: [s.height, s.width], padding }
    }

    /// Of the output.
    fn of_output(s: &ConvShape, tiles: Tiles) -> Self {
        Self { rows: OUT, columns: tiles.across * OUT, map: [s.out_height(), s.out_width()], padding: [0, 0] }
    }

    fn len(&self) -> usize {
        self.rows * self.columns * LANES
    }

    /// The map's row that is row `r` of the band of tile row `down`, if any.
    #[inline(always)]
    fn map_row(&self, down: usize, r: usize) -> Option<usize> {
        (down * OUT + r).checked_sub(self.padding[0]).filter(|row| *row < self.map[0])
    }

    /// Up to sixteen maps into the band of tile row `down`. Columns without a map stay as they are: zero, from the beginning.
    #[inline(always)]
    fn fill(&self, maps: &[f32], down: usize, band: &mut [f32]) {
        let [height, width] = self.map;
        let used = width.min(self.columns - self.padding[1]);
        for (r, line) in band.chunks_exact_mut(self.columns * LANES).enumerate() {
            let Some(row) = self.map_row(down, r) else {
                line.fill(0.0);
                continue;
            };
            let line = &mut line[self.padding[1] * LANES..][..used * LANES];
            for (lane, map) in maps.chunks_exact(height * width).enumerate() {
                let from = &map[row * width..][..used];
                for (to, from) in line.chunks_exact_mut(LANES).zip(from) {
                    to[lane] = *from;
                }
            }
        }
    }

    /// The band of tile row `down` back into its maps.
    #[inline(always)]
    fn empty(&self, band: &[f32], down: usize, maps: &mut [f32]) {
        let [height, width] = self.map;
        for (r, line) in band.chunks_exact(self.columns * LANES).enumerate() {
            let Some(row) = self.map_row(down, r) else { continue };
            for (lane, map) in maps.chunks_exact_mut(height * width).enumerate() {
                for (to, from) in map[row * width..][..width].iter_mut().zip(line.chunks_exact(LANES)) {
                    *to = from[lane];
                }
            }
        }
    }
}

/// The transformed tiles `[place, tile, channel]` of `maps` [images, channels, …], row of tiles by row of tiles.
///
/// `channels` is the number in `maps`, `padded` that in the result.
fn transform_maps<const A: usize>(
    maps: &[f32],
    channels: usize,
    padded: usize,
    tiles: Tiles,
    band: Band,
    transform: impl Fn([Lanes; A]) -> [Lanes; IN] + Sync,
    out: &mut [f32],
) {
    let map = band.map[0] * band.map[1];
    let images = maps.len() / (channels * map);
    let stride = place_stride(images * tiles.per_image(), padded);
    let shared = Shared::new(out);
    let blocks = padded / LANES;
    (0..images * blocks).into_par_iter().for_each(|task| {
        let (n, first) = (task / blocks, task % blocks * LANES);
        let used = LANES.min(channels - first);
        with_scratch(band.len(), |values| {
            vectorised(
                #[inline(always)]
                || {
                    values.fill(0.0);
                    let maps = &maps[(n * channels + first) * map..][..used * map];
                    for down in 0..tiles.down {
                        band.fill(maps, down, values);
                        for across in 0..tiles.across {
                            let mut square = [[ZERO; A]; A];
                            for i in 0..A {
                                for j in 0..A {
                                    square[i][j] = Lanes::load(&values[(i * band.columns + across * OUT + j) * LANES..]);
                                }
                            }
                            let transformed = both_axes(&square, &transform);
                            let tile = n * tiles.per_image() + down * tiles.across + across;
                            for (place, lanes) in transformed.as_flattened().iter().enumerate() {
                                let at = place * stride + tile * padded + first;
                                // SAFETY: each task has its own image and channels, hence its own places.
                                lanes.store(unsafe { shared.slice(at, LANES) });
                            }
                        }
                    }
                },
            );
        });
    });
}

/// The transformed weights `[place, in, out]` of `weight` `[out, in, 3, 3]`.
fn transform_weight(weight: &[f32], s: &ConvShape, tiles: Tiles, out: &mut [f32]) {
    let shared = Shared::new(out);
    let stride = place_stride(tiles.inputs, tiles.weight_row());
    (0..tiles.outputs / LANES).into_par_iter().for_each(|block| {
        let first = block * LANES;
        let used = LANES.min(s.out_channels - first);
        vectorised(
            #[inline(always)]
            || {
                for channel in 0..tiles.inputs {
                    let mut square = [[ZERO; 3]; 3];
                    if channel < s.channels {
                        for lane in 0..used {
                            let taps = &weight[((first + lane) * s.channels + channel) * 9..][..9];
                            for (place, tap) in square.as_flattened_mut().iter_mut().zip(taps) {
                                place.0[lane] = *tap;
                            }
                        }
                    }
                    let transformed = both_axes(&square, weight_transform);
                    for (place, lanes) in transformed.as_flattened().iter().enumerate() {
                        let at = place * stride + channel * tiles.weight_row() + first;
                        // SAFETY: each task has its own output channels.
                        lanes.store(unsafe { shared.slice(at, LANES) });
                    }
                }
            },
        );
    });
}

/// y `[batch, out_channels, out_height, out_width]` = epilogue(x * weight).
pub(super) fn forward(x: &[f32], weight: &[f32], s: &ConvShape, epilogue: Option<Epilogue>) -> Vec<f32> {
    let tiles = Tiles::new(s);
    let images = tiles.images(s);
    let (chunk, pixels) = (images * tiles.per_image(), s.out_pixels());
    let mut y = vec![0.0; s.batch * s.out_channels * pixels];
    let weight_stride = place_stride(tiles.inputs, tiles.weight_row());
    let most = place_stride(chunk, tiles.inputs) + place_stride(chunk, tiles.outputs);
    with_scratch(PLACES * (weight_stride + most), |scratch| {
        let (weights, scratch) = scratch.split_at_mut(PLACES * weight_stride);
        transform_weight(weight, s, tiles, weights);
        let chunks = y.chunks_mut(images * s.out_channels * pixels).zip(x.chunks(images * s.channels * s.pixels()));
        for (y, x) in chunks {
            let count = x.len() / (s.channels * s.pixels()) * tiles.per_image();
            let (input_stride, output_stride) = (place_stride(count, tiles.inputs), place_stride(count, tiles.outputs));
            let (inputs, products) = scratch.split_at_mut(PLACES * input_stride);
            let products = &mut products[..PLACES * output_stride];
            transform_maps(x, s.channels, tiles.inputs, tiles, Band::of_input(s, tiles), input_transform, inputs);
            products.par_chunks_mut(output_stride).enumerate().for_each(|(place, products)| {
                let left = Matrix::rows(&inputs[place * input_stride..], tiles.inputs);
                let right = Matrix::rows(&weights[place * weight_stride..], tiles.weight_row());
                matmul([count, tiles.inputs, tiles.outputs], products, tiles.outputs, left, right, Write::Replace);
            });
            y.par_chunks_mut(s.out_channels * pixels).enumerate().for_each(|(n, y)| {
                y.par_chunks_mut(LANES * pixels).enumerate().for_each(|(block, y)| {
                    transform_back(products, s, tiles, output_stride, n, block * LANES, y);
                    if let Some(epilogue) = epilogue {
                        y.chunks_exact_mut(pixels).enumerate().for_each(|(o, y)| epilogue.apply(block * LANES + o, y));
                    }
                });
            });
        }
    });
    y
}

/// Up to sixteen maps of image `n`, from channel `first` on, out of the products `[place, tile, out]`.
fn transform_back(products: &[f32], s: &ConvShape, tiles: Tiles, stride: usize, n: usize, first: usize, y: &mut [f32]) {
    let band = Band::of_output(s, tiles);
    with_scratch(band.len(), |values| {
        vectorised(
            #[inline(always)]
            || {
                for down in 0..tiles.down {
                    for across in 0..tiles.across {
                        let tile = n * tiles.per_image() + down * tiles.across + across;
                        let mut square = [[ZERO; IN]; IN];
                        for (place, lanes) in square.as_flattened_mut().iter_mut().enumerate() {
                            *lanes = Lanes::load(&products[place * stride + tile * tiles.outputs + first..]);
                        }
                        let out = both_axes(&square, output_transform);
                        for i in 0..OUT {
                            for j in 0..OUT {
                                out[i][j].store(&mut values[(i * band.columns + across * OUT + j) * LANES..]);
                            }
                        }
                    }
                    band.empty(values, down, y);
                }
            },
        );
    });
}

/// The gradient of the weight `[out, in, 3, 3]`, summed over the batch in a fixed order.
pub(super) fn weight_gradient(x: &[f32], dy: &[f32], s: &ConvShape) -> Vec<f32> {
    let tiles = Tiles::new(s);
    let images = tiles.images(s);
    let (chunk, weight_stride) = (images * tiles.per_image(), place_stride(tiles.inputs, tiles.weight_row()));
    let most = place_stride(chunk, tiles.inputs) + place_stride(chunk, tiles.outputs);
    let mut dw = vec![0.0; s.out_channels * s.channels * 9];
    with_scratch(PLACES * (weight_stride + most), |scratch| {
        let (weights, scratch) = scratch.split_at_mut(PLACES * weight_stride);
        let chunks = x.chunks(images * s.channels * s.pixels()).zip(dy.chunks(images * s.out_channels * s.out_pixels()));
        for (which, (x, dy)) in chunks.enumerate() {
            let count = x.len() / (s.channels * s.pixels()) * tiles.per_image();
            let (input_stride, output_stride) = (place_stride(count, tiles.inputs), place_stride(count, tiles.outputs));
            let (inputs, gradients) = scratch.split_at_mut(PLACES * input_stride);
            let gradients = &mut gradients[..PLACES * output_stride];
            transform_maps(x, s.channels, tiles.inputs, tiles, Band::of_input(s, tiles), input_transform, inputs);
            transform_maps(dy, s.out_channels, tiles.outputs, tiles, Band::of_output(s, tiles), gradient_transform, gradients);
            let write = if which == 0 { Write::Replace } else { Write::Add };
            weights.par_chunks_mut(weight_stride).enumerate().for_each(|(place, weights)| {
                let left = Matrix::rows(&inputs[place * input_stride..], tiles.inputs).transposed();
                let right = Matrix::rows(&gradients[place * output_stride..], tiles.outputs);
                matmul([tiles.inputs, count, tiles.outputs], weights, tiles.weight_row(), left, right, write);
            });
        }
        let row = s.channels * 9;
        dw.par_chunks_mut(LANES * row).enumerate().for_each(|(block, dw)| {
            vectorised(
                #[inline(always)]
                || {
                    for channel in 0..s.channels {
                        let at = |place: usize| place * weight_stride + channel * tiles.weight_row() + block * LANES;
                        let mut square = [[ZERO; IN]; IN];
                        for (place, lanes) in square.as_flattened_mut().iter_mut().enumerate() {
                            *lanes = Lanes::load(&weights[at(place)..]);
                        }
                        let taps = both_axes(&square, weight_gradient_transform);
                        for (lane, dw) in dw.chunks_exact_mut(row).enumerate() {
                            for (to, from) in dw[channel * 9..][..9].iter_mut().zip(taps.as_flattened()) {
                                *to = from.0[lane];
                            }
                        }
                    }
                },
            );
        });
    });
    dw
}
