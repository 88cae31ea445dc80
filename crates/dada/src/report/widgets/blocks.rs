//! What a section is built of besides charts: large numbers, tables, parts that are shown on demand.

use crate::report::widgets::html::{Html, escape};

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
