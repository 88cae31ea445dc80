//! Several models on the same items: each alone, and all concatenated.

use std::path::PathBuf;

use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::evaluate::Retrieval;
use crate::evaluate::intervals::mean_deviation;
use crate::measure::evaluation::{Figures, Options, figures};
use crate::measure::subject::Subject;
use crate::progress::Observer;

/// Figures of several models.
pub struct Ensemble {
    /// Each alone.
    pub members: Vec<Member>,
    /// Over the members, of each figure.
    pub mean: Figures,
    /// Over the members, of each figure.
    pub deviation: Figures,
    /// Numbers for each item when all embeddings are put side by side.
    pub dim: usize,
    /// Of the concatenated embeddings.
    pub concatenated: Figures,
    /// Every query's score under the concatenated embeddings.
    pub retrieval: Retrieval,
}

/// One of several models.
pub struct Member {
    /// Its run folder, model directory or file of embeddings.
    pub path: PathBuf,
    /// Dimension of its embeddings.
    pub dim: usize,
    /// Its own figures.
    pub figures: Figures,
}

/// Measures subjects of the same items, as [`Input::subjects`](crate::measure::Input::subjects) returns them. Of `options`, those that look
/// into one model's ranking (intervals, another model, the page) have no meaning here.
///
/// # Errors
/// Without a subject, and as [`Task::retrieval`](crate::evaluate::Task::retrieval).
pub fn evaluate_together(subjects: &[Subject], options: &Options, observer: Observer) -> Result<Ensemble> {
    let Some(first) = subjects.first() else { return Err(Error::Data("nothing to measure".to_owned())) };
    let embeddings: Vec<&Embeddings> = subjects.iter().map(|subject| subject.task.embeddings()).collect();
    let together = first.task.with(Embeddings::concatenate(&embeddings)?)?;
    let mut members = Vec::new();
    for subject in subjects {
        let (_, figures) = figures(&subject.task, options, observer)?;
        members.push(Member { path: subject.path().to_owned(), dim: subject.task.embeddings().dim(), figures });
    }
    let (retrieval, concatenated) = figures(&together, options, observer)?;
    let (mean, deviation) = over_members(&members);
    Ok(Ensemble { members, mean, deviation, dim: together.embeddings().dim(), concatenated, retrieval })
}

/// Mean and deviation of each figure; every member has the same ones, in the same order.
fn over_members(members: &[Member]) -> (Figures, Figures) {
    let (mut means, mut deviations) = (Figures::new(), Figures::new());
    for (at, (name, _)) in members[0].figures.iter().enumerate() {
        let values: Vec<f64> = members.iter().map(|member| member.figures[at].1).collect();
        let (mean, deviation) = mean_deviation(&values);
        means.push((name.clone(), mean));
        deviations.push((name.clone(), deviation));
    }
    (means, deviations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::subject::overlapping_arcs as subject;
    use crate::progress::UNOBSERVED;
    use std::path::Path;

    #[test]
    fn members_are_summed_up_and_put_side_by_side() {
        let options = Options { ks: vec![1], clusters: true, resamples: None, against: None, page: false, seed: 0 };
        let found = evaluate_together(&[subject("x.npy", 0.7), subject("y.npy", 1.9)], &options, UNOBSERVED).unwrap();
        assert_eq!((found.members[1].path.as_path(), found.members[1].dim, found.dim), (Path::new("y.npy"), 2, 4));
        let names: Vec<&str> = found.mean.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["recall@1", "precision@1", "r_precision", "map@r", "mrr", "nmi", "ami", "f1"]);
        let [a, b] = [0, 1].map(|member: usize| found.members[member].figures[3].1);
        assert!(a != b && (found.mean[3].1 - (a + b) / 2.0).abs() < 1e-12);
        assert!((found.deviation[3].1 - (a - b).abs() / 2f64.sqrt()).abs() < 1e-12);
        assert!(evaluate_together(&[], &options, UNOBSERVED).is_err());
    }
}
