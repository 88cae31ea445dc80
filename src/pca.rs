//! Principal components of features: the projection that a head on pre-trained features starts from.

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::compute::symmetric_eigen;
use crate::error::{Error, Result};

/// Rows that are brought to float64 at a time.
const CHUNK: usize = 1024;

/// The directions in which a set of features varies most.
#[derive(Clone, Debug)]
pub struct Components {
    /// Of each feature, `[features]`.
    pub mean: Vec<f64>,
    /// Orthonormal directions as rows `[count, features]`, the one with most variance first.
    pub directions: Vec<f64>,
    /// The variance along each direction, `[count]`.
    pub variances: Vec<f64>,
}

/// The `count` principal components of `rows` `[n, features]`. Where fewer directions than that have any variance, the others are
/// orthonormal to them, so that new pictures may differ there.
///
/// The sign of a direction is fixed by its largest entry, which is positive.
///
/// # Errors
/// Fewer features than components, no row, and a feature that is not finite.
pub fn principal_components(rows: &[f32], features: usize, count: usize, device: &Device) -> Result<Components> {
    if count > features {
        let expected = format!("at most the {features} features of the backbone: set encoder.dim or encoder.head_init");
        return Err(Error::mismatch("dimensions of a PCA", count, expected));
    }
    if rows.is_empty() || !rows.len().is_multiple_of(features) {
        return Err(Error::mismatch("features for a PCA", format!("{} values", rows.len()), format!("rows of {features}")));
    }
    let n = (rows.len() / features) as f64;
    let mut mean = vec![0.0; features];
    for row in rows.chunks_exact(features) {
        mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += f64::from(*value) / n);
    }
    let mut covariance = Tensor::<2>::zeros([features; 2], (device, DType::F64));
    for chunk in rows.chunks(CHUNK * features) {
        let centred: Vec<f64> =
            chunk.chunks_exact(features).flat_map(|row| row.iter().zip(&mean).map(|(x, mean)| f64::from(*x) - mean)).collect();
        let shape = [chunk.len() / features, features];
        let centred = Tensor::<2>::from_data(TensorData::new(centred, shape), (device, DType::F64));
        covariance = covariance + centred.clone().transpose().matmul(centred);
    }
    let covariance = (covariance / n).into_data().try_into_vec_as::<f64>().expect("a float64 tensor holds float64");
    let (values, vectors) = symmetric_eigen(covariance, features);
    if values.iter().any(|value| !value.is_finite()) {
        return Err(Error::Data("features for a PCA are not finite".to_owned()));
    }
    let mut order: Vec<usize> = (0..features).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order.truncate(count);
    let direction = |index: &usize| {
        let vector = &vectors[index * features..][..features];
        let largest = vector.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(1.0);
        vector.iter().map(move |value| value * largest.signum())
    };
    let directions = order.iter().flat_map(direction).collect();
    Ok(Components { mean, directions, variances: order.iter().map(|&index| values[index].max(0.0)).collect() })
}

impl Components {
    /// The projection y = W x + b onto the components, centred: (W `[count, features]`, b `[count]`).
    pub fn projection(&self) -> (Vec<f32>, Vec<f32>) {
        let bias = self
            .directions
            .chunks_exact(self.mean.len())
            .map(|row| -row.iter().zip(&self.mean).map(|(w, mean)| w * mean).sum::<f64>() as f32);
        (self.directions.iter().map(|value| *value as f32).collect(), bias.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};
    use rand::RngExt;

    /// Features with a mean, some of them correlated.
    fn features(n: usize, count: usize) -> Vec<f32> {
        let mut rng = generator(3, Purpose::Initialise, 0, 0, 0);
        let mut row = || -> Vec<f32> {
            let mut row: Vec<f32> = (0..count).map(|i| (i as f32 + 1.0) * rng.random_range(-1.0f32..1.0) + 2.0).collect();
            row[0] += 0.5 * row[count - 1];
            row
        };
        (0..n).flat_map(|_| row()).collect()
    }

    fn project(components: &Components, row: &[f32]) -> Vec<f64> {
        let (weight, bias) = components.projection();
        let dot = |w: &[f32]| w.iter().zip(row).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        weight.chunks_exact(row.len()).zip(&bias).map(|(w, b)| dot(w) + f64::from(*b)).collect()
    }

    fn cosine(a: &[f64], b: &[f64]) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn components_agree_with_power_iteration_on_a_loop_covariance() {
        let (n, d) = (1500, 6);
        let rows = features(n, d);
        let found = principal_components(&rows, d, 3, &Device::flex()).unwrap();
        let at = |row: usize, column: usize| f64::from(rows[row * d + column]);
        let mean: Vec<f64> = (0..d).map(|c| (0..n).map(|r| at(r, c)).sum::<f64>() / n as f64).collect();
        let mut covariance = vec![vec![0.0; d]; d];
        for i in 0..d {
            for j in 0..d {
                covariance[i][j] = (0..n).map(|r| (at(r, i) - mean[i]) * (at(r, j) - mean[j])).sum::<f64>() / n as f64;
            }
        }
        for component in 0..3 {
            let mut v = vec![1.0; d];
            let mut value = 0.0;
            for _ in 0..3000 {
                let next: Vec<f64> = covariance.iter().map(|row| row.iter().zip(&v).map(|(a, b)| a * b).sum()).collect();
                value = next.iter().map(|x| x * x).sum::<f64>().sqrt();
                v = next.iter().map(|x| x / value).collect();
            }
            assert!((found.variances[component] / value - 1.0).abs() < 1e-6);
            let direction = &found.directions[component * d..][..d];
            assert!((cosine(direction, &v).abs() - 1.0).abs() < 1e-6);
            for i in 0..d {
                for j in 0..d {
                    covariance[i][j] -= value * v[i] * v[j];
                }
            }
        }
    }

    #[test]
    fn a_head_of_full_dimension_keeps_the_cosines_of_centred_features() {
        // Fewer rows than features: the directions without variance have to be there too.
        let d = 9;
        let rows = features(5, d);
        let found = principal_components(&rows, d, d, &Device::flex()).unwrap();
        assert!(found.variances[5..].iter().all(|variance| *variance < 1e-9));
        let others = features(4, d);
        let centred: Vec<Vec<f64>> =
            others.chunks_exact(d).map(|row| row.iter().zip(&found.mean).map(|(x, mean)| f64::from(*x) - mean).collect()).collect();
        let projected: Vec<Vec<f64>> = others.chunks_exact(d).map(|row| project(&found, row)).collect();
        for a in 0..4 {
            for b in 0..4 {
                assert!((cosine(&centred[a], &centred[b]) - cosine(&projected[a], &projected[b])).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn what_cannot_be_projected_is_refused() {
        let device = Device::flex();
        let message = principal_components(&[1.0; 6], 3, 4, &device).unwrap_err().to_string();
        assert!(message.contains("found 4") && message.contains("at most the 3 features"), "{message}");
        assert!(principal_components(&[], 3, 2, &device).is_err());
        assert!(principal_components(&[1.0; 5], 3, 2, &device).is_err());
        assert!(principal_components(&[1.0, 2.0, f32::NAN], 3, 2, &device).unwrap_err().to_string().contains("finite"));
    }

    #[test]
    #[ignore = "a measurement: seconds for the largest heads"]
    fn time_of_1280_features() {
        let rows = features(4000, 1280);
        let started = std::time::Instant::now();
        principal_components(&rows, 1280, 512, &Device::flex()).unwrap();
        println!("1280 features: {:.1} s", started.elapsed().as_secs_f64());
    }
}
