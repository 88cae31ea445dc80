//! How well clusters agree with classes: NMI, AMI and pair F1, as scikit-learn defines the first two.

use crate::error::{Error, Result};

/// Agreement of an assignment with the classes. Every figure is 1 for equal partitions, whatever the clusters are called.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Agreement {
    /// Mutual information over the arithmetic mean of both entropies.
    pub nmi: f64,
    /// The same, both sides less what is expected by chance (Vinh et al., JMLR 2010): 0 for a random assignment.
    pub ami: f64,
    /// Harmonic mean of precision and recall over pairs of items: is a pair of one class in one cluster?
    pub f1: f64,
}

/// Compares the classes of items with the clusters they were put into; both are any numbers.
///
/// # Errors
/// No items, or lists of different length.
pub fn agreement(labels: &[usize], clusters: &[usize]) -> Result<Agreement> {
    if labels.len() != clusters.len() {
        return Err(Error::mismatch("cluster assignment", clusters.len(), format!("{}, one for each label", labels.len())));
    }
    if labels.is_empty() {
        return Err(Error::Data("a clustering of no items has no score".into()));
    }
    let mut pairs: Vec<(usize, usize)> = labels.iter().copied().zip(clusters.iter().copied()).collect();
    pairs.sort_unstable();
    let cells: Vec<((usize, usize), usize)> = pairs.chunk_by(|a, b| a == b).map(|cell| (cell[0], cell.len())).collect();
    let (rows, columns) = (Sizes::of(labels), Sizes::of(clusters));
    let total = labels.len() as f64;
    let information: f64 = cells
        .iter()
        .map(|&((label, cluster), count)| {
            let count = count as f64;
            count / total * (total * count / (rows.size(label) * columns.size(cluster))).ln()
        })
        .sum();
    let entropy = (rows.entropy(total) + columns.entropy(total)) / 2.0;
    let expected = expected_information(&rows, &columns, labels.len());
    let pairs = |sizes: &mut dyn Iterator<Item = f64>| sizes.map(|size| size * (size - 1.0) / 2.0).sum::<f64>();
    let together = pairs(&mut cells.iter().map(|&(_, count)| count as f64));
    let either = pairs(&mut rows.0.iter().map(|&(_, size)| size as f64)) + pairs(&mut columns.0.iter().map(|&(_, size)| size as f64));
    // Equal partitions may have nothing to share: one group, or as many as items.
    let equal = cells.len() == rows.0.len() && cells.len() == columns.0.len();
    let share = |part: f64, whole: f64| if equal { 1.0 } else { part / whole };
    Ok(Agreement {
        nmi: share(information, entropy),
        ami: share(information - expected, entropy - expected),
        f1: share(2.0 * together, either),
    })
}

/// Names of groups, ascending, and how many items each has.
struct Sizes(Vec<(usize, usize)>);

impl Sizes {
    fn of(groups: &[usize]) -> Self {
        let mut sorted = groups.to_vec();
        sorted.sort_unstable();
        Self(sorted.chunk_by(|a, b| a == b).map(|group| (group[0], group.len())).collect())
    }

    fn size(&self, group: usize) -> f64 {
        let at = self.0.binary_search_by_key(&group, |&(name, _)| name).expect("sizes were counted from the same list");
        self.0[at].1 as f64
    }

    fn entropy(&self, total: f64) -> f64 {
        self.0.iter().map(|&(_, size)| size as f64 / total).map(|share| -share * share.ln()).sum()
    }

    /// Distinct sizes and how many groups have each.
    fn histogram(&self) -> Vec<(usize, f64)> {
        let mut sizes: Vec<usize> = self.0.iter().map(|&(_, size)| size).collect();
        sizes.sort_unstable();
        sizes.chunk_by(|a, b| a == b).map(|size| (size[0], size.len() as f64)).collect()
    }
}

/// Mutual information of random partitions with these sizes (Vinh et al., equation 24). Only the sizes enter, so that thousands
/// of groups of few distinct sizes cost no more than the distinct ones.
fn expected_information(rows: &Sizes, columns: &Sizes, total: usize) -> f64 {
    let mut sum = 0.0;
    let factorial: Vec<f64> = std::iter::once(0.0)
        .chain((1..=total).scan(0.0, |sum, n| {
            *sum += (n as f64).ln();
            Some(*sum)
        }))
        .collect();
    let (n, columns) = (total as f64, columns.histogram());
    for (a, rows) in rows.histogram() {
        for &(b, columns) in &columns {
            let fixed = factorial[a] + factorial[b] + factorial[total - a] + factorial[total - b] - factorial[total];
            for both in (a + b).saturating_sub(total).max(1)..=a.min(b) {
                let ways = factorial[both] + factorial[a - both] + factorial[b - both] + factorial[total + both - a - b];
                let information = both as f64 / n * (n * both as f64 / (a as f64 * b as f64)).ln();
                sum += rows * columns * information * (fixed - ways).exp();
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};
    use rand::RngExt;

    #[test]
    fn equal_partitions_agree_whatever_their_names() {
        for (labels, clusters) in [(vec![3, 3, 1, 7], vec![0, 0, 9, 2]), (vec![1; 5], vec![4; 5]), (vec![0, 1, 2], vec![2, 1, 0])] {
            assert_eq!(agreement(&labels, &clusters).unwrap(), Agreement { nmi: 1.0, ami: 1.0, f1: 1.0 });
        }
    }

    #[test]
    fn one_cluster_says_nothing_and_chance_is_worth_nothing() {
        let one = agreement(&[0, 0, 1, 1], &[5; 4]).unwrap();
        assert!(one.nmi.abs() < 1e-12 && one.ami.abs() < 1e-12);
        assert!((one.f1 - 0.5).abs() < 1e-12, "two of six pairs: precision 1/3, recall 1");
        let mut random = generator(0, Purpose::Cluster, 0, 0, 0);
        let mut draw = || (0..2000).map(|_| random.random_range(0..400)).collect::<Vec<usize>>();
        let chance = agreement(&draw(), &draw()).unwrap();
        assert!(chance.nmi > 0.5, "many small groups look alike: {}", chance.nmi);
        assert!(chance.ami.abs() < 0.02, "{}", chance.ami);
    }

    /// The expectation by its definition: the mean over all orders of one side.
    #[test]
    fn expected_information_is_the_mean_over_all_permutations() {
        let (labels, mut clusters) = ([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 1]);
        let mut orders = Vec::new();
        permute(&mut clusters, 0, &mut orders);
        let mutual = |clusters: &[usize]| -> f64 {
            let count = |of: &dyn Fn(usize) -> bool| (0..6).filter(|&item| of(item)).count() as f64;
            let cell = |label: usize, cluster: usize| {
                let both = count(&|item| labels[item] == label && clusters[item] == cluster);
                let apart = count(&|item| labels[item] == label) * count(&|item| clusters[item] == cluster);
                if both > 0.0 { both / 6.0 * (6.0 * both / apart).ln() } else { 0.0 }
            };
            (0..3).flat_map(|label| (0..2).map(move |cluster| (label, cluster))).map(|(label, cluster)| cell(label, cluster)).sum()
        };
        let wanted = orders.iter().map(|order| mutual(order)).sum::<f64>() / orders.len() as f64;
        let found = expected_information(&Sizes::of(&labels), &Sizes::of(&clusters), 6);
        assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
    }

    fn permute(items: &mut [usize; 6], from: usize, into: &mut Vec<[usize; 6]>) {
        if from == items.len() {
            into.push(*items);
        }
        for at in from..items.len() {
            items.swap(from, at);
            permute(items, from + 1, into);
            items.swap(from, at);
        }
    }

    #[test]
    fn lists_that_cannot_be_compared_are_refused() {
        assert_eq!(agreement(&[1, 2], &[1]).unwrap_err().to_string(), "cluster assignment: found 1, expected 2, one for each label");
        assert!(agreement(&[], &[]).is_err());
    }
}
