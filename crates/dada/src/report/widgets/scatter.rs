//! Maps: points in two dimensions, a colour for each group; pointing at one shows its whole group.

use std::fmt::Write;

use crate::report::widgets::figure::{at, figure};
use crate::report::widgets::html::{Html, count, escape};

const SIDE: f64 = 640.0;
const MARGIN: f64 = 14.0;

/// How a point is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A sample.
    Dot,
    /// A proxy or another point that stands for many.
    Diamond,
}

/// A point of a map.
#[derive(Clone, Debug)]
pub struct Point {
    /// Position, in units of its own.
    pub x: f64,
    /// Position.
    pub y: f64,
    /// Points of one group have one colour.
    pub group: usize,
    /// What is shown under the pointer.
    pub name: String,
    /// How it is drawn.
    pub shape: Shape,
}

/// Draws a map. Both directions have one scale, since distances are what a map is about.
pub fn scatter(caption: &str, points: &[Point]) -> Html {
    let finite = || points.iter().filter(|point| point.x.is_finite() && point.y.is_finite());
    let ends = |of: fn(&Point) -> f64| finite().map(of).fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], v| [a.min(v), b.max(v)]);
    let ([left, right], [low, high]) = (ends(|point| point.x), ends(|point| point.y));
    let extent = (right - left).max(high - low);
    let scale = if extent > 0.0 { (SIDE - 2.0 * MARGIN) / extent } else { 1.0 };
    let height = ((high - low).max(0.0) * scale + 2.0 * MARGIN).round();
    let mut content = String::new();
    // What stands for many lies on top of what is one of many.
    for shape in [Shape::Dot, Shape::Diamond] {
        for point in finite().filter(|point| point.shape == shape) {
            let (x, y) = (at(MARGIN + (point.x - left) * scale), at(height - MARGIN - (point.y - low) * scale));
            // The golden angle keeps the colours of neighbouring groups apart, however many there are.
            let (group, hue) = (point.group, (point.group as f64 * 137.508) % 360.0);
            let attributes = format!("data-group=\"{group}\" style=\"--hue:{hue:.0}\"");
            let title = escape(&point.name);
            let _infallible = match shape {
                Shape::Dot => writeln!(content, "<circle {attributes} cx=\"{x}\" cy=\"{y}\" r=\"3\"><title>{title}</title></circle>"),
                Shape::Diamond => {
                    writeln!(
                        content,
                        "<path {attributes} transform=\"translate({x} {y})\" d=\"M0-6L6 0L0 6L-6 0Z\"><title>{title}</title></path>"
                    )
                }
            };
        }
    }
    let diamonds = points.iter().filter(|point| point.shape == Shape::Diamond).count();
    let marks = if diamonds > 0 { format!(" and {} larger marks", count(diamonds)) } else { String::new() };
    let description = format!("{caption}: a map of {} points{marks}", count(points.len() - diamonds));
    figure(caption, &description, "", [SIDE, height], "map", &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_keeps_proportions_and_stays_on_the_paper() {
        let point = |x, y, shape| Point { x, y, group: 7, name: "n".into(), shape };
        let drawn = scatter("", &[point(0.0, 0.0, Shape::Diamond), point(4.0, 2.0, Shape::Dot), point(f64::NAN, 0.0, Shape::Dot)]);
        let text = drawn.markup();
        assert!(text.contains("viewBox=\"0 0 640 334\"") && text.contains("cx=\"626\" cy=\"14\""), "{text}");
        assert!(text.find("<circle") < text.find("<path") && !text.contains("NaN"));
        for points in [vec![], vec![point(1.0, 1.0, Shape::Dot)]] {
            let drawn = scatter("", &points);
            assert!(!drawn.markup().contains("NaN") && !drawn.markup().contains("inf"), "{drawn:?}");
        }
    }
}
