//! A whole document: a title and its sections.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::error::{AtPath, Result};
use crate::report::widgets::html::{Html, escape};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::widgets::{
        Axis, Bar, Counts, Line, Lines, Mark, Point, Shape, Thumbnail, Tile, bars, beside, details, histogram, lines, scatter, strip,
        switch, table, tiles,
    };

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
    fn a_page_appears_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        Page::new("a", "b").write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), Page::new("a", "b").render());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(Page::new("a", "b").write(&folder.path().join("no/page.html")).is_err());
    }
}
