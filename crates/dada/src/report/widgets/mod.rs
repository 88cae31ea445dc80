//! Pages that people open: one self-contained HTML file each, without a request to anywhere.
//!
//! A figure is a function from numbers to [`Html`]; a [`Page`] is a title and what was added to it, top to bottom. All text is escaped on
//! its way into [`Html`], so class names may hold anything. Colours follow the reader's light or dark setting, and every chart is an
//! inline SVG with a spoken description.

mod axis;
pub mod bars;
pub mod histogram;
pub mod intervals;
pub mod line;
pub mod pictures;
pub mod scatter;

use std::fmt::{Display, Write};
use std::fs;
use std::path::Path;

use crate::error::{AtPath, Result};

pub use axis::{Axis, Scale};
pub use bars::{Bar, bars};
pub use histogram::{Counts, histogram};
pub use intervals::{Interval, intervals};
pub use line::{Line, Lines, lines};
pub use pictures::{Mark, Thumbnail, sheet, strip};
pub use scatter::{Point, Shape, scatter};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Colours of series, named in `style.css`; further series take them up again with another stroke.
const SERIES: usize = 6;

/// The classes of a series' marks in `style.css`: its colour and, from the second round of colours on, its stroke.
fn series(number: usize) -> String {
    let stroke = ["", " dashed", " dotted"][number / SERIES % 3];
    format!("s{}{stroke}", number % SERIES)
}

/// Markup in which all foreign text is escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Html(String);

impl Html {
    /// Plain text: what markup would mean is escaped.
    pub fn text(text: &str) -> Self {
        Self(escape(text))
    }

    /// A paragraph of plain text.
    pub fn paragraph(text: &str) -> Self {
        Self(format!("<p>{}</p>\n", escape(text)))
    }

    /// A remark in smaller type: where numbers come from, what was left out.
    pub fn note(text: &str) -> Self {
        Self(format!("<p class=\"note\">{}</p>\n", escape(text)))
    }

    /// The markup.
    pub fn markup(&self) -> &str {
        &self.0
    }

    /// Appends.
    pub fn push(&mut self, other: &Html) {
        self.0 += &other.0;
    }
}

impl FromIterator<Html> for Html {
    fn from_iter<I: IntoIterator<Item = Html>>(parts: I) -> Self {
        Self(parts.into_iter().map(|part| part.0).collect())
    }
}

/// A page in the making.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// An empty page; `about` stands under the title: what was measured, where, when.
    pub fn new(title: &str, about: &str) -> Self {
        let body = format!("<header><h1>{}</h1><p>{}</p></header>\n", escape(title), escape(about));
        Self { title: title.to_owned(), body }
    }

    /// A section with a heading and its content.
    pub fn section(&mut self, heading: &str, content: impl IntoIterator<Item = Html>) {
        let content: Html = content.into_iter().collect();
        let _infallible = writeln!(self.body, "<section><h2>{}</h2>\n{}</section>", escape(heading), content.0);
    }

    /// The whole document. Its content policy forbids every request.
    pub fn render(&self) -> String {
        let policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}</main>\n<footer>Made by dada</footer>\n<script>\n{SCRIPT}</script>\n\
             </body>\n</html>\n",
            escape(&self.title),
            self.body,
        )
    }

    /// Writes the document, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let partial = path.with_added_extension("partial");
        fs::write(&partial, self.render()).at(&partial)?;
        fs::rename(&partial, path).at(path)
    }
}

/// A number that a reader should see first.
#[derive(Clone, Debug)]
pub struct Tile<'a> {
    /// What it is.
    pub name: &'a str,
    /// The number, formatted.
    pub value: String,
    /// An interval or another remark under it; may be empty.
    pub note: String,
}

/// Numbers side by side, large.
pub fn tiles(tiles: &[Tile]) -> Html {
    let tile = |tile: &Tile| {
        let [name, value, note] = [tile.name, &tile.value, &tile.note].map(escape);
        format!("<div class=\"tile\"><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>\n")
    };
    Html(format!("<dl class=\"tiles\">\n{}</dl>\n", tiles.iter().map(tile).collect::<String>()))
}

/// A table; the first column names its rows, the others are set as numbers unless one of their cells begins with a letter.
pub fn table(columns: &[&str], rows: &[Vec<String>]) -> Html {
    let words = |at: usize| rows.iter().any(|row| row[at].starts_with(char::is_alphabetic));
    let class = |at| if words(at) { " class=\"words\"" } else { "" };
    let classes: Vec<&str> = (0..columns.len()).map(class).collect();
    let head: String =
        columns.iter().zip(&classes).map(|(name, class)| format!("<th scope=\"col\"{class}>{}</th>", escape(name))).collect();
    let cell = |(at, text): (usize, &String)| match at {
        0 => format!("<th scope=\"row\">{}</th>", escape(text)),
        _ => format!("<td{}>{}</td>", classes[at], escape(text)),
    };
    let row = |row: &Vec<String>| format!("<tr>{}</tr>\n", row.iter().enumerate().map(cell).collect::<String>());
    let body: String = rows.iter().map(row).collect();
    Html(format!("<div class=\"wide\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n"))
}

/// Content of which one part shows at a time; the first is shown first. `group` is a name that no other switch on the page has.
pub fn switch(group: &str, parts: &[(&str, Html)]) -> Html {
    let part = |(at, (name, content)): (usize, &(&str, Html))| {
        let (checked, id) = (if at == 0 { " checked" } else { "" }, escape(format!("{group}-{at}")));
        let (group, name) = (escape(group), escape(name));
        format!(
            "<input type=\"radio\" name=\"{group}\" id=\"{id}\"{checked}><label for=\"{id}\">{name}</label>\n<div class=\"part\">{}</div>\n",
            content.0
        )
    };
    Html(format!("<div class=\"switch\">\n{}</div>\n", parts.iter().enumerate().map(part).collect::<String>()))
}

/// Figures beside each other where the window is wide enough.
pub fn beside(figures: impl IntoIterator<Item = Html>) -> Html {
    Html(format!("<div class=\"beside\">\n{}</div>\n", figures.into_iter().collect::<Html>().0))
}

/// Text as it is, in a fixed width.
pub fn preformatted(text: &str) -> Html {
    let lines: Vec<String> = text.lines().map(escape).collect();
    Html(format!("<pre>{}</pre>\n", lines.join("\n")))
}

/// Content that is opened on demand.
pub fn details(summary: &str, content: &Html) -> Html {
    Html(format!("<details><summary>{}</summary>\n{}</details>\n", escape(summary), content.0))
}

/// A drawing with its caption. `description` is what is read aloud.
fn figure(caption: &str, description: &str, legend: &str, [width, height]: [f64; 2], class: &str, content: &str) -> Html {
    let (caption, description) = (escape(caption), escape(description));
    Html(format!(
        "<figure class=\"{class}\"><figcaption>{caption}</figcaption>\n{legend}<svg viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"{description}\">\n{content}</svg></figure>\n"
    ))
}

/// Names of series with their colours; nothing for a single one.
fn legend<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    if names.len() < 2 {
        return String::new();
    }
    let entry = |(at, name): (usize, &str)| format!("<li class=\"{}\">{}</li>", series(at), escape(name));
    format!("<ul class=\"legend\">{}</ul>\n", names.enumerate().map(entry).collect::<String>())
}

/// Text as it may stand in markup and in attributes. Control characters, which no document may hold, become spaces.
fn escape(text: impl AsRef<str>) -> String {
    let mut escaped = String::with_capacity(text.as_ref().len());
    for character in text.as_ref().chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A coordinate of a drawing, to a tenth.
fn at(value: f64) -> impl Display {
    (value * 10.0).round() / 10.0
}

/// A whole number with its thousands apart.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with `places` decimals; a dash for what is not finite.
pub fn decimal(value: f64, places: usize) -> String {
    if value.is_finite() { format!("{value:.places$}").replace('-', "−") } else { "–".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "<script>alert(\"1\")</script> & 'x'\u{7}";

    #[test]
    fn no_text_becomes_markup() {
        let mut page = Page::new(HOSTILE, HOSTILE);
        page.section(
            HOSTILE,
            [
                Html::text(HOSTILE),
                Html::paragraph(HOSTILE),
                tiles(&[Tile { name: HOSTILE, value: HOSTILE.into(), note: HOSTILE.into() }]),
                table(&[HOSTILE, ""], &[vec![HOSTILE.into(), HOSTILE.into()]]),
                switch("a", &[(HOSTILE, details(HOSTILE, &Html::note(HOSTILE)))]),
                bars(HOSTILE, &[Bar { name: HOSTILE.into(), value: 0.5, note: HOSTILE.into() }]),
                histogram(HOSTILE, HOSTILE, HOSTILE, &[Counts { name: HOSTILE.into(), bins: vec![1, 2] }], [0.0, 1.0]),
                beside([lines(&Lines {
                    title: HOSTILE.into(),
                    x: Axis::linear(HOSTILE),
                    y: Axis::linear(HOSTILE),
                    series: vec![Line::new(HOSTILE, vec![(0.0, 1.0), (1.0, 2.0)]); 2],
                })]),
                scatter(HOSTILE, &[Point { x: 0.0, y: 1.0, group: 0, name: HOSTILE.into(), shape: Shape::Dot }]),
                strip(&[(Mark::Query, Thumbnail::missing(HOSTILE))]),
            ],
        );
        let document = page.render();
        assert_eq!(document.matches("<script>").count(), 1, "only our own");
        assert!(!document.contains("alert(\"") && !document.contains('\u{7}') && document.contains("&lt;script&gt;"));
    }

    #[test]
    fn nothing_is_fetched() {
        let document = Page::new("a", "b").render();
        for word in ["http:", "https:", "@import", "url(", "src="] {
            assert!(!document.replace("img-src ", "").contains(word), "{word}");
        }
        assert!(document.contains("default-src 'none'"));
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 60502, 1234567].map(count), ["0", "999", "1,000", "60,502", "1,234,567"]);
        assert_eq!((decimal(-0.25, 1), decimal(f64::NAN, 3)), ("−0.2".to_owned(), "–".to_owned()));
    }

    #[test]
    fn a_page_appears_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        Page::new("a", "b").write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), Page::new("a", "b").render());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(Page::new("a", "b").write(&folder.path().join("no/page.html")).is_err());
    }
}
