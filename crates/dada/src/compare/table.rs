//! What a comparison found.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use crate::compare::grid::Arm;
use crate::compare::run::Run;
use crate::data::Split;
use crate::error::Result;
use crate::evaluate::intervals::{Paired, mean_deviation, paired};
use crate::formats::file::write_whole;
use crate::train::Figures;

/// Results of one arm over all seeds, beside those of the arm that it is compared with.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The arm.
    pub name: String,
    /// Of each metric.
    pub figures: Vec<Entry>,
    /// Mean seconds of training and validation.
    pub seconds: f64,
    /// Mean seconds of processor time.
    pub cpu_seconds: f64,
    /// Largest memory of a run, in GiB.
    pub memory_gib: f64,
}

/// One metric of one arm.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Such as `recall@1`.
    pub metric: String,
    /// Over the seeds.
    pub mean: f64,
    /// Standard deviation over the seeds; NaN for a single seed.
    pub deviation: f64,
    /// From the arm that it is compared with, paired by seed; absent where that is itself.
    pub difference: Option<Paired>,
}

/// Which epoch [`Run::figures`] are of, and what they were measured on.
pub fn measured(runs: &[Run]) -> String {
    let Some(Run { metrics, on_fold, .. }) = runs.first() else { return "nothing was measured".to_owned() };
    match metrics.measured_on {
        _ if *on_fold => "after the last epoch, on the fold of the training classes that each seed left out".to_owned(),
        Split::Validation => "after the last epoch, on the validation classes, since there are no test classes".to_owned(),
        _ => format!("after the epoch that was best by validation, {}", metrics.about()),
    }
}

/// Rows for what was there before training, beside the first arm, and for every arm, in order. Runs come arm by arm, each with the same seeds in the same order.
///
/// # Errors
/// When the arms have not equally many runs.
pub fn rows(arms: &[Arm], runs: &[Run], metrics: &[String]) -> Result<Vec<Row>> {
    let of = |arm: usize| -> Vec<&Run> { runs.iter().filter(|run| run.arm == arm).collect() };
    let values = |list: &[&Figures], metric: &String| -> Vec<f64> {
        list.iter().map(|figures| figures.get(metric).copied().unwrap_or(f64::NAN)).collect()
    };
    let last = |arm: usize| -> Vec<&Figures> { of(arm).into_iter().map(Run::figures).collect() };
    let row = |name: &str, list: &[&Figures], against: Option<usize>, cost: [f64; 3]| {
        let entry = |metric: &String| {
            let found = values(list, metric);
            let (mean, deviation) = mean_deviation(&found);
            let difference = against.map(|other| paired(&values(&last(other), metric), &found)).transpose()?;
            Ok(Entry { metric: metric.clone(), mean, deviation, difference })
        };
        let [seconds, cpu_seconds, memory_gib] = cost;
        Ok(Row { name: name.to_owned(), figures: metrics.iter().map(entry).collect::<Result<_>>()?, seconds, cpu_seconds, memory_gib })
    };
    let mut rows = Vec::new();
    let frozen: Option<Vec<&Figures>> = of(0).into_iter().map(|run| run.before().0).collect();
    if let Some(frozen) = frozen.filter(|frozen| !frozen.is_empty()) {
        rows.push(row("(frozen features)", &frozen, Some(0), [0.0; 3])?);
    }
    let untrained: Vec<&Figures> = of(0).into_iter().map(|run| run.before().1).collect();
    rows.push(row("(before training)", &untrained, Some(0), [0.0; 3])?);
    for (index, arm) in arms.iter().enumerate() {
        let runs = of(index);
        let mean = |value: fn(&Run) -> f64| runs.iter().map(|run| value(run)).sum::<f64>() / runs.len() as f64;
        let memory = runs.iter().map(|run| run.metrics.peak_memory_gib).fold(0.0, f64::max);
        let name = arm.title();
        let against = (arm.against != index).then_some(arm.against);
        rows.push(row(name, &last(index), against, [mean(|run| run.metrics.seconds), mean(|run| run.metrics.cpu_seconds), memory])?);
    }
    Ok(rows)
}

/// A table for people.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::from("|");
    let metrics: Vec<&str> = rows[0].figures.iter().map(|entry| entry.metric.as_str()).collect();
    for metric in &metrics {
        write!(text, " | {metric} | difference (95 %)").expect("a string takes everything");
    }
    text += " | seconds | CPU s | GiB |\n|---";
    text += &"|---".repeat(2 * metrics.len() + 3);
    text += "|\n";
    for row in rows {
        text += &format!("| {}", row.name.replace('|', "\\|"));
        for entry in &row.figures {
            let deviation = if entry.deviation.is_nan() { String::new() } else { format!(" ± {:.4}", entry.deviation) };
            let difference = entry.difference.as_ref().map_or(String::new(), in_words);
            text += &format!(" | {:.4}{deviation} | {difference}", entry.mean);
        }
        if row.seconds > 0.0 {
            text += &format!(" | {:.1} | {:.1} | {:.2} |\n", row.seconds, row.cpu_seconds, row.memory_gib);
        } else {
            text += " | | | |\n";
        }
    }
    text
}

fn in_words(paired: &Paired) -> String {
    match paired.interval {
        (low, high) if low.is_finite() => format!("{:+.4} [{low:+.4}, {high:+.4}]", paired.difference),
        _ => format!("{:+.4}", paired.difference),
    }
}

/// Writes `comparison.md`, `comparison.csv` (one line a run) and `comparison.json`.
///
/// # Errors
/// When the folder cannot be written to.
pub fn write(folder: &Path, header: &str, rows: &[Row], arms: &[Arm], runs: &[Run]) -> Result<()> {
    let save = |name: &str, text: String| write_whole(&folder.join(name), text.as_bytes());
    save("comparison.md", format!("{header}\n\n{}", markdown(rows)))?;
    save("comparison.json", serde_json::to_string_pretty(rows).expect("rows have string keys"))?;
    let names: Vec<&String> = runs.first().map(|run| run.figures().keys().collect()).unwrap_or_default();
    let mut csv = String::from("arm,seed,seconds,cpu_seconds,peak_memory_gib");
    names.iter().for_each(|name| csv += &format!(",{name}"));
    for run in runs {
        let metrics = &run.metrics;
        csv += &format!(
            "\n\"{}\",{},{:.2},{:.2},{:.3}",
            arms[run.arm].title().replace('"', "\"\""),
            run.seed,
            metrics.seconds,
            metrics.cpu_seconds,
            metrics.peak_memory_gib
        );
        for name in &names {
            csv += &run.figures().get(*name).map_or(",".to_owned(), |value| format!(",{value}"));
        }
    }
    save("comparison.csv", csv + "\n")
}
