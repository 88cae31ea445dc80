//! The five linear maps of Winograd's F(4 × 4, 3 × 3) along one axis, on sixteen channels at a time.
//!
//! The points of interpolation are 0, ±1, ±2 and infinity.

use std::ops::{Add, Mul, Sub};

/// Channels transformed together.
pub(super) const LANES: usize = 16;
/// Outputs of a tile along an axis.
pub(super) const OUT: usize = 4;
/// Inputs of a tile along an axis.
pub(super) const IN: usize = 6;

/// Sixteen channels' values at one place. Plain loops: they become vector instructions where they are inlined into a dispatched
/// function, which closures handed to the standard library's array functions would not be.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Lanes(pub [f32; LANES]);

pub(super) const ZERO: Lanes = Lanes([0.0; LANES]);

impl Lanes {
    #[inline(always)]
    pub(super) fn load(values: &[f32]) -> Self {
        Self(values[..LANES].try_into().expect("sixteen values"))
    }

    #[inline(always)]
    pub(super) fn store(self, to: &mut [f32]) {
        to[..LANES].copy_from_slice(&self.0);
    }
}

impl Add for Lanes {
    type Output = Self;

    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for lane in 0..LANES {
            self.0[lane] += other.0[lane];
        }
        self
    }
}

impl Sub for Lanes {
    type Output = Self;

    #[inline(always)]
    fn sub(mut self, other: Self) -> Self {
        for lane in 0..LANES {
            self.0[lane] -= other.0[lane];
        }
        self
    }
}

impl Mul<f32> for Lanes {
    type Output = Self;

    #[inline(always)]
    fn mul(mut self, factor: f32) -> Self {
        for lane in 0..LANES {
            self.0[lane] *= factor;
        }
        self
    }
}

/// Bᵀ d.
#[inline(always)]
pub(super) fn input_transform([d0, d1, d2, d3, d4, d5]: [Lanes; IN]) -> [Lanes; IN] {
    let (even, odd) = (d4 - d2 * 4.0, d3 - d1 * 4.0);
    let (even2, odd2) = (d4 - d2, (d3 - d1) * 2.0);
    [d0 * 4.0 - d2 * 5.0 + d4, even + odd, even - odd, even2 + odd2, even2 - odd2, d1 * 4.0 - d3 * 5.0 + d5]
}

/// Aᵀ m.
#[inline(always)]
pub(super) fn output_transform([m0, m1, m2, m3, m4, m5]: [Lanes; IN]) -> [Lanes; OUT] {
    let (near, far, near_odd, far_odd) = (m1 + m2, m3 + m4, m1 - m2, m3 - m4);
    [m0 + near + far, near_odd + far_odd * 2.0, near + far * 4.0, near_odd + far_odd * 8.0 + m5]
}

/// A y: the transpose of [`output_transform`].
#[inline(always)]
pub(super) fn gradient_transform([y0, y1, y2, y3]: [Lanes; OUT]) -> [Lanes; IN] {
    let (even, odd) = (y0 + y2, y1 + y3);
    let (even2, odd2) = (y0 + y2 * 4.0, y1 * 2.0 + y3 * 8.0);
    [y0, even + odd, even - odd, even2 + odd2, even2 - odd2, y3]
}

const SIXTH: f32 = 1.0 / 6.0;

/// G g.
#[inline(always)]
pub(super) fn weight_transform([g0, g1, g2]: [Lanes; 3]) -> [Lanes; IN] {
    let near = (g0 + g2) * -SIXTH;
    let far = g0 * (SIXTH / 4.0) + g2 * SIXTH;
    let (near_odd, far_odd) = (g1 * SIXTH, g1 * (SIXTH / 2.0));
    [g0 * 0.25, near - near_odd, near + near_odd, far + far_odd, far - far_odd, g2]
}

/// Gᵀ u: the transpose of [`weight_transform`].
#[inline(always)]
pub(super) fn weight_gradient_transform([u0, u1, u2, u3, u4, u5]: [Lanes; IN]) -> [Lanes; 3] {
    let (near, far, near_odd, far_odd) = ((u1 + u2) * -SIXTH, (u3 + u4) * SIXTH, u2 - u1, u3 - u4);
    [u0 * 0.25 + near + far * 0.25, near_odd * SIXTH + far_odd * (SIXTH / 2.0), near + far + u5]
}

/// `transform` along both axes of a square of `A` × `A`, giving `B` × `B`.
#[inline(always)]
pub(super) fn both_axes<const A: usize, const B: usize>(
    square: &[[Lanes; A]; A],
    transform: impl Fn([Lanes; A]) -> [Lanes; B],
) -> [[Lanes; B]; B] {
    let mut columns = [[ZERO; A]; B];
    for j in 0..A {
        let mut column = [ZERO; A];
        for i in 0..A {
            column[i] = square[i][j];
        }
        let transformed = transform(column);
        for i in 0..B {
            columns[i][j] = transformed[i];
        }
    }
    let mut result = [[ZERO; B]; B];
    for i in 0..B {
        result[i] = transform(columns[i]);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes<const N: usize>(values: [f32; N]) -> [Lanes; N] {
        values.map(|value| Lanes([value; LANES]))
    }

    fn product(a: &[Lanes], b: &[Lanes]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a.0[LANES - 1] * b.0[LANES - 1]).sum()
    }

    #[test]
    fn a_tile_is_a_convolution_along_one_axis() {
        let (d, g) = ([0.5, -1.0, 2.0, 0.25, 3.0, -2.0], [1.0, -0.5, 2.0]);
        let transformed = input_transform(lanes(d)).map(|lanes| lanes.0[0]);
        let weights = weight_transform(lanes(g)).map(|lanes| lanes.0[0]);
        let mut products = [0.0; IN];
        products.iter_mut().zip(transformed.iter().zip(weights)).for_each(|(p, (a, b))| *p = a * b);
        for (i, y) in output_transform(lanes(products)).iter().enumerate() {
            let expected: f32 = (0..3).map(|tap| d[i + tap] * g[tap]).sum();
            assert!((y.0[3] - expected).abs() < 1e-5, "{i}: {} {expected}", y.0[3]);
        }
    }

    #[test]
    fn the_gradients_transforms_are_transposes() {
        let (m, y) = (lanes([0.5, -1.0, 2.0, 0.25, 3.0, -2.0]), lanes([1.0, 2.0, -3.0, 0.5]));
        assert!((product(&output_transform(m), &y) - product(&m, &gradient_transform(y))).abs() < 1e-4);
        let g = lanes([1.0, -0.5, 2.0]);
        assert!((product(&weight_transform(g), &m) - product(&g, &weight_gradient_transform(m))).abs() < 1e-4);
    }
}
