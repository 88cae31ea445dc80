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
