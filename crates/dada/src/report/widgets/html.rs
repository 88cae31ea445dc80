//! Markup, and the text and numbers in it. Everything foreign is escaped here, on its way into markup.

/// Markup in which all foreign text is escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Html(pub(super) String);

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

/// Text as it may stand in markup and in attributes. Control characters, which no document may hold, become spaces.
pub(super) fn escape(text: impl AsRef<str>) -> String {
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

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 60502, 1234567].map(count), ["0", "999", "1,000", "60,502", "1,234,567"]);
        assert_eq!((decimal(-0.25, 1), decimal(f64::NAN, 3)), ("−0.2".to_owned(), "–".to_owned()));
    }
}
