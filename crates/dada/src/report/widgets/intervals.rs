//! Numbers with their intervals, one row each: differences from what they are compared with.

use std::fmt::Write;

use crate::report::widgets::axis::{Axis, Placed, horizontal};
use crate::report::widgets::figure::{at, figure};
use crate::report::widgets::html::{Html, decimal, escape};

const WIDTH: f64 = 640.0;
const LEFT: f64 = 190.0;
const CHARACTER: f64 = 6.8;
const RIGHT: f64 = 620.0;
const TOP: f64 = 12.0;
const ROW: f64 = 26.0;

/// A number and how sure it is.
#[derive(Clone, Debug)]
pub struct Interval {
    /// What it is.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Lower and upper end; NaN for none.
    pub ends: (f64, f64),
    /// Single numbers that it is the mean of; may be empty.
    pub points: Vec<f64>,
}

/// Draws intervals, with a line at zero.
pub fn intervals(caption: &str, label: &str, rows: &[Interval]) -> Html {
    let bottom = TOP + ROW * rows.len() as f64;
    let values = rows.iter().flat_map(|row| [row.value, row.ends.0, row.ends.1].into_iter().chain(row.points.iter().copied()));
    let axis = Axis::linear(label);
    let longest = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let left = (CHARACTER * longest as f64 + 20.0).clamp(LEFT, RIGHT / 2.0);
    let x = Placed::new(&axis, values.filter(|value| value.is_finite()).chain([0.0]), left, RIGHT);
    let mut content = horizontal(&axis, &x, TOP, bottom);
    let zero = at(x.place(0.0));
    let _infallible = writeln!(content, "<path class=\"zero\" d=\"M{zero} {TOP}V{bottom}\"/>");
    for (number, row) in rows.iter().enumerate() {
        let y = TOP + ROW * (number as f64 + 0.5);
        let name = escape(&row.name);
        let _infallible = writeln!(content, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>", at(left - 10.0), at(y + 4.0));
        for point in row.points.iter().filter(|point| point.is_finite()) {
            let _infallible = writeln!(content, "<circle class=\"dot s5\" cx=\"{}\" cy=\"{}\" r=\"2\"/>", at(x.place(*point)), at(y));
        }
        let (low, high) = row.ends;
        if low.is_finite() && high.is_finite() {
            let _infallible = writeln!(content, "<path class=\"line s0\" d=\"M{} {}H{}\"/>", at(x.place(low)), at(y), at(x.place(high)));
        }
        if row.value.is_finite() {
            let told = format!("{name}: {} [{}, {}]", decimal(row.value, 4), decimal(low, 4), decimal(high, 4));
            let (cx, cy) = (at(x.place(row.value)), at(y));
            let _infallible = writeln!(content, "<circle class=\"mark s0\" cx=\"{cx}\" cy=\"{cy}\" r=\"4\"><title>{told}</title></circle>");
        }
    }
    let told: Vec<String> = rows.iter().map(|row| format!("{} {}", row.name, decimal(row.value, 4))).collect();
    figure(caption, &format!("{caption}: {}", told.join("; ")), "", [WIDTH, bottom + 44.0], "chart", &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_a_mark_and_a_whisker_where_there_is_one() {
        let row = |value, ends| Interval { name: "a<b".into(), value, ends, points: vec![0.1, f64::NAN] };
        let drawn = intervals("c", "l", &[row(0.2, (0.1, 0.3)), row(-0.2, (f64::NAN, f64::NAN)), row(f64::NAN, (0.0, 1.0))]);
        let drawn = drawn.markup();
        assert_eq!(
            (drawn.matches("class=\"line").count(), drawn.matches("class=\"mark").count(), drawn.matches("class=\"dot").count()),
            (2, 2, 3)
        );
        assert!(!drawn.contains("NaN") && drawn.contains("a&lt;b"), "{drawn}");
    }

    #[test]
    fn long_names_have_room() {
        let row = |name: &str| Interval { name: name.into(), value: 0.2, ends: (0.1, 0.3), points: vec![] };
        let end = |name: &str| -> f64 {
            let drawn = intervals("c", "l", &[row(name)]);
            let before = drawn.markup().split("text-anchor=\"end\"").next().unwrap();
            before.rsplit("<text x=\"").next().unwrap().split('"').next().unwrap().parse().unwrap()
        };
        assert_eq!(end("short"), 180.0);
        assert!(end("name=normalized-softmax enabled=false") > 37.0 * 6.5);
    }
}
