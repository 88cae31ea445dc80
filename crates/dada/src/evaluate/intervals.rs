//! How far a figure can be trusted: intervals over seeds, over queries, and for the difference of two models.
//!
//! Everything is a pure function of numbers. Between seeds Student's t is used (few, roughly normal values), between queries the
//! percentile bootstrap (many values, mostly zeros and ones).

use rand::RngExt;
use rayon::prelude::*;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::error::{Error, Result};
use crate::random::{Purpose, generator};

/// Lower and upper end.
pub type Interval = (f64, f64);

/// The mean, and the deviation of a single value from it (with n - 1 in the denominator; NaN for a single value).
pub fn mean_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, if values.len() > 1 { (squares / (count - 1.0)).sqrt() } else { f64::NAN })
}

/// The 95 % interval of the mean of independent values, by Student's t; NaN for fewer than two.
pub fn interval95(values: &[f64]) -> Interval {
    if values.len() < 2 {
        return (f64::NAN, f64::NAN);
    }
    let (mean, deviation) = mean_deviation(values);
    let half = student_quantile(values.len() - 1) * deviation / (values.len() as f64).sqrt();
    (mean - half, mean + half)
}

/// How two models differ that were measured under the same conditions: the same seeds, folds or queries.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Paired {
    /// Mean of second minus first.
    pub difference: f64,
    /// 95 % interval of that mean. Without zero in it, the difference is not explained by chance alone.
    pub interval: Interval,
}

impl Paired {
    /// Whether zero lies outside of the interval.
    pub fn is_clear(&self) -> bool {
        self.interval.0 > 0.0 || self.interval.1 < 0.0
    }
}

/// Compares values that belong together pair by pair, as those of two models under each of several seeds: the t interval of their
/// differences, `second - first`.
///
/// # Errors
/// Lists of different length, or no pair.
pub fn paired(first: &[f64], second: &[f64]) -> Result<Paired> {
    let differences = differences(first, second)?;
    Ok(Paired { difference: mean_deviation(&differences).0, interval: interval95(&differences) })
}

fn differences(first: &[f64], second: &[f64]) -> Result<Vec<f64>> {
    if first.len() != second.len() {
        return Err(Error::mismatch("values to compare", second.len(), format!("{}, one for each of the first", first.len())));
    }
    if first.is_empty() {
        return Err(Error::Data("nothing to compare".into()));
    }
    Ok(first.iter().zip(second).map(|(first, second)| second - first).collect())
}

/// The 97.5 % point of Student's t with `freedom` degrees of freedom (at least 1).
fn student_quantile(freedom: usize) -> f64 {
    let student = StudentsT::new(0.0, 1.0, freedom as f64).expect("a positive number of degrees of freedom is allowed");
    student.inverse_cdf(0.975)
}

/// How to resample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bootstrap {
    /// Resamples; the ends of an interval are the 2.5 % and 97.5 % points of their means.
    pub resamples: usize,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1000, seed: 0 }
    }
}

/// 95 % intervals of the means of several figures of the same items, such as the metrics of queries: `rows` is row-major
/// `[items, figures]`. An item is drawn with all its figures, so that intervals belong together.
///
/// The result depends on the seed alone, not on the number of threads.
///
/// # Errors
/// No item, no resample, or rows that are not all there.
pub fn bootstrap(rows: &[f64], figures: usize, config: &Bootstrap) -> Result<Vec<Interval>> {
    if rows.is_empty() || figures == 0 || !rows.len().is_multiple_of(figures) {
        return Err(Error::mismatch("figures to resample", format!("{} values", rows.len()), format!("rows of {figures}, at least one")));
    }
    if config.resamples == 0 {
        return Err(Error::mismatch("resamples of the bootstrap", 0, "at least 1"));
    }
    let items = rows.len() / figures;
    let resample = |number: usize| {
        let mut random = generator(config.seed, Purpose::Bootstrap, 0, 0, number);
        let mut sums = vec![0.0; figures];
        for _ in 0..items {
            let item = random.random_range(0..items);
            sums.iter_mut().zip(&rows[item * figures..]).for_each(|(sum, value)| *sum += value);
        }
        sums.iter_mut().for_each(|sum| *sum /= items as f64);
        sums
    };
    let means: Vec<Vec<f64>> = (0..config.resamples).into_par_iter().map(resample).collect();
    let interval = |figure: usize| {
        let mut sorted: Vec<f64> = means.iter().map(|means| means[figure]).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        (quantile(&sorted, 0.025), quantile(&sorted, 0.975))
    };
    Ok((0..figures).map(interval).collect())
}

/// Compares two models query by query: `first` and `second` are row-major `[queries, figures]`, in the same order of queries.
///
/// # Errors
/// Lists of different length, and those of [`bootstrap`].
pub fn paired_bootstrap(first: &[f64], second: &[f64], figures: usize, config: &Bootstrap) -> Result<Vec<Paired>> {
    let differences = differences(first, second)?;
    let intervals = bootstrap(&differences, figures, config)?;
    let mean = |figure: usize| {
        let own = differences.iter().skip(figure).step_by(figures);
        own.clone().sum::<f64>() / own.count() as f64
    };
    Ok(intervals.into_iter().enumerate().map(|(figure, interval)| Paired { difference: mean(figure), interval }).collect())
}

/// A quantile of ascending values, between two of them by proportion.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn quantiles_of_student_are_those_of_the_tables() {
        let table =
            [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (5, 2.5706), (9, 2.2622), (30, 2.0423), (120, 1.9799), (5000, 1.9604)];
        for (freedom, wanted) in table {
            assert!((student_quantile(freedom) - wanted).abs() < 1e-4, "{freedom}: {}", student_quantile(freedom));
        }
    }

    #[test]
    fn five_values_by_hand() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0];
        let (mean, deviation) = mean_deviation(&values);
        assert!((mean - 3.0).abs() < 1e-12 && (deviation - 2.5f64.sqrt()).abs() < 1e-12);
        let half = 2.776445 * (2.5f64 / 5.0).sqrt();
        let (low, high) = interval95(&values);
        assert!((low - (3.0 - half)).abs() < 1e-5 && (high - (3.0 + half)).abs() < 1e-5);
        assert!(interval95(&[1.0]).0.is_nan() && mean_deviation(&[1.0]).1.is_nan());
        let found = paired(&[0.5, 0.6, 0.7], &[0.6, 0.71, 0.82]).unwrap();
        assert!((found.difference - 0.11).abs() < 1e-12 && found.is_clear(), "{found:?}");
        assert!(!paired(&[0.5, 0.6], &[0.6, 0.5]).unwrap().is_clear());
        assert!(paired(&[1.0], &[1.0, 2.0]).is_err() && paired(&[], &[]).is_err());
    }

    /// The promise of the name: 95 of 100 intervals hold the true mean.
    #[test]
    fn intervals_hold_the_mean_as_often_as_they_say() {
        let trials = 2000;
        let (mut student, mut resampled) = (0, 0);
        for trial in 0..trials {
            let mut random = generator(9, Purpose::Sample, 0, 0, trial);
            let mut draw = |count: usize| -> Vec<f64> {
                (0..count).map(|_| 2.0 + Distribution::<f64>::sample(&StandardNormal, &mut random)).collect()
            };
            let holds = |(low, high): Interval| low <= 2.0 && 2.0 <= high;
            student += usize::from(holds(interval95(&draw(4))));
            let config = Bootstrap { resamples: 300, seed: trial as u64 };
            resampled += usize::from(holds(bootstrap(&draw(100), 1, &config).unwrap()[0]));
        }
        assert!((1880..1920).contains(&student), "{student}");
        assert!((1850..1910).contains(&resampled), "{resampled}");
    }

    #[test]
    fn figures_of_one_item_are_drawn_together_by_seed_alone() {
        let rows: Vec<f64> = (0..400).flat_map(|item| [f64::from(item % 3), f64::from(item % 3) * 2.0 + 1.0]).collect();
        let config = Bootstrap::default();
        let found = bootstrap(&rows, 2, &config).unwrap();
        assert!((found[1].0 - (2.0 * found[0].0 + 1.0)).abs() < 1e-9 && (found[1].1 - (2.0 * found[0].1 + 1.0)).abs() < 1e-9);
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(alone.install(|| bootstrap(&rows, 2, &config)).unwrap(), found);
        assert_ne!(bootstrap(&rows, 2, &Bootstrap { seed: 1, ..config }).unwrap(), found);
        let paired = paired_bootstrap(&rows, &rows.iter().map(|value| value + 0.5).collect::<Vec<_>>(), 2, &config).unwrap();
        assert!(paired.iter().all(|found| (found.difference - 0.5).abs() < 1e-12 && found.is_clear()), "{paired:?}");
        assert!(bootstrap(&[], 1, &config).is_err() && bootstrap(&rows, 3, &config).is_err());
        assert!(bootstrap(&rows, 2, &Bootstrap { resamples: 0, seed: 0 }).is_err());
    }
}
