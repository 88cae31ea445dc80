//! Sums over slices with sixteen running sums, so that they vectorise and do not depend on the machine's vector width.

const LANES: usize = 16;

/// Runs `work` compiled for the machine's widest vector instructions. `work` needs to be `#[inline(always)]`, and to consist of plain
/// loops and functions that are: what is not inlined is not recompiled.
#[inline(always)]
pub(super) fn vectorised<R>(work: impl FnMut() -> R) -> R {
    // Not pulp's own impl for closures: it calls them as `FnOnce`, through a shim that the compiler does not always inline.
    struct Work<F>(F);
    impl<R, F: FnMut() -> R> pulp::WithSimd for Work<F> {
        type Output = R;

        #[inline(always)]
        fn with_simd<S: pulp::Simd>(mut self, _: S) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Work(work))
}

/// Σ term(a, b) over two slices of equal length, in a fixed order.
#[inline(always)]
fn lanes(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| term(*a, *b)).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            sums[lane] += term(a[lane], b[lane]);
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0] + rest
}

/// Σ term(a, b) with the machine's vector instructions.
#[inline(always)]
pub(super) fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    vectorised(
        #[inline(always)]
        || lanes(a, b, &term),
    )
}

/// Two sums over the same pairs: Σ first(a, b) and Σ first(a, b) * second(b).
#[inline(always)]
pub(super) fn sums_of(a: &[f32], b: &[f32], first: impl Fn(f32, f32) -> f32, second: impl Fn(f32) -> f32) -> [f32; 2] {
    vectorised(
        #[inline(always)]
        || {
            let mut sums = [[0.0f32; LANES]; 2];
            let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
            let mut rest = [0.0f32; 2];
            for (a, b) in a.remainder().iter().zip(b.remainder()) {
                let value = first(*a, *b);
                rest[0] += value;
                rest[1] += value * second(*b);
            }
            for (a, b) in a.zip(b) {
                for lane in 0..LANES {
                    let value = first(a[lane], b[lane]);
                    sums[0][lane] += value;
                    sums[1][lane] += value * second(b[lane]);
                }
            }
            [0, 1].map(|which| sums[which].iter().sum::<f32>() + rest[which])
        },
    )
}

/// Σ a.
pub(super) fn sum(a: &[f32]) -> f32 {
    sum_of(a, a, |a, _| a)
}

/// Σ a inside of a vectorised closure.
#[inline(always)]
pub(super) fn inlined_sum(a: &[f32]) -> f32 {
    lanes(a, a, |a, _| a)
}

/// Σ a · b in float64, with sixteen running sums. For vectorised closures.
#[inline(always)]
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0f64; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0] + rest
}

/// Applies `f` to each value, with the machine's vector instructions.
#[inline(always)]
pub(super) fn map(from: &[f32], to: &mut [f32], f: impl Fn(f32) -> f32) {
    vectorised(
        #[inline(always)]
        || {
            for (to, from) in to.iter_mut().zip(from) {
                *to = f(*from);
            }
        },
    );
}

/// `to` = f(to, from), value by value.
#[inline(always)]
pub(super) fn update(to: &mut [f32], from: &[f32], f: impl Fn(f32, f32) -> f32) {
    vectorised(
        #[inline(always)]
        || {
            for (to, from) in to.iter_mut().zip(from) {
                *to = f(*to, *from);
            }
        },
    );
}

/// `to` = `from`, of equal length. The rows of small maps are shorter than the call of a general copy takes.
#[inline(always)]
pub(super) fn copy_row(from: &[f32], to: &mut [f32]) {
    #[inline(always)]
    fn fixed<const N: usize>(from: &[f32], to: &mut [f32]) {
        if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
            *to = *from;
        }
    }
    match from.len() {
        4 => fixed::<4>(from, to),
        8 => fixed::<8>(from, to),
        16 => fixed::<16>(from, to),
        32 => fixed::<32>(from, to),
        _ => to.copy_from_slice(from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_equal_a_plain_loop_for_every_remainder() {
        for len in 0..50 {
            let a: Vec<f32> = (0..len).map(|i| (i as f32).sin()).collect();
            let b: Vec<f32> = (0..len).map(|i| (i as f32).cos()).collect();
            let expected: [f32; 2] = [a.iter().sum(), a.iter().zip(&b).map(|(a, b)| a * b).sum()];
            assert!((sum(&a) - expected[0]).abs() < 1e-5);
            assert!((sum_of(&a, &b, |a, b| a * b) - expected[1]).abs() < 1e-5);
            let both = sums_of(&a, &b, |a, _| a, |b| b);
            assert!((both[0] - expected[0]).abs() < 1e-5 && (both[1] - expected[1]).abs() < 1e-5);
        }
    }
}
