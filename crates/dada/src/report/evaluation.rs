//! The page of an evaluation: figures with their intervals, where they come from, and what went wrong.

use std::sync::Arc;

use image::RgbImage;
use rand::seq::SliceRandom;

use crate::embeddings::Embeddings;
use crate::error::Result;
use crate::evaluate::curve::{Curve, retrieval_and_curve};
use crate::evaluate::intervals::{Bootstrap, Interval};
use crate::evaluate::map::{POINTS, pca, sample_classes, t_sne};
use crate::evaluate::retrieval::{Means, QueryScore, Retrieval};
use crate::evaluate::similarity::{BINS, Similarities, similarities};
use crate::evaluate::task::Task;
use crate::progress::Progress;
use crate::random::{Purpose, generator};
use crate::report::widgets::{
    Axis, Bar, Counts, Html, Line, Lines, Mark, Page, Point, Shape, Thumbnail, Tile, bars, beside, count, decimal, details, histogram,
    lines, scatter, strip, switch, table, tiles,
};
use crate::search::Neighbour;

/// Queries whose neighbours are shown: the worst, and as many drawn by chance.
const SHOWN: usize = 12;
/// Neighbours beside each.
const NEIGHBOURS: usize = 6;
/// Classes with bars of their own.
const BARS: usize = 300;

/// From this many classes on, their spread is a chart of its own.
const MANY: usize = 30;

/// Finds the picture of a row.
pub type Pictures<'a> = &'a (dyn Fn(usize) -> Result<Arc<RgbImage>> + Sync);

/// What was evaluated, besides numbers: names, pictures, and how intervals are made.
pub struct Content<'a> {
    /// The heading.
    pub title: &'a str,
    /// What was measured, on what.
    pub about: &'a str,
    /// Class names; labels index them.
    pub classes: &'a [String],
    /// What each row is called.
    pub names: &'a [String],
    /// Pictures, when they are at hand.
    pub pictures: Option<Pictures<'a>>,
    /// Further figures for the table, such as those of clusters.
    pub figures: &'a [(String, f64)],
    /// How intervals are made; its seed also draws samples and examples.
    pub bootstrap: Bootstrap,
    /// Training samples and proxies, when the model has them.
    pub training: Option<Training<'a>>,
}

/// Training samples with the proxies of their classes.
pub struct Training<'a> {
    /// Samples first, then proxies.
    pub embeddings: Embeddings,
    /// How many of the rows are samples.
    pub samples: usize,
    /// The class of each row.
    pub labels: Vec<usize>,
    /// Class names; labels index them.
    pub classes: &'a [String],
}

/// Measures and writes the page. The metrics come from the same ranking as its curves.
///
/// # Errors
/// As [`Task::retrieval`]. A picture that cannot be read leaves its place empty.
pub fn page(task: &Task, content: &Content, ks: &[usize], progress: Progress) -> Result<(Page, Retrieval)> {
    let (retrieval, curve) = retrieval_and_curve(task, ks, progress)?;
    let mut page = Page::new(content.title, content.about);
    page.section("In short", headline(task, &retrieval, content)?);
    page.section("Along the ranking", [curves(&curve)]);
    page.section("Similarities", similarity(&similarities(task, content.bootstrap.seed)));
    page.section("Classes", classes(&retrieval, content));
    let [worst, drawn] = examples(task, &retrieval, content.bootstrap.seed);
    page.section("Worst queries", queries(task, &retrieval, &worst, content, "One query of each class, the lowest scores first.")?);
    page.section("Queries drawn by chance", queries(task, &retrieval, &drawn, content, "What is typical, whatever the scores.")?);
    page.section("Maps", maps(task, content)?);
    Ok((page, retrieval))
}

fn headline(task: &Task, retrieval: &Retrieval, content: &Content) -> Result<Vec<Html>> {
    let intervals = retrieval.intervals(&content.bootstrap)?;
    let entries = retrieval.means.entries();
    let first = entries.first().map(|(name, _)| name.clone()).unwrap_or_default();
    let range = |(low, high): Interval| format!("{} to {}", decimal(low, 3), decimal(high, 3));
    let named = entries.iter().zip(&intervals).filter(|((name, _), _)| [&first, "map@r", "r_precision", "mrr"].contains(&name.as_str()));
    let large: Vec<Tile> =
        named.map(|((name, value), &interval)| Tile { name, value: decimal(*value, 3), note: range(interval) }).collect();
    let rows = entries.iter().zip(&intervals).map(|((name, value), (low, high))| {
        let [value, low, high] = [*value, *low, *high].map(|value| decimal(value, 4));
        vec![name.clone(), value, low, high]
    });
    let others = content.figures.iter().map(|(name, value)| vec![name.clone(), decimal(*value, 4), "–".into(), "–".into()]);
    let rows: Vec<Vec<String>> = rows.chain(others).collect();
    let gallery = match task.roles() {
        None => format!("{} queries, each searched in all others", count(retrieval.queries.len())),
        Some(roles) => format!("{} queries, searched in a gallery of {}", count(retrieval.queries.len()), count(roles.gallery.len())),
    };
    let lone = match retrieval.without_match() {
        0 => String::new(),
        lone => format!(" {} of them have nothing to find and enter no mean.", count(lone)),
    };
    let about = format!(
        "{gallery}; {} classes, {} dimensions.{lone} Under each figure stands its 95\u{a0}% interval over queries ({} resamples): how far it would \
         move with other queries of the same kind. Another training run may move it further.",
        count(retrieval.classes.len()),
        task.embeddings().dim(),
        count(content.bootstrap.resamples),
    );
    Ok(vec![tiles(&large), Html::note(&about), details("All figures", &table(&["metric", "mean", "95 % from", "to"], &rows))])
}

fn curves(curve: &Curve) -> Html {
    let along = |values: &[f64]| curve.ks.iter().zip(values).map(|(&k, &value)| (k as f64, value)).collect();
    let recall = Lines {
        title: "A hit among the first k".into(),
        x: Axis::logarithmic("k"),
        y: Axis::linear("recall@k").between(0.0, 1.0),
        series: vec![Line::new("recall@k", along(&curve.recall))],
    };
    let precision = Lines {
        title: format!("Precision and recall, k from 1 to {}", count(curve.ks.last().copied().unwrap_or(1))),
        x: Axis::linear("share of a query's matches among the first k").between(0.0, 1.0),
        y: Axis::linear("share of matches among the first k").between(0.0, 1.0),
        series: vec![Line::new("mean over queries", curve.found.iter().copied().zip(curve.precision.iter().copied()).collect())],
    };
    beside([lines(&recall), lines(&precision)])
}

fn similarity(found: &Similarities) -> Vec<Html> {
    let used = |bins: &[u64]| bins.iter().position(|&bin| bin > 0).zip(bins.iter().rposition(|&bin| bin > 0));
    let ends = [&found.same, &found.other].into_iter().filter_map(|bins| used(bins));
    let (first, last) = ends.fold((BINS - 1, 0), |(first, last), (low, high)| (first.min(low), last.max(high)));
    let (first, last) = (first.min(last), last.max(first));
    let counts = |name: &str, bins: &[u64]| Counts { name: name.to_owned(), bins: bins[first..=last].to_vec() };
    let edge = |bin: usize| bin as f64 * 2.0 / BINS as f64 - 1.0;
    let drawn = if found.queries < found.of {
        format!("A seeded sample of {} of {} queries, each compared with every item.", count(found.queries), count(found.of))
    } else {
        "Every pair of a query and an item is counted.".to_owned()
    };
    let about = format!(
        "{drawn} A pair of one class is more similar than a pair of different classes with probability {}.",
        decimal(found.separation(), 4)
    );
    let series = [counts("same class", &found.same), counts("different classes", &found.other)];
    vec![histogram("Cosines of pairs", "cosine", "pairs", &series, [edge(first), edge(last + 1)]), Html::note(&about)]
}

fn classes(retrieval: &Retrieval, content: &Content) -> Vec<Html> {
    let by_map = class_chart("map@r", retrieval, content, |means| means.map_at_r);
    let by_recall = class_chart("precision@1", retrieval, content, |means| means.precision_at_1);
    vec![switch("classes", &[("map@r", by_map), ("precision@1", by_recall)])]
}

/// A bar for each class, the lowest first; of many classes also how they are spread.
fn class_chart(metric: &str, retrieval: &Retrieval, content: &Content, value: fn(&Means) -> f64) -> Html {
    let mut rows = Vec::new();
    let mut bins = vec![0; 20];
    for class in &retrieval.classes {
        let value = value(&class.means);
        bins[((value * 20.0) as usize).min(19)] += 1;
        rows.push(Bar { name: class_name(content, class.label).to_owned(), value, note: format!("{} queries", count(class.queries)) });
    }
    rows.sort_by(|a, b| a.value.total_cmp(&b.value));
    let total = rows.len();
    let caption = if total > BARS {
        format!("{metric}, the lowest {BARS} of {} classes", count(total))
    } else {
        format!("{metric} of each class, lowest first")
    };
    rows.truncate(BARS);
    let list = bars(&caption, &rows);
    if total < MANY {
        return list;
    }
    let counts = Counts { name: metric.to_owned(), bins };
    Html::from_iter([list, histogram(&format!("Classes by {metric}"), metric, "classes", &[counts], [0.0, 1.0])])
}

fn class_name<'a>(content: &Content<'a>, label: usize) -> &'a str {
    content.classes.get(label).map_or("", String::as_str)
}

/// Query numbers: the worst of each class, and some drawn by chance.
fn examples(task: &Task, retrieval: &Retrieval, seed: u64) -> [Vec<usize>; 2] {
    let rows = task.queries();
    let one_of_each = |order: Vec<usize>| {
        let mut seen = std::collections::HashSet::new();
        order.into_iter().filter(|&query| seen.insert(task.labels()[rows[query]])).take(SHOWN).collect::<Vec<usize>>()
    };
    let mut order: Vec<usize> = (0..rows.len()).filter(|&query| retrieval.queries[query].relevant > 0).collect();
    let mut drawn = order.clone();
    drawn.shuffle(&mut generator(seed, Purpose::Sample, 2, 0, 0));
    order.sort_by(|&a, &b| {
        let (a, b) = (&retrieval.queries[a], &retrieval.queries[b]);
        a.average_precision_at_r.total_cmp(&b.average_precision_at_r).then(b.first_hit.cmp(&a.first_hit))
    });
    [order, drawn].map(one_of_each)
}

/// Queries with what was found for them: as pictures where there are any, by name otherwise.
fn queries(task: &Task, retrieval: &Retrieval, numbers: &[usize], content: &Content, about: &str) -> Result<Vec<Html>> {
    let all = task.queries();
    let rows: Vec<usize> = numbers.iter().map(|&query| all[query]).collect();
    let found = task.nearest(&rows, NEIGHBOURS)?;
    let mut examples = Vec::new();
    for ((&query, row), found) in numbers.iter().zip(rows).zip(found) {
        examples.push(Example { row, score: retrieval.queries[query], found });
    }
    let Some(picture) = content.pictures else {
        let rows: Vec<Vec<String>> = examples.iter().map(|example| example.in_words(task, content)).collect();
        return Ok(vec![Html::note(about), table(&["query", "map@r", "first hit at rank", "nearest"], &rows)]);
    };
    let about =
        format!("{about} The query has a grey frame; what was found is framed green where it is right and broken red where it is wrong.");
    let strips = examples.iter().map(|example| example.in_pictures(task, content, picture));
    Ok([Html::note(&about)].into_iter().chain(strips).collect())
}

/// A query's row, its scores, and the items nearest to it.
struct Example {
    row: usize,
    score: QueryScore,
    found: Vec<Neighbour>,
}

impl Example {
    fn in_words(&self, task: &Task, content: &Content) -> Vec<String> {
        let nearest = self.found.first().map_or_else(String::new, |item| {
            format!("{}, cosine {}", row_name(task, content, item.index), decimal(item.similarity.into(), 3))
        });
        let map_at_r = decimal(self.score.average_precision_at_r, 3);
        vec![row_name(task, content, self.row), map_at_r, count(self.score.first_hit), nearest]
    }

    fn in_pictures(&self, task: &Task, content: &Content, picture: Pictures) -> Html {
        let labels = task.labels();
        let thumbnail = |row: usize, caption: &str| {
            let made = picture(row).map_or_else(|_| Thumbnail::missing(caption), |picture| Thumbnail::new(&picture, caption));
            made.named(&format!("{}: {}", class_name(content, labels[row]), content.names[row]))
        };
        let caption = format!("{}: first hit at rank {}", class_name(content, labels[self.row]), count(self.score.first_hit));
        let mut pictures = vec![(Mark::Query, thumbnail(self.row, &caption))];
        for item in &self.found {
            let mark = if labels[item.index] == labels[self.row] { Mark::Right } else { Mark::Wrong };
            let caption = format!("{} {}", decimal(item.similarity.into(), 2), class_name(content, labels[item.index]));
            pictures.push((mark, thumbnail(item.index, &caption)));
        }
        strip(&pictures)
    }
}

/// The class of a row, and what the row is called where that says more.
fn row_name(task: &Task, content: &Content, row: usize) -> String {
    let (class, name) = (class_name(content, task.labels()[row]), &content.names[row]);
    if class == name { class.to_owned() } else { format!("{class} ({name})") }
}

fn maps(task: &Task, content: &Content) -> Result<Vec<Html>> {
    let rows = sample_classes(task.labels(), POINTS, content.bootstrap.seed);
    let labels: Vec<usize> = rows.iter().map(|&row| task.labels()[row]).collect();
    let point = |at: usize| (labels[at], format!("{}: {}", class_name(content, labels[at]), content.names[rows[at]]), Shape::Dot);
    let mut parts = both_maps("Measured items", &task.embeddings().select(&rows)?, rows.len(), &point)?;
    let mut about = if rows.len() == task.labels().len() {
        "All items.".to_owned()
    } else {
        format!("Whole classes, drawn by seed: {} of {} items.", count(rows.len()), count(task.labels().len()))
    };
    if let Some(training) = &content.training {
        let point = |at: usize| {
            let class = training.classes.get(training.labels[at]).map_or("", String::as_str);
            if at < training.samples {
                (training.labels[at], class.to_owned(), Shape::Dot)
            } else {
                (training.labels[at], format!("proxy of {class}"), Shape::Diamond)
            }
        };
        parts.extend(both_maps("Training samples and proxies", &training.embeddings, training.samples, &point)?);
        about += &format!(
            " Training samples: {} of whole classes drawn by seed, with the proxies of these classes as diamonds. The directions are those in \
             which the samples vary most.",
            count(training.samples)
        );
    }
    about += " Point at an item to see its class. t-SNE keeps neighbours together; distances between groups mean little there.";
    let parts: Vec<(&str, Html)> = parts.iter().map(|(name, map)| (name.as_str(), map.clone())).collect();
    Ok(vec![Html::note(&about), switch("maps", &parts)])
}

type Described = (usize, String, Shape);

fn both_maps(what: &str, embeddings: &Embeddings, fit: usize, point: &dyn Fn(usize) -> Described) -> Result<Vec<(String, Html)>> {
    let draw = |caption: &str, places: &[[f64; 2]]| {
        let points: Vec<Point> = places
            .iter()
            .enumerate()
            .map(|(at, &[x, y])| {
                let (group, name, shape) = point(at);
                Point { x, y, group, name, shape }
            })
            .collect();
        scatter(caption, &points)
    };
    let (places, share) = pca(embeddings, fit)?;
    let caption = format!("{what}: principal components, {} % of the variance", decimal(100.0 * share, 0));
    let mut maps = vec![(format!("{what}, PCA"), draw(&caption, &places))];
    if embeddings.rows() >= 5 {
        maps.push((format!("{what}, t-SNE"), draw(&format!("{what}: t-SNE"), &t_sne(embeddings, &places)?)));
    }
    Ok(maps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::SILENT;
    use crate::roles::Roles;
    use rand::RngExt;

    fn made(roles: Option<Roles>) -> Task {
        let mut random = generator(7, Purpose::Sample, 0, 0, 0);
        let values = (0..60 * 8).map(|_| random.random_range(-1.0..1.0f32)).collect();
        Task::new(Embeddings::new(values, 60, 8).unwrap(), (0..60).map(|row| row % 12).collect(), roles).unwrap()
    }

    fn draw(task: &Task, pictures: Option<Pictures>, training: Option<Training>) -> String {
        let classes: Vec<String> = (0..12).map(|class| format!("<class \"{class}\" & co>")).collect();
        let names: Vec<String> = (0..60).map(|row| format!("a&b/{row}.png")).collect();
        let figures = [("nmi".to_owned(), 0.5)];
        let bootstrap = Bootstrap { resamples: 20, seed: 0 };
        let content =
            Content { title: "t", about: "a", classes: &classes, names: &names, pictures, figures: &figures, bootstrap, training };
        page(task, &content, &[1, 2], SILENT).unwrap().0.render()
    }

    #[test]
    fn a_page_has_everything_and_is_made_again_exactly() {
        let grey = Arc::new(RgbImage::from_pixel(9, 9, image::Rgb([90; 3])));
        // One picture is damaged.
        let picture = |row: usize| if row == 5 { Err(crate::Error::Data("damaged".into())) } else { Ok(grey.clone()) };
        let task = made(None);
        let document = draw(&task, Some(&picture), None);
        assert_eq!(document, draw(&task, Some(&picture), None));
        assert!(!document.contains("<class") && document.contains("&lt;class &quot;3&quot; &amp; co&gt;"));
        assert!(!document.contains("NaN"));
        assert_eq!(document.matches("class=\"strip\"").count(), 2 * SHOWN);
        assert_eq!(document.matches("<figure class=\"map\"").count(), 2);
        assert_eq!(document.matches("<circle data-group").count(), 2 * 60);
        assert!(document.contains("nmi") && document.contains("Every pair of a query and an item is counted"));
    }

    #[test]
    fn without_pictures_names_are_listed_and_proxies_are_diamonds() {
        let task = made(Some(Roles { query: (0..20).collect(), gallery: (20..60).collect() }));
        let labels = (0..60).map(|row| row % 12).collect();
        let classes: Vec<String> = (0..12).map(|class| class.to_string()).collect();
        let training = Training { embeddings: task.embeddings().clone(), samples: 48, labels, classes: &classes };
        let document = draw(&task, None, Some(training));
        assert_eq!((document.matches("<img").count(), document.matches("class=\"strip\"").count()), (0, 0));
        assert!(document.contains("first hit at rank") && document.contains("searched in a gallery of 40"));
        assert_eq!(document.matches("<path data-group").count(), 2 * 12);
    }
}
