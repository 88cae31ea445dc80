//! Spectral norm: the largest factor by which a linear layer stretches a vector.

use burn::tensor::{Tensor, TensorData};

use crate::model::layers::stop_gradient;

/// Enough that the estimate is a few percent short at worst for random matrices, and exact where one direction stands out; a
/// fraction of what a batch costs.
const ITERATIONS: usize = 10;

/// The largest singular value of `weight` `[outputs, inputs]`, by power iteration from a fixed start: `[1, 1]`, with the gradient u vᵀ (Miyato et al.,
/// *Spectral Normalization for Generative Adversarial Networks*, ICLR 2018). Nothing is remembered from one call to the next.
pub fn spectral_norm(weight: Tensor<2>) -> Tensor<2> {
    let [_, inputs] = weight.dims();
    // A start without symmetry, so that no layer is likely to be blind to it.
    let start: Vec<f64> = (0..inputs).map(|at| (1.0 + at as f64 * 2.399_963_229_728_653).cos()).collect();
    let fixed = stop_gradient(weight.clone());
    let mut right = unit(Tensor::<2>::from_data(TensorData::new(start, [inputs, 1]), (&fixed.device(), fixed.dtype())));
    let mut left = unit(fixed.clone().matmul(right));
    for _ in 1..ITERATIONS {
        right = unit(fixed.clone().transpose().matmul(left));
        left = unit(fixed.clone().matmul(right));
    }
    right = unit(fixed.transpose().matmul(left.clone()));
    left.transpose().matmul(weight).matmul(right)
}

fn unit(vector: Tensor<2>) -> Tensor<2> {
    let length = vector.clone().square().sum().clamp_min(1e-24).sqrt();
    vector / length.unsqueeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::layers::Initializer;
    use burn::tensor::Device;

    #[test]
    fn it_is_the_largest_singular_value_and_its_gradient_the_two_directions() {
        let device = Device::default().autodiff();
        // Rotations of 0.3 and 1.1 around a stretching by 3 and 0.5.
        let rotation = |t: f32| Tensor::<2>::from_floats([[t.cos(), -t.sin()], [t.sin(), t.cos()]], &device);
        let weight = rotation(0.3).matmul(Tensor::from_floats([[3.0, 0.0], [0.0, 0.5]], &device)).matmul(rotation(1.1));
        let weight = Tensor::<2>::from_data(weight.into_data(), &device).require_grad();
        let norm = spectral_norm(weight.clone());
        let gradient: Vec<f32> = weight.grad(&norm.backward()).unwrap().into_data().try_to_vec().unwrap();
        assert!((norm.into_scalar::<f32>() - 3.0).abs() < 1e-5);
        let (u, v) = ([0.3f32.cos(), 0.3f32.sin()], [1.1f32.cos(), -1.1f32.sin()]);
        let expected = [u[0] * v[0], u[0] * v[1], u[1] * v[0], u[1] * v[1]];
        assert!(gradient.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{gradient:?} {expected:?}");
    }

    #[test]
    fn it_is_close_for_a_random_matrix_and_finite_for_zeros() {
        let device = Device::default();
        let weight = Initializer::new(&device, 3).normal([60, 40], 1.0).val();
        let exact = {
            let mut right = Tensor::<2>::ones([40, 1], &device);
            for _ in 0..2000 {
                let next = weight.clone().transpose().matmul(weight.clone().matmul(right));
                right = next.clone() / next.square().sum().sqrt().unsqueeze();
            }
            weight.clone().matmul(right).square().sum().sqrt().into_scalar::<f32>()
        };
        let found = spectral_norm(weight.clone()).into_scalar::<f32>();
        assert!(found <= exact * 1.0001 && found > exact * 0.95, "{found} {exact}");
        assert_eq!(spectral_norm(weight * 0.0).into_scalar::<f32>(), 0.0);
    }
}
