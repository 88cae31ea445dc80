//! One step of Adam or AdamW in a single pass over parameter, gradient and moments, by PyTorch's formulas.

use burn::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::flex::{is_flex_f32, values, values_mut};
use super::lanes::vectorised;

/// Values of one task: all four arrays' parts stay in the second-level cache.
const CHUNK: usize = 1 << 15;

/// How weight decay enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Added to the gradient, as an L2 penalty (PyTorch's `Adam`).
    Coupled,
    /// Shrinks the weights beside the step (PyTorch's `AdamW`; Loshchilov and Hutter 2019).
    Decoupled,
}

/// The settings of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamHyper {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the corrected second moment.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// How weight decay enters.
    pub decay: Decay,
}

/// What Adam remembers of one parameter, flattened.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Running mean of the gradient.
    pub first: Tensor<1>,
    /// Running mean of the squared gradient.
    pub second: Tensor<1>,
    /// Steps taken so far.
    pub steps: u64,
}

impl Moments {
    /// Those of a parameter that has not been updated yet: zeros of its size, on its device.
    pub fn zeros<const D: usize>(param: &Tensor<D>) -> Self {
        let zeros = Tensor::zeros([param.shape().num_elements()], (&param.device().inner(), param.dtype()));
        Self { first: zeros.clone(), second: zeros, steps: 0 }
    }
}

/// The parameter after one step of Adam, and `moments` moved on with it (Kingma and Ba 2015).
///
/// `param` and `grad` have one shape, `moments` its number of elements. `finite` (`[1]`, without autodiff) is 1 where the loss was finite;
/// where it is 0 the parameter and its moments stay as they are, but for the count of steps, which is decided on the device. The result is not tracked by autodiff.
pub fn adam_update<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    moments: &mut Moments,
    hyper: &AdamHyper,
    finite: &Tensor<1>,
) -> Tensor<D> {
    let (param, grad) = (untracked(param), untracked(grad));
    assert_eq!(param.dims(), grad.dims(), "a gradient has its parameter's shape");
    assert_eq!(moments.first.dims(), [param.shape().num_elements()], "the moments have the parameter's size");
    moments.steps += 1;
    let step = Step::new(hyper, moments.steps);
    let placeholder = Tensor::empty([0], (&param.device(), param.dtype()));
    let first = untracked(std::mem::replace(&mut moments.first, placeholder.clone()));
    let second = untracked(std::mem::replace(&mut moments.second, placeholder));
    let on_flex = is_flex_f32(&param) && is_flex_f32(&grad) && is_flex_f32(&first) && is_flex_f32(&second) && is_flex_f32(finite);
    if on_flex {
        let applies = values(&primitive(finite.clone()))[0] != 0.0;
        let (mut param, grad, mut first, mut second) = (primitive(param), primitive(grad), primitive(first), primitive(second));
        if applies {
            fused(values_mut(&mut param), values(&grad), values_mut(&mut first), values_mut(&mut second), &step);
        }
        moments.first = Tensor::from_primitive::<burn::backend::Flex>(first);
        moments.second = Tensor::from_primitive::<burn::backend::Flex>(second);
        Tensor::from_primitive::<burn::backend::Flex>(param)
    } else {
        let stays = finite.clone().equal_elem(0.0);
        let (updated, new_first, new_second) = by_burn(param.clone(), grad, first.clone(), second.clone(), hyper, &step);
        moments.first = new_first.mask_where(stays.clone().expand(first.shape()), first);
        moments.second = new_second.mask_where(stays.clone().expand(second.shape()), second);
        let ones: [usize; D] = [1; D];
        updated.mask_where(stays.reshape(ones).expand(param.shape()), param)
    }
}

fn untracked<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.device().is_autodiff() { x.inner() } else { x }
}

fn primitive<const D: usize>(x: Tensor<D>) -> FlexTensor {
    // Consumed, so that the buffer stays this tensor's alone and is written in place.
    let x = x.try_into_primitive::<burn::backend::Flex>().expect("on flex, by `is_flex_f32`, and untracked");
    if x.is_contiguous() { x } else { x.to_contiguous() }
}

/// The factors that are the same for every value of a step.
struct Step {
    beta1: f32,
    beta2: f32,
    gradient1: f32,
    gradient2: f32,
    eps: f32,
    /// Learning rate over the first moment's bias correction.
    size: f64,
    /// Root of the second moment's bias correction.
    root: f64,
    /// Part of the weights in the gradient.
    coupled: f64,
    /// What the weights shrink to.
    kept: f64,
}

impl Step {
    fn new(hyper: &AdamHyper, steps: u64) -> Self {
        let steps = i32::try_from(steps).unwrap_or(i32::MAX);
        let (coupled, kept) = match hyper.decay {
            Decay::Coupled => (hyper.weight_decay, 1.0),
            Decay::Decoupled => (0.0, 1.0 - hyper.learning_rate * hyper.weight_decay),
        };
        Self {
            beta1: hyper.beta1 as f32,
            beta2: hyper.beta2 as f32,
            gradient1: (1.0 - hyper.beta1) as f32,
            gradient2: (1.0 - hyper.beta2) as f32,
            eps: hyper.eps as f32,
            size: hyper.learning_rate / (1.0 - hyper.beta1.powi(steps)),
            root: (1.0 - hyper.beta2.powi(steps)).sqrt(),
            coupled,
            kept,
        }
    }
}

fn fused(param: &mut [f32], grad: &[f32], first: &mut [f32], second: &mut [f32], step: &Step) {
    let arrays = param.par_chunks_mut(CHUNK).zip(grad.par_chunks(CHUNK));
    arrays.zip(first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK))).for_each(|((param, grad), (first, second))| {
        let (size, root, coupled, kept) = (step.size as f32, step.root as f32, step.coupled as f32, step.kept as f32);
        vectorised(
            #[inline(always)]
            || {
                for (((p, g), m), v) in param.iter_mut().zip(grad).zip(first.iter_mut()).zip(second.iter_mut()) {
                    let g = g + coupled * *p;
                    *m = step.beta1 * *m + step.gradient1 * g;
                    *v = step.beta2 * *v + step.gradient2 * (g * g);
                    *p = kept * *p - size * *m / (v.sqrt() / root + step.eps);
                }
            },
        );
    });
}

fn by_burn<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    first: Tensor<1>,
    second: Tensor<1>,
    hyper: &AdamHyper,
    step: &Step,
) -> (Tensor<D>, Tensor<1>, Tensor<1>) {
    let (dims, len) = (param.shape(), param.shape().num_elements());
    let param = param.reshape([len]);
    let grad = grad.reshape([len]) + param.clone() * step.coupled;
    let first = first * hyper.beta1 + grad.clone() * (1.0 - hyper.beta1);
    let second = second * hyper.beta2 + grad.powi_scalar(2) * (1.0 - hyper.beta2);
    let param = param * step.kept - first.clone() * step.size / (second.clone().sqrt() / step.root + hyper.eps);
    (param.reshape(dims), first, second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device, TensorData};

    /// PyTorch's documented algorithm, one value at a time.
    fn naive(param: &mut [f64], gradients: &[Vec<f64>], hyper: &AdamHyper) {
        for (at, p) in param.iter_mut().enumerate() {
            let (mut m, mut v) = (0.0, 0.0);
            for (t, gradient) in gradients.iter().enumerate() {
                let mut g = gradient[at];
                match hyper.decay {
                    Decay::Coupled => g += hyper.weight_decay * *p,
                    Decay::Decoupled => *p -= hyper.learning_rate * hyper.weight_decay * *p,
                }
                m = hyper.beta1 * m + (1.0 - hyper.beta1) * g;
                v = hyper.beta2 * v + (1.0 - hyper.beta2) * g * g;
                let m_hat = m / (1.0 - hyper.beta1.powi(t as i32 + 1));
                let v_hat = v / (1.0 - hyper.beta2.powi(t as i32 + 1));
                *p -= hyper.learning_rate * m_hat / (v_hat.sqrt() + hyper.eps);
            }
        }
    }

    fn run(dtype: DType, hyper: &AdamHyper, start: &[f64], gradients: &[Vec<f64>], device: &Device) -> Vec<f64> {
        let make = |values: &[f64]| {
            let data = TensorData::new(values.to_vec(), [values.len() / 7, 7]).convert_dtype(dtype);
            Tensor::<2>::from_data(data, (device, dtype))
        };
        let mut param = make(start);
        let mut moments = Moments::zeros(&param);
        for gradient in gradients {
            let finite = Tensor::ones([1], (&param.device().inner(), dtype));
            param = adam_update(param, make(gradient), &mut moments, hyper, &finite);
        }
        assert_eq!(moments.steps, gradients.len() as u64);
        assert!(!param.device().is_autodiff());
        param.into_data().convert::<f64>().try_to_vec().unwrap()
    }

    #[test]
    fn several_steps_equal_the_documented_algorithm() {
        let len = 7 * 6000;
        let values = |seed: f64| (0..len).map(|i| (i as f64 * 0.37 + seed).sin()).collect::<Vec<_>>();
        let gradients = [values(1.0), values(2.0), vec![0.0; len], values(4.0)];
        for decay in [Decay::Coupled, Decay::Decoupled] {
            let hyper = AdamHyper { learning_rate: 0.01, beta1: 0.9, beta2: 0.99, eps: 1e-3, weight_decay: 0.1, decay };
            let mut expected = values(0.0);
            naive(&mut expected, &gradients, &hyper);
            for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 1e-12)] {
                for device in [Device::flex(), Device::flex().autodiff()] {
                    let found = run(dtype, &hyper, &values(0.0), &gradients, &device);
                    let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                    assert!(worst < tolerance, "{decay:?} {dtype:?}: {worst}");
                }
            }
        }
    }

    #[test]
    fn a_loss_that_is_not_finite_changes_nothing() {
        let hyper = AdamHyper { learning_rate: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1, decay: Decay::Decoupled };
        for dtype in [DType::F32, DType::F64] {
            let tensor = |value: f64| Tensor::<2>::full([2, 3], value, (&Device::flex(), dtype));
            let [finite, not_finite] = [1.0, 0.0].map(|flag| Tensor::<1>::full([1], flag, (&Device::flex(), dtype)));
            let mut moments = Moments::zeros(&tensor(0.0));
            let first = adam_update(tensor(1.0), tensor(2.0), &mut moments, &hyper, &finite);
            let (before, remembered) = (first.to_data(), moments.clone());
            let second = adam_update(first, tensor(f64::NAN), &mut moments, &hyper, &not_finite);
            assert_eq!(second.into_data(), before, "{dtype:?}");
            assert_eq!(moments.first.into_data(), remembered.first.into_data());
            assert_eq!(moments.second.into_data(), remembered.second.into_data());
        }
    }

    #[test]
    fn a_copy_of_the_parameter_is_left_alone() {
        let param = Tensor::<1>::ones([3], &Device::flex());
        let hyper = AdamHyper { learning_rate: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decay: Decay::Coupled };
        let mut moments = Moments::zeros(&param);
        let updated = adam_update(param.clone(), param.clone(), &mut moments, &hyper, &Tensor::ones([1], &Device::flex()));
        assert_eq!(param.into_data().try_to_vec::<f32>().unwrap(), [1.0; 3]);
        assert!(updated.into_data().try_to_vec::<f32>().unwrap().iter().all(|p| (p - 0.9).abs() < 1e-6));
    }
}
