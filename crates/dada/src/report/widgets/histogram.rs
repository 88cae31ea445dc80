//! Histograms that lie over each other, each as a share of its own total.

use std::fmt::Write;

use crate::report::widgets::axis::{Axis, Placed, horizontal, vertical};
use crate::report::widgets::figure::{at, figure, legend, series};
use crate::report::widgets::html::{Html, count, decimal, escape};

const SIZE: [f64; 2] = [640.0, 284.0];
const LEFT: f64 = 52.0;
const RIGHT: f64 = 626.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 238.0;

/// How many values fell into each of equally wide bins.
#[derive(Clone, Debug)]
pub struct Counts {
    /// What was counted.
    pub name: String,
    /// The bins, from the lower end of the range to the upper.
    pub bins: Vec<u64>,
}

/// Draws histograms of `things` (pairs, classes) over one range; heights are shares of each one's own total, so that rare things can be
/// compared with frequent ones.
pub fn histogram(caption: &str, label: &str, things: &str, counts: &[Counts], [low, high]: [f64; 2]) -> Html {
    let share = |counts: &Counts, bin: u64| bin as f64 / (counts.bins.iter().sum::<u64>() as f64).max(1.0);
    let highest = counts.iter().flat_map(|counts| counts.bins.iter().map(|&bin| share(counts, bin))).fold(0.0, f64::max);
    let (horizontal_axis, vertical_axis) =
        (Axis::linear(label).between(low, high), Axis::linear(&format!("share of {things}")).between(0.0, highest.max(1e-9)));
    let x = Placed::new(&horizontal_axis, std::iter::empty(), LEFT, RIGHT);
    let y = Placed::new(&vertical_axis, std::iter::empty(), BOTTOM, TOP);
    let mut content = horizontal(&horizontal_axis, &x, TOP, BOTTOM) + &vertical(&vertical_axis, &y, LEFT, RIGHT);
    for (number, counts) in counts.iter().enumerate() {
        let width = (high - low) / counts.bins.len().max(1) as f64;
        let mut outline = format!("M{} {BOTTOM}", at(LEFT));
        for (bin, &value) in counts.bins.iter().enumerate() {
            let end = x.place(low + (bin + 1) as f64 * width);
            let _infallible = write!(outline, "V{}H{}", at(y.place(share(counts, value))), at(end));
        }
        let total = counts.bins.iter().sum::<u64>() as usize;
        let class = series(number);
        let _infallible = writeln!(
            content,
            "<path class=\"area {class}\" d=\"{outline}V{BOTTOM}Z\"><title>{}: {} {}</title></path>",
            escape(&counts.name),
            count(total),
            escape(things)
        );
    }
    let means = counts.iter().map(|counts| format!("{} averages {}", counts.name, decimal(mean(counts, low, high), 2)));
    let description = format!("{caption}. {}", means.collect::<Vec<_>>().join("; "));
    figure(caption, &description, &legend(counts.iter().map(|counts| counts.name.as_str())), SIZE, "chart", &content)
}

/// The mean of what was counted, every value standing at the middle of its bin.
fn mean(counts: &Counts, low: f64, high: f64) -> f64 {
    let width = (high - low) / counts.bins.len() as f64;
    let total: u64 = counts.bins.iter().sum();
    counts.bins.iter().enumerate().map(|(bin, &count)| (low + (bin as f64 + 0.5) * width) * count as f64).sum::<f64>() / total as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_shares_of_each_ones_own_total() {
        let counts = |bins: &[u64]| Counts { name: "x".into(), bins: bins.to_vec() };
        let drawn = histogram("", "cosine", "pairs", &[counts(&[1, 1]), counts(&[500, 500]), counts(&[0, 0]), counts(&[])], [-1.0, 1.0]);
        let paths: Vec<&str> = drawn.markup().split("class=\"area s").skip(1).map(|rest| rest.split("d=\"").nth(1).unwrap()).collect();
        let path = |at: usize| paths[at].split('"').next().unwrap();
        assert_eq!(path(0), path(1));
        assert!(path(0).starts_with(&format!("M{LEFT} {BOTTOM}V{TOP}H339V{TOP}H{RIGHT}V{BOTTOM}Z")), "{}", path(0));
        assert!((mean(&counts(&[1, 3]), 0.0, 1.0) - 0.625).abs() < 1e-12);
    }
}
