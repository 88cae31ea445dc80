//! One subject's figures: retrieval, clusters, intervals, the difference to another model, and the page about them.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::evaluate::clustering::agreement;
use crate::evaluate::intervals::{Bootstrap, Interval, Paired, paired_bootstrap};
use crate::evaluate::kmeans::{KMeans, k_means};
use crate::evaluate::{Retrieval, Task};
use crate::measure::page::evaluation_page;
use crate::measure::subject::Subject;
use crate::progress::{Observer, Stage, begin};
use crate::report::widgets::Page;

/// Fewest resamples that an interval is made of: its ends are the outermost fortieths.
pub const LEAST_RESAMPLES: usize = 20;

/// Metric names and values, in the order of a table.
pub type Figures = Vec<(String, f64)>;

/// What to find out.
#[derive(Clone, Debug)]
pub struct Options {
    /// The k of recall@k.
    pub ks: Vec<usize>,
    /// Whether to cluster, and say how well the clusters agree with the classes.
    pub clusters: bool,
    /// Resamples of 95 % intervals over queries; without it, none are asked for, and the page and differences have 1000.
    pub resamples: Option<usize>,
    /// Another model for the same pictures, or other embeddings of the same rows.
    pub against: Option<PathBuf>,
    /// Whether to make a page.
    pub page: bool,
    /// Of resampling, clusters and the samples of a page.
    pub seed: u64,
}

/// What was found out.
pub struct Evaluation {
    /// Every query's score, and the means.
    pub retrieval: Retrieval,
    /// The means, and the agreement of clusters with classes where it was asked for.
    pub figures: Figures,
    /// 95 % intervals over queries, in the order of the means.
    pub intervals: Option<Vec<Interval>>,
    /// The other model.
    pub against: Option<Against>,
    /// Curves, similarities, classes, the worst queries and maps.
    pub page: Option<Page>,
}

/// Another model on the same queries.
pub struct Against {
    /// Its scores.
    pub retrieval: Retrieval,
    /// This model minus the other, query by query, in the order of the means.
    pub differences: Vec<Paired>,
}

/// Measures a subject.
///
/// # Errors
/// For fewer than [`LEAST_RESAMPLES`] resamples, for another model of other rows, and as [`Task::retrieval`].
pub fn evaluate(subject: &Subject, options: &Options, observer: Observer) -> Result<Evaluation> {
    if let Some(few) = options.resamples.filter(|&resamples| resamples < LEAST_RESAMPLES) {
        return Err(Error::mismatch("resamples", few, format!("at least {LEAST_RESAMPLES}")));
    }
    let bootstrap = Bootstrap { resamples: options.resamples.unwrap_or(Bootstrap::default().resamples), seed: options.seed };
    let clusters = if options.clusters { clusters(&subject.task, options.seed, observer)? } else { Vec::new() };
    let (retrieval, page) = if options.page {
        let (page, retrieval) = evaluation_page(subject, &options.ks, &clusters, bootstrap, observer)?;
        (retrieval, Some(page))
    } else {
        (subject.task.retrieval(&options.ks, &begin(observer, Stage::Ranking))?, None)
    };
    let intervals = if options.resamples.is_some() { Some(retrieval.intervals(&bootstrap)?) } else { None };
    let against = match &options.against {
        Some(other) => Some(compare(&subject.under(other, observer)?, &retrieval, &bootstrap, observer)?),
        None => None,
    };
    let figures = retrieval.means.entries().into_iter().chain(clusters).collect();
    Ok(Evaluation { retrieval, figures, intervals, against, page })
}

/// The metrics of a task and, where `options` ask for it, the agreement of its clusters.
pub(super) fn figures(task: &Task, options: &Options, observer: Observer) -> Result<(Retrieval, Figures)> {
    let clusters = if options.clusters { clusters(task, options.seed, observer)? } else { Vec::new() };
    let retrieval = task.retrieval(&options.ks, &begin(observer, Stage::Ranking))?;
    let figures = retrieval.means.entries().into_iter().chain(clusters).collect();
    Ok((retrieval, figures))
}

/// The other task's scores on the same queries; differences are this one minus the other.
fn compare(other: &Task, retrieval: &Retrieval, bootstrap: &Bootstrap, observer: Observer) -> Result<Against> {
    let found = other.retrieval(&retrieval.ks(), &begin(observer, Stage::RankingOther))?;
    let differences = paired_bootstrap(&found.figures(), &retrieval.figures(), retrieval.means.entries().len(), bootstrap)?;
    Ok(Against { retrieval: found, differences })
}

/// How well k-means, with as many clusters as there are classes, agrees with the classes: `nmi`, `ami`, `f1`.
fn clusters(task: &Task, seed: u64, observer: Observer) -> Result<Figures> {
    let classes = task.labels().iter().collect::<HashSet<_>>().len();
    let config = KMeans { seed, ..KMeans::default() };
    let found = k_means(task.embeddings(), classes, &config, &begin(observer, Stage::Clustering))?;
    let agreement = agreement(task.labels(), &found.assignment)?;
    Ok([("nmi", agreement.nmi), ("ami", agreement.ami), ("f1", agreement.f1)].map(|(name, value)| (name.to_owned(), value)).to_vec())
}

/// `class,queries,recall@1,…` with a line for each class that has queries, by falling map@r; `classes` are the names that labels index.
pub fn per_class(retrieval: &Retrieval, classes: &[String]) -> String {
    let mut text = "class,queries".to_owned();
    for (name, _) in retrieval.means.entries() {
        text += &format!(",{name}");
    }
    let mut order: Vec<_> = retrieval.classes.iter().collect();
    order.sort_by(|a, b| b.means.map_at_r.total_cmp(&a.means.map_at_r));
    for class in order {
        text += &format!("\n{},{}", csv_field(&classes[class.label]), class.queries);
        for (_, value) in class.means.entries() {
            text += &format!(",{value:.6}");
        }
    }
    text + "\n"
}

fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::subject::overlapping_arcs;
    use crate::progress::{Message, UNOBSERVED};
    use std::sync::Mutex;

    fn subject() -> Subject {
        overlapping_arcs("x.npy", 0.7)
    }

    fn options() -> Options {
        Options { ks: vec![1, 2], clusters: false, resamples: None, against: None, page: false, seed: 0 }
    }

    #[test]
    fn only_what_is_asked_for_is_found_out() {
        let told = Mutex::new(Vec::new());
        let plain = evaluate(&subject(), &options(), &|message| told.lock().unwrap().push(message)).unwrap();
        assert!(plain.intervals.is_none() && plain.against.is_none() && plain.page.is_none());
        assert_eq!(plain.figures, plain.retrieval.means.entries());
        let told = told.into_inner().unwrap();
        assert_eq!(told[0], Message::Stage(Stage::Ranking));
        assert!(matches!(told[1..], [.., Message::Done(done, total)] if done == total), "{told:?}");

        let all = Options { clusters: true, resamples: Some(50), page: true, ..options() };
        let found = evaluate(&subject(), &all, UNOBSERVED).unwrap();
        assert_eq!(found.retrieval.means, plain.retrieval.means);
        assert_eq!(found.figures[plain.figures.len()].0, "nmi");
        assert_eq!(found.intervals.unwrap().len(), plain.figures.len());
        assert!(found.page.unwrap().render().contains("nmi"));
    }

    #[test]
    fn a_model_is_as_good_as_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let subject = subject();
        let mut writer = crate::formats::vectors::Writer::create(&path).unwrap();
        writer.write(subject.task.embeddings().values(), &vec![("", ""); 30]).unwrap();
        writer.finish().unwrap();
        let found = evaluate(&subject, &Options { against: Some(path), ..options() }, UNOBSERVED).unwrap().against.unwrap();
        assert!(found.differences.iter().all(|paired| paired.difference == 0.0 && !paired.is_clear()));
        assert_eq!(found.differences.len(), found.retrieval.means.entries().len());
    }

    #[test]
    fn classes_are_listed_from_the_best_on() {
        let found = evaluate(&subject(), &options(), UNOBSERVED).unwrap().retrieval;
        let names = ["a", "b, \"b\"", "c"].map(str::to_owned);
        let list = per_class(&found, &names);
        let lines: Vec<&str> = list.lines().collect();
        assert_eq!((lines[0], lines.len()), ("class,queries,recall@1,recall@2,precision@1,r_precision,map@r,mrr", 4));
        assert!(list.contains("\n\"b, \"\"b\"\"\",10,"), "{list}");
        let score = |line: &&str| line.rsplit(',').nth(1).unwrap().parse::<f64>().unwrap();
        assert!(lines[1..].iter().map(score).is_sorted_by(|a, b| a >= b), "{list}");
    }

    #[test]
    fn few_resamples_are_refused() {
        let problem = evaluate(&subject(), &Options { resamples: Some(19), ..options() }, UNOBSERVED).err().unwrap().to_string();
        assert_eq!(problem, "resamples: found 19, expected at least 20");
    }
}
