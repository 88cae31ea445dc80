//! Figures as an aligned table.

use dada::train::Figures;

/// The metrics shown, in order.
const SHOWN: [&str; 7] = ["recall@1", "recall@2", "recall@4", "recall@8", "map@r", "r_precision", "mrr"];

/// One row for each named set of figures.
pub fn render(rows: &[(&str, &Figures)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = format!("{:width$}", "");
    for name in SHOWN {
        text += &format!("  {name:>11}");
    }
    for (name, figures) in rows {
        text += &format!("\n{name:width$}");
        for name in SHOWN {
            text += &figures.get(name).map_or(format!("  {:>11}", "-"), |value| format!("  {value:>11.4}"));
        }
    }
    text
}

/// One row for each named list of figures, with a column for every figure that any of them has, in the order in which they first come.
pub fn columns(rows: &[(&str, Vec<(String, f64)>)]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flat_map(|(_, figures)| figures) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = format!("{:width$}", "");
    for name in &names {
        text += &format!("  {name:>11}");
    }
    for (row, figures) in rows {
        text += &format!("\n{row:width$}");
        for name in &names {
            let value = figures.iter().find(|(found, _)| found == name);
            text += &value.map_or(format!("  {:>11}", "-"), |(_, value)| format!("  {value:>11.4}"));
        }
    }
    text
}
