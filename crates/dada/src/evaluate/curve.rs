//! Precision and recall along the ranking.

use crate::error::Result;
use crate::evaluate::retrieval::{QueryScore, Retrieval};
use crate::evaluate::task::Task;
use crate::progress::Progress;
use crate::search::ranking::Ranks;

/// How deep a curve looks at most.
const DEPTH: usize = 1000;

/// Means over queries of what is among their first k items, for growing k.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// The k, ascending.
    pub ks: Vec<usize>,
    /// The share of queries with a hit among the first k.
    pub recall: Vec<f64>,
    /// The share of hits among the first k.
    pub precision: Vec<f64>,
    /// The share of a query's relevant items that are among the first k.
    pub found: Vec<f64>,
}

/// The metrics and the curve, from one ranking.
///
/// # Errors
/// As [`Task::retrieval`].
pub fn retrieval_and_curve(task: &Task, ks: &[usize], progress: Progress) -> Result<(Retrieval, Curve)> {
    let cuts = cuts(task.gallery().len());
    let score = |ranks: Ranks| {
        let within = |k: usize| ranks.hits.partition_point(|&rank| rank as usize <= k) as u32;
        (cuts.iter().map(|&k| within(k)).collect::<Vec<u32>>(), QueryScore::new(ranks))
    };
    let (counts, scores): (Vec<_>, Vec<_>) = task.rank(DEPTH, progress, score)?.into_iter().unzip();
    let labels: Vec<usize> = task.queries().into_iter().map(|row| task.labels()[row]).collect();
    let mut curve = Curve { recall: vec![0.0; cuts.len()], precision: vec![0.0; cuts.len()], found: vec![0.0; cuts.len()], ks: cuts };
    let scored = scores.iter().filter(|score| score.relevant > 0).count() as f64;
    for (counts, score) in counts.iter().zip(&scores).filter(|(_, score)| score.relevant > 0) {
        for (at, (&count, &k)) in counts.iter().zip(&curve.ks).enumerate() {
            let count = f64::from(count);
            curve.recall[at] += f64::from(score.first_hit <= k) / scored;
            curve.precision[at] += count / k as f64 / scored;
            curve.found[at] += count / score.relevant as f64 / scored;
        }
    }
    Ok((Retrieval::new(scores, &labels, ks)?, curve))
}

/// 1, 2, 3, … growing by about a quarter, up to the depth or the size of the gallery.
fn cuts(gallery: usize) -> Vec<usize> {
    let end = gallery.clamp(1, DEPTH);
    let mut cuts: Vec<usize> = (0..).map(|step| 1.25f64.powi(step).round() as usize).take_while(|&k| k < end).collect();
    cuts.push(end);
    cuts.dedup();
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embeddings::Embeddings;
    use crate::progress::SILENT;
    use crate::random::{Purpose, generator};
    use rand::RngExt;

    #[test]
    fn cuts_grow_to_the_depth() {
        assert_eq!(cuts(3), [1, 2, 3]);
        assert_eq!((cuts(0), cuts(1)), (vec![1], vec![1]));
        let cuts = cuts(70_000);
        assert!(cuts.len() < 40 && cuts[0] == 1 && cuts[cuts.len() - 1] == DEPTH && cuts.is_sorted());
    }

    #[test]
    fn a_curve_agrees_with_counting_in_sorted_lists() {
        let mut random = generator(2, Purpose::Sample, 0, 0, 0);
        let rows = 90;
        let labels: Vec<usize> = (0..rows).map(|_| random.random_range(0..12)).collect();
        let values = (0..rows * 5).map(|_| random.random_range(-1.0..1.0f32)).collect();
        let task = Task::new(Embeddings::new(values, rows, 5).unwrap(), labels.clone(), None).unwrap();
        let (retrieval, curve) = retrieval_and_curve(&task, &[1, 2], SILENT).unwrap();
        assert_eq!(retrieval.means, task.retrieval(&[1, 2], SILENT).unwrap().means);
        let all = task.nearest(&task.queries(), rows).unwrap();
        for (at, &k) in curve.ks.iter().enumerate() {
            let (mut recall, mut precision, mut found, mut scored) = (0.0, 0.0, 0.0, 0.0);
            for (query, list) in all.iter().enumerate() {
                let hits =
                    |list: &[crate::search::Neighbour]| list.iter().filter(|item| labels[item.index] == labels[query]).count() as f64;
                if hits(list) > 0.0 {
                    let within = hits(&list[..k.min(list.len())]);
                    scored += 1.0;
                    recall += f64::from(within > 0.0);
                    precision += within / k as f64;
                    found += within / hits(list);
                }
            }
            for (found, wanted) in [(curve.recall[at], recall), (curve.precision[at], precision), (curve.found[at], found)] {
                assert!((found - wanted / scored).abs() < 1e-9, "k {k}");
            }
        }
    }
}
