//! Means over seeds, and how sure they are.

use serde::Serialize;

/// Mean and sample standard deviation.
pub fn mean_deviation(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (values.len() as f64 - 1.0).max(1.0)).sqrt())
}

/// A mean difference.
#[derive(Clone, Debug, Serialize)]
pub struct Paired {
    /// Mean difference.
    pub difference: f64,
    /// 95 % interval.
    pub interval: Option<(f64, f64)>,
}

/// Differences of pairs.
pub fn paired(ours: &[f64], theirs: &[f64]) -> Paired {
    let differences: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a - b).collect();
    let (difference, deviation) = mean_deviation(&differences);
    let t = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];
    let half = |n: usize| t[(n - 2).min(8)] * deviation / (n as f64).sqrt();
    let n = differences.len();
    Paired { difference, interval: (n > 1).then(|| (difference - half(n), difference + half(n))) }
}
