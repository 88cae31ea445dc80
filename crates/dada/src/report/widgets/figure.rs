//! What all charts share: frame, legend, colours and coordinates.

use std::fmt::Display;

use crate::report::widgets::html::{Html, escape};

/// Colours of series, named in `style.css`; further series take them up again with another stroke.
const SERIES: usize = 6;

/// The classes of a series' marks in `style.css`: its colour and, from the second round of colours on, its stroke.
pub(super) fn series(number: usize) -> String {
    let stroke = ["", " dashed", " dotted"][number / SERIES % 3];
    format!("s{}{stroke}", number % SERIES)
}

/// A drawing with its caption. `description` is what is read aloud.
pub(super) fn figure(caption: &str, description: &str, legend: &str, [width, height]: [f64; 2], class: &str, content: &str) -> Html {
    let (caption, description) = (escape(caption), escape(description));
    Html(format!(
        "<figure class=\"{class}\"><figcaption>{caption}</figcaption>\n{legend}<svg viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"{description}\">\n{content}</svg></figure>\n"
    ))
}

/// Names of series with their colours; nothing for a single one.
pub(super) fn legend<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    if names.len() < 2 {
        return String::new();
    }
    let entry = |(at, name): (usize, &str)| format!("<li class=\"{}\">{}</li>", series(at), escape(name));
    format!("<ul class=\"legend\">{}</ul>\n", names.enumerate().map(entry).collect::<String>())
}

/// A coordinate of a drawing, to a tenth.
pub(super) fn at(value: f64) -> impl Display {
    (value * 10.0).round() / 10.0
}
