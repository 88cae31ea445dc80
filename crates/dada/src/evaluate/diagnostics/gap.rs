//! Distances between two sets of points, such as samples and proxies: the gap between two domains.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::evaluate::diagnostics::points::{PointSet, dot};

/// Directions onto which [`sliced_wasserstein`] projects.
const DIRECTIONS: usize = 64;

/// Maximum mean discrepancy of two sets under a Gaussian kernel, whose width is the median distance of two points of both sets together
/// (Gretton et al., *A Kernel Two-Sample Test*, JMLR 2012; the biased estimate, a distance ≥ 0).
pub fn mmd(a: PointSet, b: PointSet) -> f64 {
    let point = |index: usize| if index < a.rows() { a.row(index) } else { b.row(index - a.rows()) };
    let count = a.rows() + b.rows();
    let norms: Vec<f64> = (0..count).map(|index| dot(point(index), point(index))).collect();
    let mut squares = Vec::with_capacity(count * (count - 1) / 2);
    for i in 0..count {
        for j in 0..i {
            squares.push((norms[i] + norms[j] - 2.0 * dot(point(i), point(j))).max(0.0));
        }
    }
    let mut sorted = squares.clone();
    let middle = sorted.len() / 2;
    let width = *sorted.select_nth_unstable_by(middle, f64::total_cmp).1;
    let (mut within_a, mut within_b, mut between) = (a.rows() as f64, b.rows() as f64, 0.0);
    let mut pairs = squares.iter();
    for i in 0..count {
        for (j, square) in (0..i).zip(&mut pairs) {
            let kernel = (-square / width.max(f64::MIN_POSITIVE)).exp();
            // j < i: where point i is of the first set, so is point j.
            if i < a.rows() {
                within_a += 2.0 * kernel;
            } else if j < a.rows() {
                between += kernel;
            } else {
                within_b += 2.0 * kernel;
            }
        }
    }
    let (n, m) = (a.rows() as f64, b.rows() as f64);
    (within_a / (n * n) + within_b / (m * m) - 2.0 * between / (n * m)).max(0.0).sqrt()
}

/// Mean over random directions of the distance by which one set's projection has to be moved to become the other's (Bonneel et al.,
/// *Sliced and Radon Wasserstein Barycenters*, 2015; order 1). The sets have equally many rows.
pub fn sliced_wasserstein(a: PointSet, b: PointSet, random: &mut ChaCha8Rng) -> f64 {
    let distance = |direction: &[f32]| {
        let projected = |set: PointSet| {
            let mut values: Vec<f64> = (0..set.rows()).map(|row| dot(set.row(row), direction)).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let moved: f64 = projected(a).iter().zip(projected(b)).map(|(a, b)| (a - b).abs()).sum();
        moved / a.rows() as f64
    };
    let mut sum = 0.0;
    for _ in 0..DIRECTIONS {
        let mut direction: Vec<f32> = (0..a.dim).map(|_| StandardNormal.sample(random)).collect();
        let length = dot(&direction, &direction).sqrt() as f32;
        direction.iter_mut().for_each(|value| *value /= length);
        sum += distance(&direction);
    }
    sum / DIRECTIONS as f64
}

/// Share of points that a freshly trained linear classifier assigns to the right set, the mean of both sets' shares; 0.5 where they
/// cannot be told apart. `groups` numbers the class of each row: the classifier is trained on one half of the classes and asked about the
/// other, and the other way round. The proxy A-distance (Ben-David et al., 2007) is 2 (2 accuracy - 1).
///
/// Half of one for fewer than two classes.
pub fn probe_accuracy(a: PointSet, b: PointSet, groups: [&[usize]; 2], random: &mut ChaCha8Rng) -> f64 {
    let mut classes: Vec<usize> = groups.concat();
    classes.sort_unstable();
    classes.dedup();
    if classes.len() < 2 {
        return 0.5;
    }
    let mut half = std::collections::HashMap::new();
    for last in (1..classes.len()).rev() {
        classes.swap(last, random.random_range(0..=last));
    }
    for (place, &class) in classes.iter().enumerate() {
        half.insert(class, place % 2);
    }
    let rows = |set: PointSet, groups: &[usize], wanted: usize| -> Vec<usize> {
        (0..set.rows()).filter(|&row| half[&groups[row]] == wanted).collect()
    };
    let mut sum = 0.0;
    for trained in [0, 1] {
        let plane = separate((a, &rows(a, groups[0], trained)), (b, &rows(b, groups[1], trained)));
        let share = |set: PointSet, groups: &[usize], sign: f64| {
            let asked = rows(set, groups, 1 - trained);
            let right = asked.iter().filter(|&&row| sign * plane.score(set.row(row)) > 0.0).count();
            right as f64 / asked.len().max(1) as f64
        };
        sum += (share(a, groups[0], 1.0) + share(b, groups[1], -1.0)) / 2.0;
    }
    sum / 2.0
}

struct Plane {
    normal: Vec<f32>,
    offset: f64,
}

impl Plane {
    fn score(&self, row: &[f32]) -> f64 {
        dot(&self.normal, row) + self.offset
    }
}

/// Logistic regression by gradient descent; both sets weigh the same.
fn separate(a: (PointSet, &[usize]), b: (PointSet, &[usize])) -> Plane {
    const STEPS: usize = 200;
    const RATE: f64 = 4.0;
    const DECAY: f64 = 1e-3;
    let dim = a.0.dim;
    let mut plane = Plane { normal: vec![0.0; dim], offset: 0.0 };
    for _ in 0..STEPS {
        let mut gradient = vec![0.0f32; dim];
        let mut shift = 0.0;
        for ((set, rows), target) in [(a, 1.0), (b, 0.0)] {
            for &row in rows {
                let values = set.row(row);
                let error = (1.0 / (1.0 + (-plane.score(values)).exp()) - target) / (2 * rows.len()) as f64;
                shift += error;
                gradient.iter_mut().zip(values).for_each(|(sum, value)| *sum += error as f32 * value);
            }
        }
        let decayed = |(weight, gradient): (&mut f32, f32)| *weight -= (RATE * (f64::from(gradient) + DECAY * f64::from(*weight))) as f32;
        plane.normal.iter_mut().zip(gradient).for_each(decayed);
        plane.offset -= RATE * shift;
    }
    plane
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};

    fn normal(rows: usize, shift: f32, seed: u64) -> Vec<f32> {
        let mut random = generator(seed, Purpose::Probe, 0, 0, 0);
        (0..rows * 4)
            .map(|at| {
                let value: f32 = StandardNormal.sample(&mut random);
                value + if at % 4 == 0 { shift } else { 0.0 }
            })
            .collect()
    }

    fn set(values: &[f32]) -> PointSet<'_> {
        PointSet { values, dim: 4 }
    }

    #[test]
    fn every_distance_grows_with_the_gap_and_vanishes_without_one() {
        let a = normal(200, 0.0, 1);
        let groups: Vec<usize> = (0..200).map(|row| row / 5).collect();
        let measured = |b: &[f32]| {
            let mut random = generator(3, Purpose::Probe, 0, 0, 0);
            let accuracy = probe_accuracy(set(&a), set(b), [&groups, &groups], &mut random);
            [mmd(set(&a), set(b)), sliced_wasserstein(set(&a), set(b), &mut random), accuracy]
        };
        let same = measured(&a);
        assert!(same[0] < 1e-6 && same[1] < 1e-6 && (same[2] - 0.5).abs() < 0.1, "{same:?}");
        let [none, near, far] = [0.0, 1.0, 6.0].map(|shift| measured(&normal(200, shift, 2)));
        for at in 0..3 {
            assert!(none[at] < near[at] && near[at] < far[at], "{none:?} {near:?} {far:?}");
        }
        assert!(far[2] > 0.97, "{far:?}");
    }

    #[test]
    fn distances_are_those_of_their_definitions() {
        // Two points each, on a line: all six distances are known.
        let (a, b) = ([0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0]);
        let squares = [[0.0, 1.0, 4.0, 9.0], [1.0, 0.0, 1.0, 4.0], [4.0, 1.0, 0.0, 1.0], [9.0, 4.0, 1.0, 0.0f64]];
        let width = 4.0; // the fourth of 1 1 1 4 4 9
        let sign = |index: usize| if index < 2 { 0.5 } else { -0.5 };
        let expected: f64 = (0..4).flat_map(|i| (0..4).map(move |j| sign(i) * sign(j) * (-squares[i][j] / width).exp())).sum();
        assert!((mmd(set(&a), set(&b)) - expected.sqrt()).abs() < 1e-12);
        // Every projection is moved by 2 |cos| of its direction.
        let mut random = generator(5, Purpose::Probe, 0, 0, 0);
        let moved = sliced_wasserstein(set(&a), set(&b), &mut random);
        assert!((0.5..1.2).contains(&moved), "{moved}: 2 times the mean of |cos| in four dimensions, 0.42");
    }
}
