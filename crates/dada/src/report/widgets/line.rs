//! Curves: recall over k, a loss over epochs.

use std::fmt::Write;

use crate::report::widgets::axis::{Axis, Placed, horizontal, precise, short, vertical};
use crate::report::widgets::figure::{at, figure, legend, series};
use crate::report::widgets::html::{Html, escape};

const SIZE: [f64; 2] = [640.0, 316.0];
const LEFT: f64 = 60.0;
const RIGHT: f64 = 626.0;
const TOP: f64 = 32.0;
const BOTTOM: f64 = 266.0;
/// Up to this many points are marked, with their numbers under the pointer.
const MARKED: usize = 40;

/// A curve.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// (x, y), by ascending x. What is not finite, or has no place on a logarithmic axis, leaves a gap.
    pub points: Vec<(f64, f64)>,
    /// Lower and upper end of an interval for each point; empty for none.
    pub band: Vec<(f64, f64)>,
}

impl Line {
    /// A curve without intervals.
    pub fn new(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), points, band: Vec::new() }
    }
}

/// A chart of curves.
#[derive(Clone, Debug)]
pub struct Lines {
    /// Its caption.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The curves; several get a legend.
    pub series: Vec<Line>,
}

/// Draws curves.
pub fn lines(chart: &Lines) -> Html {
    let points = || chart.series.iter().flat_map(|line| line.points.iter());
    let bands = chart.series.iter().flat_map(|line| line.band.iter().flat_map(|&(low, high)| [low, high]));
    let x = Placed::new(&chart.x, points().map(|point| point.0), LEFT, RIGHT);
    let y = Placed::new(&chart.y, points().map(|point| point.1).chain(bands), BOTTOM, TOP);
    let has_place = |point: &&(f64, f64)| x.holds(point.0) && y.holds(point.1);
    let mut content = horizontal(&chart.x, &x, TOP, BOTTOM) + &vertical(&chart.y, &y, LEFT, RIGHT);
    for (number, line) in chart.series.iter().enumerate() {
        let class = series(number);
        let place = |&(a, b): &(f64, f64)| format!("{} {}", at(x.place(a)), at(y.place(b)));
        if line.band.len() == line.points.len() && !line.band.is_empty() {
            let upper = line.points.iter().zip(&line.band).map(|(point, band)| place(&(point.0, band.1)));
            let lower = line.points.iter().zip(&line.band).rev().map(|(point, band)| place(&(point.0, band.0)));
            let outline = upper.chain(lower).collect::<Vec<_>>().join("L");
            let _infallible = writeln!(content, "<path class=\"band {class}\" d=\"M{outline}Z\"/>");
        }
        for part in line.points.split(|point| !has_place(&point)).filter(|part| !part.is_empty()) {
            let path = part.iter().map(place).collect::<Vec<_>>().join("L");
            let _infallible = writeln!(content, "<path class=\"line {class}\" d=\"M{path}\"/>");
        }
        if line.points.len() <= MARKED {
            for (a, b) in line.points.iter().filter(has_place) {
                let _infallible = writeln!(
                    content,
                    "<circle class=\"mark {class}\" cx=\"{}\" cy=\"{}\" r=\"3.5\"><title>{}: {} at {}</title></circle>",
                    at(x.place(*a)),
                    at(y.place(*b)),
                    escape(&line.name),
                    precise(*b),
                    short(*a)
                );
            }
        }
    }
    let ends = chart.series.iter().filter_map(|line| {
        let last = line.points.last()?;
        Some(format!("{} ends at {}", line.name, precise(last.1)))
    });
    let description = format!("{}: {} over {}. {}", chart.title, chart.y.label, chart.x.label, ends.collect::<Vec<_>>().join("; "));
    figure(&chart.title, &description, &legend(chart.series.iter().map(|line| line.name.as_str())), SIZE, "chart", &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seventh_curve_has_the_first_colour_in_another_stroke() {
        let series = (0..13).map(|number| Line::new(&number.to_string(), vec![(0.0, 1.0), (1.0, f64::from(number))])).collect();
        let drawn = lines(&Lines { title: String::new(), x: Axis::linear("x"), y: Axis::linear("y"), series }).markup().to_owned();
        for class in ["s0", "s0 dashed", "s0 dotted"] {
            assert_eq!(drawn.matches(&format!("class=\"line {class}\"")).count(), 1, "{class}");
        }
        assert!(drawn.contains("<li class=\"s1 dashed\">7</li>"));
    }

    #[test]
    fn small_numbers_keep_their_digits_and_zero_has_no_place_on_a_logarithmic_axis() {
        let series = vec![Line::new("pull", vec![(0.0, 1.93e-5), (1.0, 0.0), (2.0, 1.6e-4), (3.0, 2.5e-3)])];
        let drawn = lines(&Lines { title: String::new(), x: Axis::linear("x"), y: Axis::logarithmic("y"), series }).markup().to_owned();
        assert!(drawn.contains("pull: 1.93e−5 at 0") && drawn.contains("pull: 0.0025 at 3"), "{drawn}");
        assert_eq!((drawn.matches("class=\"line").count(), drawn.matches("<circle").count()), (2, 3));
    }

    #[test]
    fn a_gap_parts_a_curve_and_a_band_surrounds_it() {
        let points = vec![(1.0, 0.0), (2.0, 1.0), (3.0, f64::NAN), (4.0, 0.5)];
        let mut line = Line::new("a", points);
        let draw = |line: &Line| {
            let chart = Lines { title: String::new(), x: Axis::linear("x"), y: Axis::linear("y"), series: vec![line.clone()] };
            lines(&chart).markup().to_owned()
        };
        let drawn = draw(&line);
        assert_eq!((drawn.matches("class=\"line").count(), drawn.matches("<circle").count(), drawn.matches("band").count()), (2, 3, 0));
        assert!(drawn.contains(&format!("M{LEFT} {BOTTOM}L")), "{drawn}");
        assert!(!drawn.contains("NaN"));
        line.band = vec![(0.0, 1.0); 4];
        assert_eq!(draw(&line).matches("band").count(), 1);
        assert!(!draw(&Line::new("nothing", Vec::new())).contains("class=\"line"));
    }
}
