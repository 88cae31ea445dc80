//! Maps of embeddings in two dimensions.

use bhtsne::{Neighbor, tSNE};
use rand::seq::SliceRandom;

use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::random::{Purpose, generator};
use crate::search::nearest;
use crate::search::pca::Pca;

/// Points on a map at most: more cover each other.
pub const POINTS: usize = 2000;

const PERPLEXITY: f64 = 30.0;
const THETA: f64 = 0.5;
const STEPS: usize = 750;

/// The two directions of largest variance among the first `fit` rows, and the share of their variance that lies along them.
/// Coordinates are those of all rows.
///
/// # Errors
/// No row to fit.
pub fn pca(embeddings: &Embeddings, fit: usize) -> Result<(Vec<[f64; 2]>, f64)> {
    let dim = embeddings.dim();
    let components = Pca::fit(&embeddings.values()[..fit.min(embeddings.rows()) * dim], dim)?;
    let count = dim.min(2);
    let projected = components.project(embeddings.values(), count);
    let points = projected.chunks_exact(count).map(|row| [row[0].into(), row.get(1).map_or(0.0, |&y| y.into())]).collect();
    let total: f64 = components.variances.iter().sum();
    Ok((points, if total > 0.0 { components.variances[..count].iter().sum::<f64>() / total } else { 0.0 }))
}

/// t-SNE (van der Maaten and Hinton, JMLR 2008; Barnes-Hut approximation) that starts from `initial`, the principal coordinates: the
/// same embeddings give the same map.
///
/// # Errors
/// Fewer than five rows, or not one starting point for each.
pub fn t_sne(embeddings: &Embeddings, initial: &[[f64; 2]]) -> Result<Vec<[f64; 2]>> {
    let rows = embeddings.rows();
    if rows < 5 || initial.len() != rows {
        return Err(Error::mismatch("points of a map", format!("{rows} rows, {} starting points", initial.len()), "as many, at least 5"));
    }
    let perplexity = PERPLEXITY.min((rows - 1) as f64 / 3.0);
    let k = ((3.0 * perplexity) as usize).clamp(1, rows - 1);
    // Rows of length one: |a - b|² = 2 - 2 cos.
    let distance = |cosine: f32| (2.0 - 2.0 * f64::from(cosine)).max(0.0).sqrt();
    let neighbours: Vec<Vec<Neighbor<f64>>> = nearest(embeddings, embeddings, k, true)?
        .into_iter()
        .map(|row| row.into_iter().map(|found| Neighbor { index: found.index, distance: distance(found.similarity) }).collect())
        .collect();
    let spread = (initial.iter().map(|[x, _]| x * x).sum::<f64>() / rows as f64).sqrt().max(1e-12);
    // Copies of one picture start apart by a little, since points in one place cannot be pulled apart.
    let start: Vec<f64> = initial
        .iter()
        .enumerate()
        .flat_map(|(row, at)| at.map(|value| value / spread * 1e-2 + 1e-6 * ((row * 7919 % 1009) as f64 / 1009.0 - 0.5)))
        .collect();
    let data: Vec<usize> = (0..rows).collect();
    // One thread: the library's sums depend on how many there are.
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(|error| Error::Data(format!("no thread for a map: {error}")))?;
    let flat = pool.install(|| {
        let mut map = tSNE::<f64, usize, 2>::new(&data);
        map.perplexity(perplexity).epochs(STEPS).learning_rate((rows as f64 / 12.0).max(50.0)).initial_embedding(start);
        map.barnes_hut_with_neighbors(THETA, &neighbours);
        map.embedding()
    });
    Ok(flat.as_chunks::<2>().0.to_vec())
}

/// Rows for a map: whole classes, drawn by `seed`, until `points` are reached; ascending. At least one class, of which as many rows as fit.
pub fn sample_classes(labels: &[usize], points: usize, seed: u64) -> Vec<usize> {
    if labels.len() <= points {
        return (0..labels.len()).collect();
    }
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by_key(|&row| (labels[row], row));
    let mut classes: Vec<&[usize]> = order.chunk_by(|&a, &b| labels[a] == labels[b]).collect();
    classes.shuffle(&mut generator(seed, Purpose::Sample, 1, 0, 0));
    let mut rows = Vec::new();
    for class in classes {
        if !rows.is_empty() && rows.len() + class.len() > points {
            break;
        }
        rows.extend(class.iter().take(points));
    }
    rows.sort_unstable();
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    fn clusters(rows: usize) -> Embeddings {
        let mut random = generator(6, Purpose::Sample, 0, 0, 0);
        let value = |row: usize, at: usize| if at == row % 3 { 1.0 } else { 0.0 };
        let values = (0..rows).flat_map(|row| (0..8).map(|at| value(row, at) + random.random_range(-0.1..0.1f32)).collect::<Vec<_>>());
        Embeddings::new(values.collect(), rows, 8).unwrap()
    }

    /// The mean distance within a cluster over that between clusters.
    fn ratio(points: &[[f64; 2]]) -> f64 {
        let mut sums = [[0.0; 2]; 2];
        for (i, a) in points.iter().enumerate() {
            for (j, b) in points.iter().enumerate().filter(|&(j, _)| j != i) {
                let sum = &mut sums[usize::from(i % 3 != j % 3)];
                sum[0] += (a[0] - b[0]).hypot(a[1] - b[1]);
                sum[1] += 1.0;
            }
        }
        sums[0][0] / sums[0][1] / (sums[1][0] / sums[1][1])
    }

    #[test]
    fn both_maps_keep_clusters_together_and_are_made_again_exactly() {
        let set = clusters(150);
        let (start, share) = pca(&set, 150).unwrap();
        assert!(ratio(&start) < 0.3 && share > 0.8, "{} {share}", ratio(&start));
        let found = t_sne(&set, &start).unwrap();
        assert!(ratio(&found) < 0.5, "{}", ratio(&found));
        assert_eq!(found, t_sne(&set, &start).unwrap());
    }

    #[test]
    fn copies_and_few_points_do_no_harm() {
        let copies = Embeddings::new([1.0, 0.5].repeat(40), 40, 2).unwrap();
        let (start, share) = pca(&copies, 40).unwrap();
        assert!(share < 1.0 + 1e-9 && t_sne(&copies, &start).unwrap().iter().flatten().all(|value| value.is_finite()));
        let few = clusters(5);
        assert_eq!(t_sne(&few, &pca(&few, 5).unwrap().0).unwrap().len(), 5);
        let fewer = clusters(4);
        assert!(t_sne(&fewer, &pca(&fewer, 4).unwrap().0).is_err());
        let line = Embeddings::new(vec![1.0, -1.0, 2.0], 3, 1).unwrap();
        assert_eq!(pca(&line, 3).unwrap().0.len(), 3);
    }

    #[test]
    fn whole_classes_are_drawn() {
        let labels: Vec<usize> = (0..1000).map(|row| row % 100).collect();
        let rows = sample_classes(&labels, 95, 0);
        assert_eq!(rows.len(), 90);
        assert!(rows.iter().all(|&row| rows.iter().filter(|&&other| labels[other] == labels[row]).count() == 10));
        assert_ne!(rows, sample_classes(&labels, 95, 1));
        assert_eq!(sample_classes(&[3; 50], 20, 0).len(), 20);
        assert_eq!(sample_classes(&labels, 1000, 0).len(), 1000);
    }
}
