//! U Vᵀ by another route, for tests.

use super::transposed;

/// The unevaluated sum of two numbers: 32 digits.
#[derive(Clone, Copy)]
struct Double(f64, f64);

impl Double {
    fn sum(a: f64, b: f64) -> Self {
        let sum = a + b;
        let of_b = sum - a;
        Self(sum, (a - (sum - of_b)) + (b - of_b))
    }

    fn plus(self, other: Self) -> Self {
        let high = Self::sum(self.0, other.0);
        Self::sum(high.0, high.1 + self.1 + other.1)
    }

    fn times(self, other: Self) -> Self {
        let product = self.0 * other.0;
        Self::sum(product, self.0.mul_add(other.0, -product) + self.0 * other.1 + self.1 * other.0)
    }

    fn over(self, other: Self) -> Self {
        let mut quotient = Self(self.0 / other.0, 0.0);
        for _ in 0..2 {
            let rest = self.plus(quotient.times(other).times(Self(-1.0, 0.0)));
            quotient = quotient.plus(Self(rest.0 / other.0, 0.0));
        }
        quotient
    }
}

/// U Vᵀ by Newton's iteration X ← (X + (X Xᵀ)⁻¹ X) / 2 with 32 digits, of a matrix of full rank.
pub fn newton(z: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    if rows > columns {
        return transposed(&newton(&transposed(z, rows, columns), columns, rows), columns, rows);
    }
    let mut x: Vec<Vec<Double>> = z.chunks(columns).map(|row| row.iter().map(|value| Double(*value, 0.0)).collect()).collect();
    for _ in 0..60 {
        // [X Xᵀ | X] by Gauss and Jordan.
        let mut system: Vec<Vec<Double>> = x
            .iter()
            .map(|a| {
                let product = |b: &Vec<Double>| a.iter().zip(b).fold(Double(0.0, 0.0), |sum, (a, b)| sum.plus(a.times(*b)));
                x.iter().map(product).chain(a.iter().copied()).collect()
            })
            .collect();
        for k in 0..rows {
            let pivot = (k..rows).max_by(|a, b| system[*a][k].0.abs().total_cmp(&system[*b][k].0.abs())).unwrap();
            system.swap(k, pivot);
            let lead = system[k].clone();
            for (i, row) in system.iter_mut().enumerate().filter(|(i, _)| *i != k) {
                let factor = row[k].over(lead[k]).times(Double(-1.0, 0.0));
                assert!(factor.0.is_finite(), "row {i}: the matrix lacks rank");
                row.iter_mut().zip(&lead).for_each(|(value, lead)| *value = value.plus(factor.times(*lead)));
            }
        }
        for (k, (x, row)) in x.iter_mut().zip(&system).enumerate() {
            for (x, inverse) in x.iter_mut().zip(&row[rows..]) {
                *x = x.plus(inverse.over(row[k])).times(Double(0.5, 0.0));
            }
        }
    }
    x.into_iter().flatten().map(|value| value.0).collect()
}

pub fn sample(len: usize, seed: u64) -> Vec<f64> {
    (0..len).map(|i| ((i as f64 + 1.0) * (12.9898 + seed as f64)).sin() * 43758.5453 % 1.0).collect()
}

pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}
