//! Spherical interpolation: along the great circle between two directions, at constant speed.

use burn::tensor::{Int, Tensor};

use crate::model::layers::normalize;

/// Cosine above which the straight line between two unit vectors takes the place of the arc. Normalised, the two are apart by less than
/// the cube of the angle.
const NEARLY_EQUAL: f64 = 1.0 - 1e-4;
/// Cosine below which there is no arc to speak of: between opposite vectors every great circle is as short.
const NEARLY_OPPOSITE: f64 = -1.0 + 1e-3;

/// sin((1 - m) θ) / sin θ · a + sin(m θ) / sin θ · b `[rows, dim]` of unit vectors a and b `[rows, dim]` at the angle θ, with m `[rows, 1]`
/// in 0 to 1. Of length one but for nearly equal vectors, which are mixed along a straight line.
///
/// Nearly opposite vectors are mixed along the half circle from a to -a through the axis that a is farthest from, so that mixtures
/// and gradients stay bounded where the arc to b is ill-conditioned.
pub fn slerp(a: Tensor<2>, b: Tensor<2>, m: Tensor<2>) -> Tensor<2> {
    let cosine = (a.clone() * b.clone()).sum_dim(1);
    let equal = cosine.clone().greater_elem(NEARLY_EQUAL);
    let opposite = cosine.clone().lower_elem(NEARLY_OPPOSITE);
    let rest = m.clone().neg() + 1.0;

    let angle = cosine.clamp(NEARLY_OPPOSITE, NEARLY_EQUAL).acos();
    let sine = angle.clone().sin();
    let of_a = (rest.clone() * angle.clone()).sin() / sine.clone();
    let of_b = (m.clone() * angle).sin() / sine;
    let of_a = of_a.mask_where(equal.clone(), rest);
    let of_b = of_b.mask_where(equal, m.clone());
    let [_, dim] = a.dims();
    let arc = a.clone() * of_a + b * of_b;

    let turn = m * std::f64::consts::PI;
    let half_circle = a.clone() * turn.clone().cos() + perpendicular(a) * turn.sin();
    arc.mask_where(opposite.repeat_dim(1, dim), half_circle)
}

/// The direction of the axis that each unit vector is farthest from, made perpendicular to it: `[rows, dim]`. In one dimension there is
/// none, and the result is zero.
fn perpendicular(a: Tensor<2>) -> Tensor<2> {
    let [_, dim] = a.dims();
    let axis: Tensor<2, Int> = a.clone().detach().abs().argmin(1);
    let columns = Tensor::<1, Int>::arange(0..dim as i64, &a.device()).unsqueeze_dim::<2>(0);
    let axis = columns.equal(axis).float().cast(a.dtype());
    let along = (a.clone() * axis.clone()).sum_dim(1);
    normalize(axis - a * along)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device, TensorData};
    use proptest::prelude::*;

    fn unit(angle: f64, tilt: f64) -> [f64; 3] {
        [angle.cos() * tilt.cos(), angle.sin() * tilt.cos(), tilt.sin()]
    }

    /// The mixture and the gradients of one of its coordinates with respect to a and b.
    fn mixed(a: [f64; 3], b: [f64; 3], m: f64, dtype: DType) -> ([f64; 3], Vec<f64>) {
        let device = Device::default().autodiff();
        let [a, b] = [a, b].map(|v| Tensor::<2>::from_data([v], (&device, dtype)).require_grad());
        let m = Tensor::<2>::from_data(TensorData::from([[m]]), (&device, dtype));
        let z = slerp(normalize(a.clone()), normalize(b.clone()), m);
        let gradients = z.clone().narrow(1, 1, 1).sum().backward();
        let gradient = [a, b].iter().flat_map(|v| v.grad(&gradients).unwrap().into_data().iter::<f64>().collect::<Vec<_>>()).collect();
        let z: Vec<f64> = z.into_data().iter().collect();
        ([z[0], z[1], z[2]], gradient)
    }

    fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    proptest! {
        #[test]
        fn a_mixture_lies_on_the_arc_at_its_share_of_the_angle(from in 0.0..6.3f64, tilt in -1.5..1.5f64, angle in 0.02..3.0f64, m in 0.0..1.0f64) {
            // Two unit vectors at the angle: the second in the plane of the first and its derivative by the first coordinate.
            let a = unit(from, tilt);
            let beside = unit(from + std::f64::consts::FRAC_PI_2, 0.0);
            let b: [f64; 3] = std::array::from_fn(|at| angle.cos() * a[at] + angle.sin() * beside[at]);
            let (z, _) = mixed(a, b, m, DType::F64);
            prop_assert!((dot(z, z) - 1.0).abs() < 1e-9);
            prop_assert!((dot(z, a) - (m * angle).cos()).abs() < 1e-8 && (dot(z, b) - ((1.0 - m) * angle).cos()).abs() < 1e-8);
        }
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let (a, b, m) = ([0.3, -1.0, 0.5], [1.2, 0.4, -0.2], 0.3);
        let (_, gradient) = mixed(a, b, m, DType::F64);
        for (at, gradient) in gradient.iter().enumerate() {
            let moved = |step: f64| {
                let (mut a, mut b) = (a, b);
                if at < 3 {
                    a[at] += step
                } else {
                    b[at - 3] += step
                }
                mixed(a, b, m, DType::F64).0[1]
            };
            let difference = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!((gradient - difference).abs() < 1e-8, "{gradient} {difference}");
        }
    }

    #[test]
    fn nearly_equal_and_nearly_opposite_vectors_have_bounded_mixtures_and_gradients() {
        let a = unit(0.4, 0.2);
        for angle in [0.0, 1e-7, 1e-3, 0.0141, 0.0142, 0.1] {
            for side in [1.0, -1.0] {
                let b = unit(0.4 + angle, 0.2).map(|value| side * value);
                for m in [0.0, 0.25, 0.5, 0.9, 1.0] {
                    for dtype in [DType::F64, DType::F32] {
                        let (z, gradient) = mixed(a, b, m, dtype);
                        assert!((dot(z, z) - 1.0).abs() < 1e-3, "{angle} {side} {m} {dtype:?}: {z:?}");
                        assert!(gradient.iter().all(|g| g.is_finite() && g.abs() < 50.0), "{angle} {side} {m} {dtype:?}: {gradient:?}");
                        assert!((dot(z, a) - (m * if side > 0.0 { angle } else { std::f64::consts::PI - angle }).cos()).abs() < 0.05);
                    }
                }
            }
        }
    }
}
