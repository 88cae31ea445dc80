//! The page of a run: how every term went, how samples and proxies came to lie, what the model finds, and what it cost.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::adversarial::{DadaConfig, Discrepancy};
use crate::config::RunConfig;
use crate::embeddings::Embeddings;
use crate::error::{AtPath, Error, Result};
use crate::evaluate::map;
use crate::formats::safetensors::read_safetensors;
use crate::report::widgets::{
    Axis, Html, Line, Lines, Page, Point, Shape, Tile, beside, decimal, details, lines, preformatted, scatter, sheet, switch, table, tiles,
};
use crate::train::{Metrics, journal};

/// Most points of a curve; longer ones show means of neighbours.
const POINTS: usize = 300;

/// Curves by name: (epochs, value).
pub type Curves = BTreeMap<String, Vec<(f64, f64)>>;

/// Makes the page from what the run folder holds; a run that is not finished has no figures yet.
///
/// # Errors
/// When the folder is not a run's, or a file in it cannot be read.
pub fn page(folder: &Path) -> Result<Page> {
    let config = RunConfig::load(&folder.join("config.toml"))?;
    let metrics = Metrics::read(folder)?;
    let curves = curves(folder)?;
    let mut page = Page::new("Training report", &format!("{}, seed {}", folder.display(), config.seed));

    page.section("Result", result(metrics.as_ref(), &curves));
    let neighbours = folder.join("neighbours.png");
    if neighbours.is_file() {
        let bytes = fs::read(&neighbours).at(&neighbours)?;
        let about = "Each row: a picture that was asked for, and the nearest other pictures. Green frames are of the same class.";
        page.section("What it finds", [Html::note(about), sheet(&bytes, "Queries with their nearest pictures")]);
    }
    page.section("Terms", terms(&curves, &config.dada));
    page.section("Samples and proxies", diagnostics(&curves));
    let maps = maps(&folder.join("snapshots"))?;
    if !maps.is_empty() {
        page.section("Maps of the three domains", maps);
    }
    page.section("Configuration", [details("All keys", &preformatted(&config.to_toml()))]);
    Ok(page)
}

/// Every number in the journal of a run folder, by its path in the line.
///
/// # Errors
/// When the folder has no journal, or one that cannot be read.
pub fn curves(folder: &Path) -> Result<Curves> {
    let lines = journal::read(&folder.join("journal.jsonl"))?;
    let steps = journal::steps(&lines);
    let mut curves = Curves::new();
    for line in &lines {
        let Some(updates) = journal::updates(line, steps) else { continue };
        for (name, value) in journal::numbers(line) {
            curves.entry(name).or_default().push((updates as f64 / steps as f64, value));
        }
    }
    Ok(curves)
}

fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mean = |chunk: &[(f64, f64)]| {
        let sum = chunk.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
        (sum.0 / chunk.len() as f64, sum.1 / chunk.len() as f64)
    };
    points.chunks(points.len().div_ceil(POINTS).max(1)).map(mean).collect()
}

/// A chart of those curves that the journal has; nothing without any.
fn chart(title: &str, y: Axis, named: &[(&str, &str)], curves: &Curves) -> Option<Html> {
    let line = |(name, key): &(&str, &str)| Some(Line::new(name, thinned(curves.get(*key)?)));
    let series: Vec<Line> = named.iter().filter_map(line).collect();
    let chart = Lines { title: title.to_owned(), x: Axis::linear("epochs"), y, series };
    (!chart.series.is_empty()).then(|| lines(&chart))
}

fn result(metrics: Option<&Metrics>, curves: &Curves) -> Vec<Html> {
    let mut blocks = Vec::new();
    if let Some(metrics) = metrics.filter(|metrics| !metrics.test.is_empty()) {
        blocks.push(headline(metrics));
        blocks.push(figures(metrics));
        blocks.push(Html::note(&format!("Measured {}.", metrics.about())));
    }
    let validation = [("recall@1", "validation/recall@1"), ("map@r", "validation/map@r")];
    blocks.extend(chart("Validation classes", Axis::linear("figure"), &validation, curves));
    blocks
}

fn headline(metrics: &Metrics) -> Html {
    let mut shown = Vec::new();
    for name in ["recall@1", "map@r", "r_precision"] {
        let Some(value) = metrics.test.get(name) else { continue };
        let before = metrics.untrained.get(name).map_or(String::new(), |before| format!("{} before training", decimal(*before, 3)));
        shown.push(Tile { name, value: decimal(*value, 3), note: before });
    }
    let minutes = format!("{} min", decimal(metrics.seconds / 60.0, 1));
    let cost = format!("{} s of processor time, {} GiB", decimal(metrics.cpu_seconds, 0), decimal(metrics.peak_memory_gib, 2));
    shown.push(Tile { name: "training", value: minutes, note: cost });
    tiles(&shown)
}

/// All metrics of the test classes, before training and after.
fn figures(metrics: &Metrics) -> Html {
    let names: Vec<&str> = metrics.test.keys().map(String::as_str).collect();
    let best = if metrics.best_epoch.is_some() { "best epoch" } else { "kept: no epoch was better" };
    let moments = [
        ("before training", Some(&metrics.untrained)),
        ("frozen features", metrics.frozen.as_ref()),
        (best, Some(&metrics.test)),
        ("last epoch", Some(&metrics.test_final)),
    ];
    let mut rows = Vec::new();
    for (moment, figures) in moments {
        let Some(figures) = figures else { continue };
        let mut row = vec![moment.to_owned()];
        row.extend(names.iter().map(|name| figures.get(*name).map_or("–".to_owned(), |value| decimal(*value, 4))));
        rows.push(row);
    }
    table(&[&[""], names.as_slice()].concat(), &rows)
}

fn terms(curves: &Curves, dada: &DadaConfig) -> Vec<Html> {
    let domains = dada.mix.domains();
    let chance = domains as f64;
    let discrepancy = match dada.category.discrepancy {
        Discrepancy::L1 => "mean absolute difference",
        Discrepancy::NuclearNorm | Discrepancy::None => "half the nuclear-norm discrepancy",
    };
    let charts = [
        chart("Proxy loss", Axis::linear("loss"), &[("proxy loss", "terms/proxy_loss")], curves),
        chart(
            "Domain discriminator, L_u",
            Axis::linear(&format!("cross-entropy; {chance:.2} is chance for {domains} domains", chance = chance * chance.ln())),
            &[("L_u", "terms/domain")],
            curves,
        ),
        chart("Labelling risk, L_s", Axis::linear("2 × cross-entropy"), &[("L_s", "terms/risk")], curves),
        chart("Discrepancy, L_dis", Axis::linear(discrepancy), &[("L_dis", "terms/discrepancy")], curves),
        chart(
            "Domains recognised",
            Axis::linear(&format!("share; {:.2} is chance for {domains} domains", 1.0 / chance)).between(0.0, 1.0),
            &[("accuracy", "terms/domain_accuracy")],
            curves,
        ),
        bound(curves),
    ];
    let gradients = ["embeddings", "proxies"].map(|place| gradient_norms(place, curves));
    vec![beside(charts.into_iter().chain(gradients).flatten())]
}

/// How strongly each term pulls at the embeddings or the proxies.
fn gradient_norms(place: &str, curves: &Curves) -> Option<Html> {
    let names = ["proxy loss", "domain", "labelling risk", "discrepancy"];
    let keys = ["proxy_loss", "domain", "risk", "discrepancy"].map(|term| format!("terms/pulls/{term}/{place}"));
    let named: Vec<(&str, &str)> = names.into_iter().zip(keys.iter().map(String::as_str)).collect();
    chart(&format!("Pull at the {place}"), Axis::logarithmic("norm of the weighted gradient"), &named, curves)
}

/// Labelling risk, discrepancy and their sum, and what they bound but for the least joint risk: the risk on mixtures.
fn bound(curves: &Curves) -> Option<Html> {
    let (risk, discrepancy) = (curves.get("terms/risk")?, curves.get("terms/discrepancy")?);
    let mut with_sum = curves.clone();
    let sum = risk.iter().zip(discrepancy).map(|(risk, discrepancy)| (risk.0, risk.1 + discrepancy.1));
    with_sum.insert("sum".to_owned(), sum.collect());
    let named = [("L_s", "terms/risk"), ("L_dis", "terms/discrepancy"), ("L_s + L_dis", "sum"), ("L_s on mixtures", "terms/mixture_risk")];
    chart("Risk and divergence", Axis::linear("value"), &named, &with_sum)
}

fn diagnostics(curves: &Curves) -> Vec<Html> {
    let charts = [
        chart(
            "Gap between samples and their proxies",
            Axis::linear("distance"),
            &[("MMD", "doctor/mmd"), ("sliced Wasserstein", "doctor/sliced_wasserstein")],
            curves,
        ),
        chart(
            "A fresh probe tells samples from proxies",
            Axis::linear("accuracy; 0.5 without a gap").between(0.4, 1.0),
            &[("accuracy", "doctor/probe_accuracy")],
            curves,
        ),
        chart("Cosine of a sample and its proxy", Axis::linear("cosine"), &[("cosine", "doctor/own_cosine")], curves),
        chart(
            "Effective rank",
            Axis::linear("directions"),
            &[("samples", "doctor/effective_rank"), ("proxies", "doctor/proxy_effective_rank")],
            curves,
        ),
        chart(
            "Proxies in trouble",
            Axis::linear("share").between(0.0, 1.0),
            &[("dead", "doctor/dead"), ("colliding", "doctor/colliding")],
            curves,
        ),
        chart(
            "Largest direction's share of variance",
            Axis::linear("share").between(0.0, 1.0),
            &[("samples", "doctor/largest_share")],
            curves,
        ),
    ];
    let about = "Measured on up to 256 training pictures, on the unit sphere. Dead: nearest to no sample of its class. Colliding: a cosine above 0.95 with a proxy of another class.";
    vec![Html::note(about), beside(charts.into_iter().flatten())]
}

/// Samples, mixtures and proxies along the two directions of largest variance, before, half-way and after.
fn maps(folder: &Path) -> Result<Vec<Html>> {
    let mut maps = Vec::new();
    for (file, title) in [("before", "before training"), ("half-way", "half-way"), ("after", "after training")] {
        let path = folder.join(file).with_extension("safetensors");
        if !path.is_file() {
            continue;
        }
        let mut tensors = read_safetensors(&path)?;
        let mut values = Vec::new();
        let mut domains = Vec::new();
        let mut dim = 0;
        for (domain, name) in ["samples", "mixed", "proxies"].into_iter().enumerate() {
            // A run without a mixed domain has no mixtures.
            let Some(tensor) = tensors.remove(name) else { continue };
            let &[rows, width] = tensor.shape().as_slice() else {
                return Err(Error::format(&path, format!("{name} has shape {:?}, expected two axes", tensor.shape())));
            };
            dim = width;
            domains.extend(std::iter::repeat_n(domain, rows));
            values.extend(tensor.try_into_vec_as::<f32>().map_err(|_| Error::format(&path, format!("{name} does not hold numbers")))?);
        }
        let embeddings = Embeddings::new(values, domains.len(), dim)?;
        let (places, share) = map::pca(&embeddings, domains.len())?;
        let mut points = Vec::new();
        for (&domain, &[x, y]) in domains.iter().zip(&places) {
            let name = ["sample", "mixture", "proxy"][domain].to_owned();
            points.push(Point { x, y, group: domain, name, shape: if domain == 2 { Shape::Diamond } else { Shape::Dot } });
        }
        let caption = format!("{title}: the two directions of largest variance, {} % of it", decimal(100.0 * share, 0));
        maps.push((title, scatter(&caption, &points)));
    }
    if maps.is_empty() {
        return Ok(Vec::new());
    }
    let about = "One colour each for samples, mixtures (green) and proxies (diamonds); point at one to see its domain alone.";
    Ok(vec![Html::note(about), switch("domains", &maps)])
}
