//! Principal components: along which directions vectors spread most.

use dada_compute::symmetric_eigen;
use gemm::Parallelism;
use rayon::prelude::*;

use crate::error::{Error, Result};

/// Rows brought to float64 at a time.
const CHUNK: usize = 1024;

/// Principal components of a set of vectors: the eigenvectors of their covariance.
#[derive(Clone, Debug)]
pub struct Pca {
    /// The mean vector, `[dim]`.
    pub mean: Vec<f64>,
    /// Variance along each component, falling, `[dim]`.
    pub variances: Vec<f64>,
    /// The components as rows, orthonormal, `[dim, dim]`, also where there is no variance. The largest entry of each is positive.
    pub components: Vec<f64>,
}

impl Pca {
    /// The components of `values`, row-major `[rows, dim]`. Time: O(rows dim² + dim³).
    ///
    /// # Errors
    /// No row, or rows that are not all there or not finite.
    pub fn fit(values: &[f32], dim: usize) -> Result<Self> {
        if values.is_empty() || dim == 0 || !values.len().is_multiple_of(dim) {
            return Err(Error::mismatch("vectors", format!("{} values", values.len()), format!("rows of {dim}, at least one")));
        }
        let rows = (values.len() / dim) as f64;
        let mut mean = vec![0.0; dim];
        for row in values.chunks_exact(dim) {
            mean.iter_mut().zip(row).for_each(|(mean, &value)| *mean += f64::from(value) / rows);
        }
        let mut covariance = vec![0.0; dim * dim];
        let mut centred = Vec::new();
        for chunk in values.chunks(CHUNK * dim) {
            centred.clear();
            centred.extend(chunk.chunks_exact(dim).flat_map(|row| row.iter().zip(&mean).map(|(&value, mean)| f64::from(value) - mean)));
            accumulate(&mut covariance, &centred, dim);
        }
        covariance.iter_mut().for_each(|value| *value /= rows);
        let (values, vectors) = symmetric_eigen(covariance, dim);
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Error::Data("vectors whose covariance is not finite have no spectrum".into()));
        }
        let mut order: Vec<usize> = (0..dim).collect();
        order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
        let component = |&index: &usize| {
            let vector = &vectors[index * dim..][..dim];
            let largest = vector.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(1.0);
            vector.iter().map(move |value| value * largest.signum())
        };
        let components = order.iter().flat_map(component).collect();
        Ok(Self { mean, variances: order.iter().map(|&index| values[index].max(0.0)).collect(), components })
    }

    /// The layer y = W x + b that gives a vector's coordinates along the first `count` components, from the mean: (W `[count, dim]`, b `[count]`).
    pub fn projection(&self, count: usize) -> (Vec<f32>, Vec<f32>) {
        let components = &self.components[..count * self.mean.len()];
        let bias = components.chunks_exact(self.mean.len()).map(|component| -dot(component, &self.mean) as f32);
        (components.iter().map(|&value| value as f32).collect(), bias.collect())
    }

    /// Coordinates of `values` `[rows, dim]` along the first `count` components, from the mean: `[rows, count]`.
    pub fn project(&self, values: &[f32], count: usize) -> Vec<f32> {
        let dim = self.mean.len();
        let offsets: Vec<f64> = self.components.chunks_exact(dim).take(count).map(|component| dot(component, &self.mean)).collect();
        let along = |row: &[f32]| {
            let row: Vec<f64> = row.iter().map(|&value| value.into()).collect();
            let components = self.components.chunks_exact(dim).zip(&offsets);
            components.map(|(component, offset)| (dot(component, &row) - offset) as f32).collect::<Vec<f32>>()
        };
        values.par_chunks_exact(dim).flat_map_iter(along).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `covariance += centredᵀ centred`, for centred `[rows, dim]`.
fn accumulate(covariance: &mut [f64], centred: &[f64], dim: usize) {
    let (rows, stride) = (centred.len() / dim, dim as isize);
    assert_eq!((covariance.len(), centred.len()), (dim * dim, rows * dim));
    // SAFETY: the matrices have the sizes just asserted, the strides stay inside them, and the result is borrowed exclusively.
    unsafe {
        gemm::gemm(
            dim,
            dim,
            rows,
            covariance.as_mut_ptr(),
            stride,
            1,
            true,
            centred.as_ptr(),
            stride,
            1,
            centred.as_ptr(),
            1,
            stride,
            1.0_f64,
            1.0_f64,
            false,
            false,
            false,
            Parallelism::Rayon(0),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};
    use rand::RngExt;

    /// Independent columns with these deviations around 3.
    fn made(rows: usize, deviations: &[f32]) -> Vec<f32> {
        let mut random = generator(4, Purpose::Sample, 0, 0, 0);
        (0..rows).flat_map(|_| deviations.iter().map(|d| 3.0 + d * random.random_range(-1.0..1.0f32)).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn components_diagonalise_the_covariance_of_a_loop() {
        let (rows, dim) = (1500, 4);
        let mut values = made(rows, &[1.0, 0.2, 2.0, 0.5]);
        values.chunks_exact_mut(dim).for_each(|row| row[0] += row[2]);
        let found = Pca::fit(&values, dim).unwrap();
        let at = |row: usize, column: usize| f64::from(values[row * dim + column]);
        let mean: Vec<f64> = (0..dim).map(|c| (0..rows).map(|r| at(r, c)).sum::<f64>() / rows as f64).collect();
        assert!(mean.iter().zip(&found.mean).all(|(a, b)| (a - b).abs() < 1e-9));
        for a in 0..dim {
            for b in 0..dim {
                let (u, v) = (&found.components[a * dim..][..dim], &found.components[b * dim..][..dim]);
                let along = |row: usize, component: &[f64]| (0..dim).map(|c| (at(row, c) - mean[c]) * component[c]).sum::<f64>();
                let covariance = (0..rows).map(|row| along(row, u) * along(row, v)).sum::<f64>() / rows as f64;
                let wanted = if a == b { found.variances[a] } else { 0.0 };
                assert!((covariance - wanted).abs() < 1e-9, "{a} {b} {covariance} {wanted}");
            }
        }
        assert!(found.variances.is_sorted_by(|a, b| a >= b));
        let projected = found.project(&values, 2);
        assert_eq!(projected.len(), rows * 2);
        let first: f64 = projected.chunks(2).map(|row| f64::from(row[0]).powi(2)).sum::<f64>() / rows as f64;
        assert!((first / found.variances[0] - 1.0).abs() < 1e-5);
    }

    #[test]
    fn a_layer_of_full_dimension_keeps_the_cosines_of_centred_vectors() {
        // Fewer rows than dimensions: the components without variance have to be there too.
        let dim = 9;
        let found = Pca::fit(&made(5, &[1.0; 9]), dim).unwrap();
        assert!(found.variances[5..].iter().all(|variance| *variance < 1e-9));
        let (weight, bias) = found.projection(dim);
        let others = made(4, &[0.5; 9]);
        let rows: Vec<Vec<f64>> = others.chunks(dim).map(|row| row.iter().map(|&value| value.into()).collect()).collect();
        let centred: Vec<Vec<f64>> = rows.iter().map(|row| row.iter().zip(&found.mean).map(|(x, mean)| x - mean).collect()).collect();
        let layer = |row: &Vec<f64>| -> Vec<f64> {
            let weight = weight.chunks(dim).map(|w| w.iter().zip(row).map(|(&w, x)| f64::from(w) * x).sum::<f64>());
            weight.zip(&bias).map(|(sum, &b)| sum + f64::from(b)).collect()
        };
        let projected: Vec<Vec<f64>> = rows.iter().map(layer).collect();
        let cosine = |a: &[f64], b: &[f64]| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        for a in 0..4 {
            for b in 0..4 {
                assert!((cosine(&centred[a], &centred[b]) - cosine(&projected[a], &projected[b])).abs() < 1e-5);
            }
        }
        assert_eq!(found.projection(2), (weight[..2 * dim].to_vec(), bias[..2].to_vec()));
    }

    #[test]
    fn what_has_no_components_is_refused() {
        for (values, dim) in [(vec![], 3), (vec![1.0; 4], 3), (vec![f32::NAN; 4], 2)] {
            assert!(Pca::fit(&values, dim).is_err(), "{values:?}");
        }
    }
}
