//! A comparison as a page.

use crate::compare::grid::{Arm, compared_with};
use crate::compare::run::Run;
use crate::compare::table::{Row, measured};
use crate::error::Result;
use crate::report::run::{Curves, curves};
use crate::report::widgets::{Axis, Html, Interval, Line, Lines, Page, beside, decimal, intervals, lines, table};

/// The page of a comparison; `header` says how it was made.
///
/// # Errors
/// When the journal of a run cannot be read.
pub fn page(header: &str, rows: &[Row], arms: &[Arm], runs: &[Run]) -> Result<Page> {
    let mut page = Page::new("Comparison", header);
    let metrics: Vec<&str> = rows[0].figures.iter().map(|entry| entry.metric.as_str()).collect();
    let seeds = runs.iter().filter(|run| run.arm == 0).count();
    let other = compared_with(arms);

    let of = |arm: usize, metric: &str| -> Vec<f64> {
        runs.iter().filter(|run| run.arm == arm).map(|run| run.figures().get(metric).copied().unwrap_or(f64::NAN)).collect()
    };
    let before = rows.len() - arms.len();
    let charts = metrics.iter().enumerate().map(|(at, metric)| {
        let drawn = arms.iter().enumerate().filter_map(|(arm, Arm { against, .. })| {
            let row = &rows[before + arm];
            let paired = row.figures[at].difference.as_ref()?;
            let points = of(arm, metric).iter().zip(of(*against, metric)).map(|(ours, theirs)| 100.0 * (ours - theirs)).collect();
            let ends = (100.0 * paired.interval.0, 100.0 * paired.interval.1);
            Some(Interval { name: row.name.clone(), value: 100.0 * paired.difference, ends, points })
        });
        intervals(
            &format!("{metric}: difference from {other}"),
            "percentage points; line: 95 % interval, small dots: seeds",
            &drawn.collect::<Vec<_>>(),
        )
    });
    page.section("Differences", charts.collect::<Vec<_>>());

    let mut columns = vec![""];
    let named: Vec<String> = metrics.iter().flat_map(|metric| [(*metric).to_owned(), "difference".to_owned()]).collect();
    columns.extend(named.iter().map(String::as_str));
    columns.extend(["seconds", "CPU s", "GiB"]);
    let cells = |row: &Row| {
        let mut cells = vec![row.name.clone()];
        for entry in &row.figures {
            let mean = decimal(entry.mean, 4);
            cells.push(if entry.deviation.is_nan() { mean } else { format!("{mean} ± {}", decimal(entry.deviation, 4)) });
            cells.push(entry.difference.as_ref().map_or(String::new(), |paired| decimal(paired.difference, 4)));
        }
        if row.seconds > 0.0 {
            cells.extend([decimal(row.seconds, 1), decimal(row.cpu_seconds, 1), decimal(row.memory_gib, 2)]);
        } else {
            cells.extend([String::new(), String::new(), String::new()]);
        }
        cells
    };
    let note = format!(
        "Measured {}. Seeds: {seeds}. ± is the standard deviation over them; a difference is that from {other} on the same seed and classes, \
         averaged over the seeds; its interval is Student's.",
        measured(runs)
    );
    page.section("Figures", [table(&columns, &rows.iter().map(cells).collect::<Vec<_>>()), Html::note(&note)]);

    let charts = diagnostics(arms, runs)?;
    if !charts.is_empty() {
        let about = "What the proxy doctor saw in training classes, mean over the seeds.";
        page.section("Samples and proxies in the course of training", [Html::note(about), beside(charts)]);
    }

    let settings = |arm: &Arm| vec![arm.title().to_owned(), arm.settings.join("  "), arms[arm.against].title().to_owned()];
    page.section("What was varied", [table(&["", "settings", "compared with"], &arms.iter().map(settings).collect::<Vec<_>>())]);
    Ok(page)
}

/// The diagnostics of every arm over the epochs; none where no run recorded them.
fn diagnostics(arms: &[Arm], runs: &[Run]) -> Result<Vec<Html>> {
    let of_arm = |arm| runs.iter().filter(move |run| run.arm == arm).map(|run| curves(&run.folder)).collect::<Result<Vec<_>>>();
    let found = (0..arms.len()).map(of_arm).collect::<Result<Vec<Vec<Curves>>>>()?;
    let charts = [
        ("Gap between samples and their proxies", Axis::linear("maximum mean discrepancy"), "doctor/mmd"),
        ("The same along single directions", Axis::linear("sliced Wasserstein distance"), "doctor/sliced_wasserstein"),
        (
            "A fresh probe tells samples from proxies",
            Axis::linear("accuracy; 0.5 without a gap").between(0.4, 1.0),
            "doctor/probe_accuracy",
        ),
        ("Cosine of a sample and its proxy", Axis::linear("cosine"), "doctor/own_cosine"),
        ("Effective rank of samples", Axis::linear("directions"), "doctor/effective_rank"),
        ("Effective rank of proxies", Axis::linear("directions"), "doctor/proxy_effective_rank"),
    ];
    let chart = |(title, y, key): (&str, Axis, &str)| {
        let line = |(arm, runs): (&Arm, &Vec<Curves>)| {
            let points = mean(&runs.iter().filter_map(|curves| curves.get(key)).collect::<Vec<_>>());
            (!points.is_empty()).then(|| Line::new(arm.title(), points))
        };
        let series: Vec<Line> = arms.iter().zip(&found).filter_map(line).collect();
        (!series.is_empty()).then(|| lines(&Lines { title: title.to_owned(), x: Axis::linear("epochs"), y, series }))
    };
    Ok(charts.into_iter().filter_map(chart).collect())
}

/// The mean of curves with the same places, as far as all of them go.
fn mean(curves: &[&Vec<(f64, f64)>]) -> Vec<(f64, f64)> {
    let points = curves.iter().map(|curve| curve.len()).min().unwrap_or(0);
    let at = |place: usize| (curves[0][place].0, curves.iter().map(|curve| curve[place].1).sum::<f64>() / curves.len() as f64);
    (0..points).map(at).collect()
}
