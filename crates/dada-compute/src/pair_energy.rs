//! The energy of all pairs of vectors with its gradient, without the matrix of all pairs.

use burn::Tensor;
use burn::tensor::TensorData;
use rayon::prelude::*;

use super::gemm::{Write, multiply};

/// Rows of one task; fixed, so that results do not depend on the number of threads.
const BLOCK: usize = 64;

/// The sum over all ordered pairs of different rows of `points` `[rows, dim]`, shape `[1]`, of the energy that `energy` gives for their inner
/// product and for whether they are of one class, with its derivative in the inner product.
///
/// Computed in float64 on the host, whatever the tensor's type and device, in memory that grows with the rows and not with their square.
/// Most pairs are expected to have a derivative of zero: only the others cost more than their inner product.
pub fn pair_energy(points: Tensor<2>, classes: &[usize], energy: impl Fn(f64, bool) -> (f64, f64) + Sync) -> Tensor<1> {
    let [rows, dim] = points.dims();
    assert!(classes.len() == rows, "{} classes for {rows} rows", classes.len());
    let (device, dtype) = (points.device(), points.dtype());
    let data = points.clone().detach().into_data().convert::<f64>();
    let values = data.as_slice::<f64>().expect("converted above");

    let mut gradient = vec![0.0; rows * dim];
    let blocks = gradient.par_chunks_mut((BLOCK * dim).max(1)).enumerate();
    let energies: Vec<f64> = blocks.map(|(block, gradient)| of_block(values, dim, classes, block * BLOCK, gradient, &energy)).collect();

    let gradient = Tensor::<2>::from_data(TensorData::new(gradient, [rows, dim]).convert_dtype(dtype), (&device, dtype));
    let slope = (points * gradient).sum();
    // The energy by value, and by gradient what the product has.
    slope.clone() - slope.detach() + energies.iter().sum::<f64>()
}

/// The energy of the rows from `first` on, as many as `gradient` has, with all others; their gradient is added to `gradient`.
fn of_block(
    values: &[f64],
    dim: usize,
    classes: &[usize],
    first: usize,
    gradient: &mut [f64],
    energy: impl Fn(f64, bool) -> (f64, f64),
) -> f64 {
    let (rows, height) = (classes.len(), gradient.len() / dim);
    let mut products = vec![0.0; height * rows];
    multiply([height, dim, rows], &mut products, rows, (&values[first * dim..], dim, 1), (values, 1, dim), Write::Replace);
    let mut sum = 0.0;
    for (at, (products, gradient)) in products.chunks_exact(rows).zip(gradient.chunks_exact_mut(dim)).enumerate() {
        let (at, class) = (first + at, classes[first + at]);
        for (other, product) in products.iter().enumerate().filter(|(other, _)| *other != at) {
            let (value, slope) = energy(*product, classes[other] == class);
            sum += value;
            if slope != 0.0 {
                // Each pair comes twice, and its energy depends on both of its ends.
                let vector = &values[other * dim..(other + 1) * dim];
                gradient.iter_mut().zip(vector).for_each(|(gradient, value)| *gradient += 2.0 * slope * value);
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device};

    #[test]
    fn equals_the_matrix_of_all_pairs_whatever_the_number_of_rows() {
        let device = Device::default().autodiff();
        for rows in [1, 2, BLOCK, 2 * BLOCK + 7] {
            let values: Vec<f64> = (0..rows * 3).map(|i| (i as f64 * 1.7).sin()).collect();
            let classes: Vec<usize> = (0..rows).map(|row| row % 5).collect();
            let leaf = || Tensor::<2>::from_data(TensorData::new(values.clone(), [rows, 3]), (&device, DType::F64)).require_grad();
            // Cubes within a class, squares between classes.
            let energy = |product: f64, same: bool| {
                if same { (product.powi(3), 3.0 * product.powi(2)) } else { (product.powi(2), 2.0 * product) }
            };
            let marks = |mark: fn(usize, usize, &[usize]) -> bool| {
                let marks = (0..rows * rows).map(|at| f64::from(u8::from(mark(at / rows, at % rows, &classes))));
                Tensor::<2>::from_data(TensorData::new(marks.collect(), [rows, rows]), (&device, DType::F64))
            };
            let same = marks(|a, b, classes| a != b && classes[a] == classes[b]);
            let different = marks(|a, b, classes| classes[a] != classes[b]);
            let (x, y) = (leaf(), leaf());
            let ours = pair_energy(x.clone(), &classes, energy);
            let products = y.clone().matmul(y.clone().transpose());
            let expected = (products.clone().powi_scalar(3) * same + products.powi_scalar(2) * different).sum();
            let scalar = |tensor: &Tensor<1>| tensor.clone().into_scalar::<f64>();
            assert!((scalar(&ours) - scalar(&expected)).abs() < 1e-9 * scalar(&expected).abs().max(1.0), "{rows} rows");
            let slopes =
                |leaf: Tensor<2>, value: Tensor<1>| -> Vec<f64> { leaf.grad(&value.backward()).unwrap().into_data().try_to_vec().unwrap() };
            let (ours, expected) = (slopes(x, ours), slopes(y, expected));
            assert!(ours.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-9), "{rows} rows");
        }
    }
}
