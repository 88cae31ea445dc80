//! Axes: which numbers stand where, and which of them are written down.

use std::fmt::Write;

use crate::report::widgets::figure::at;
use crate::report::widgets::html::{decimal, escape};

/// How numbers are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps are equally long.
    Linear,
    /// Equal factors are equally long; for positive numbers.
    Logarithmic,
}

impl Scale {
    fn holds(self, value: f64) -> bool {
        value.is_finite() && (self == Self::Linear || value > 0.0)
    }
}

/// One axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: String,
    /// How.
    pub scale: Scale,
    /// From where to where; otherwise as far as the data go.
    pub range: Option<[f64; 2]>,
}

impl Axis {
    /// A linear axis as long as its data.
    pub fn linear(label: &str) -> Self {
        Self { label: label.to_owned(), scale: Scale::Linear, range: None }
    }

    /// A logarithmic axis as long as its data.
    pub fn logarithmic(label: &str) -> Self {
        Self { scale: Scale::Logarithmic, ..Self::linear(label) }
    }

    /// The same axis with fixed ends.
    pub fn between(self, low: f64, high: f64) -> Self {
        Self { range: Some([low, high]), ..self }
    }
}

/// Where the numbers of an axis stand: from `low` to `high` in numbers, `from` to `to` in the drawing.
pub(super) struct Placed {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Placed {
    /// An axis that holds `values`, or its own range.
    pub(super) fn new(axis: &Axis, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let [low, high] = axis.range.unwrap_or_else(|| {
            let found = values
                .filter(|value| axis.scale.holds(*value))
                .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], v| [low.min(v), high.max(v)]);
            if found[0] > found[1] { [0.0, 1.0] } else { found }
        });
        let scale = if low > 0.0 { axis.scale } else { Scale::Linear };
        let (low, high) = match scale {
            _ if low < high => (low, high),
            Scale::Logarithmic => (low / 2.0, low * 2.0),
            Scale::Linear => (low - 0.5, low + 0.5),
        };
        Self { scale, low, high, from, to }
    }

    /// Whether a number can be shown.
    pub(super) fn holds(&self, value: f64) -> bool {
        self.scale.holds(value)
    }

    /// The place of a number; outside numbers are moved to the nearer end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let along = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Logarithmic => (value.max(f64::MIN_POSITIVE).ln() - self.low.ln()) / (self.high.ln() - self.low.ln()),
        };
        self.from + along.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Numbers to write down, with their text: about `wanted` of them.
    fn ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear => self.even_ticks(wanted),
            Scale::Logarithmic => {
                let decades = self.high.log10() - self.low.log10();
                let factors: &[f64] = if decades > 4.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
                let powers = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
                let all = powers.flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)));
                let inside: Vec<f64> = all.filter(|tick| (self.low..=self.high).contains(tick)).collect();
                match inside.len() {
                    0 | 1 => self.even_ticks(wanted),
                    _ => inside.into_iter().map(|tick| (tick, short(tick))).collect(),
                }
            }
        }
    }

    fn even_ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        let rough = (self.high - self.low) / wanted.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|&step| step >= rough * 0.999).unwrap_or(power);
        let places = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        let text = |value: f64| if step >= 1000.0 { short(value) } else { decimal(value, places) };
        (first..=last).map(|number| number as f64 * step).map(|value| (value, text(if value == 0.0 { 0.0 } else { value }))).collect()
    }
}

/// A number to four decimals, or to three digits where those would leave nothing of it.
pub(super) fn precise(value: f64) -> String {
    match value.abs() {
        tiny if tiny < 1e-3 && tiny > 0.0 => format!("{value:.2e}").replace('-', "−"),
        _ => decimal(value, 4),
    }
}

/// A number with as few characters as it needs.
pub(super) fn short(value: f64) -> String {
    let cut = |value: f64| {
        let text = decimal(value, 1);
        text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
    };
    match value.abs() {
        large if large >= 1e9 => format!("{}G", cut(value / 1e9)),
        large if large >= 1e6 => format!("{}M", cut(value / 1e6)),
        large if large >= 1e4 => format!("{}k", cut(value / 1e3)),
        tiny if tiny < 1e-3 && tiny > 0.0 => format!("{value:.0e}").replace('-', "−"),
        small if small < 0.1 && small > 0.0 => format!("{:.4}", value).trim_end_matches('0').replace('-', "−"),
        _ => cut(value),
    }
}

/// Lines and numbers of a horizontal axis along the lower edge `bottom`, and its label.
pub(super) fn horizontal(axis: &Axis, placed: &Placed, top: f64, bottom: f64) -> String {
    let mut text = String::new();
    for (value, label) in placed.ticks(7) {
        let x = at(placed.place(value));
        let _infallible = writeln!(
            text,
            "<path class=\"grid\" d=\"M{x} {}V{}\"/><text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            at(top),
            at(bottom),
            at(bottom + 21.0)
        );
    }
    let (x, y) = (at((placed.from + placed.to) / 2.0), at(bottom + 42.0));
    text + &format!("<text class=\"label\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{}</text>\n", escape(&axis.label))
}

/// Lines and numbers of a vertical axis along the left edge, and its label above them.
pub(super) fn vertical(axis: &Axis, placed: &Placed, left: f64, right: f64) -> String {
    let mut text = String::new();
    for (value, label) in placed.ticks(5) {
        let y = placed.place(value);
        let _infallible = writeln!(
            text,
            "<path class=\"grid\" d=\"M{} {}H{}\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>",
            at(left),
            at(y),
            at(right),
            at(left - 6.0),
            at(y + 4.0)
        );
    }
    text + &format!("<text class=\"label\" x=\"0\" y=\"11\">{}</text>\n", escape(&axis.label))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: Axis) -> Vec<String> {
        Placed::new(&axis, std::iter::empty(), 0.0, 100.0).ticks(5).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_numbers_inside_the_axis() {
        assert_eq!(ticks(Axis::logarithmic("").between(0.9e-5, 1.1e-2)).first().unwrap(), "1e−5");
        assert_eq!([0.02, 3e-7, -0.05, 12.0].map(short), ["0.02", "3e−7", "−0.05", "12"]);
        assert_eq!(ticks(Axis::linear("").between(0.0, 1.0)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(ticks(Axis::linear("").between(-0.3, 0.31)), ["−0.2", "0.0", "0.2"]);
        assert_eq!(ticks(Axis::linear("").between(0.0, 60000.0)), ["0", "20k", "40k", "60k"]);
        assert_eq!(ticks(Axis::logarithmic("").between(1.0, 100.0)), ["1", "2", "5", "10", "20", "50", "100"]);
        assert_eq!(ticks(Axis::logarithmic("").between(3.0, 4.0)).len(), 6, "too short for powers of ten");
    }

    #[test]
    fn every_number_has_a_place_on_the_paper() {
        for values in [vec![], vec![f64::NAN], vec![3.0], vec![0.0], vec![-1.0, f64::INFINITY, 5.0], vec![1e-300, 1e300]] {
            for axis in [Axis::linear(""), Axis::logarithmic("")] {
                let placed = Placed::new(&axis, values.iter().copied(), 10.0, 90.0);
                assert!([-1e9, 0.5, 3.0, 1e9].iter().all(|&value| (10.0..=90.0).contains(&placed.place(value))), "{values:?}");
                assert!(placed.ticks(5).len() < 700);
            }
        }
        let placed = Placed::new(&Axis::logarithmic(""), [1.0, 100.0].into_iter(), 0.0, 100.0);
        assert!((placed.place(10.0) - 50.0).abs() < 1e-9);
    }
}
