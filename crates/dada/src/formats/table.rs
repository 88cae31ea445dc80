//! Lists in text files: lines with their numbers, and comma-separated values.

use std::path::{Path, PathBuf};

use crate::data::pictures::decode::read_bounded;
use crate::error::{Error, Result};

/// The longest list that is read: In-Shop's, the longest of the benchmarks, has 4 MB.
const MAX_LIST_BYTES: u64 = 1 << 30;

/// A text file.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Format`] when it is too long or not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = read_bounded(path, MAX_LIST_BYTES)?;
    let text = String::from_utf8(bytes).map_err(|error| Error::format(path, format!("expected UTF-8 text: {error}")))?;
    // Spreadsheet programs mark UTF-8 with this character; it is not part of the first column's name.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// A problem in one line of a file, counted from 1.
pub fn at_line(path: &Path, line: usize, problem: impl Into<String>) -> Error {
    Error::format(PathBuf::from(format!("{}:{line}", path.display())), problem)
}

/// The lines that are not blank, split at white space into exactly N columns, with their numbers from 1.
///
/// # Errors
/// [`Error::Format`] with the line when a line has another number of columns.
pub fn columns<'text, const N: usize>(path: &Path, text: &'text str, skip: usize) -> Result<Vec<(usize, [&'text str; N])>> {
    let lines = text.lines().enumerate().skip(skip).filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let found: Vec<&str> = line.split_whitespace().collect();
            let count = found.len();
            let row = <[&str; N]>::try_from(found);
            row.map(|row| (number + 1, row))
                .map_err(|_| at_line(path, number + 1, format!("found {count} columns, expected {N}: {line:?}")))
        })
        .collect()
}

/// Parses one value of a line.
///
/// # Errors
/// [`Error::Format`] with the line.
pub fn number(path: &Path, line: usize, what: &str, text: &str) -> Result<usize> {
    text.parse().map_err(|_| at_line(path, line, format!("{what} is {text:?}, expected a whole number")))
}

/// Comma-separated rows with the number of the line on which each begins. Fields in double quotes may hold commas, line ends, and
/// quotes written twice.
///
/// # Errors
/// [`Error::Format`] with the line for a quote that is not closed or stands within a field.
pub fn csv_rows(path: &Path, text: &str) -> Result<Vec<(usize, Vec<String>)>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begin, mut quoted) = (1, 1, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let ends_field = |next: Option<&char>| matches!(next, None | Some(',' | '\n' | '\r'));
        match character {
            '"' if !quoted && field.is_empty() => quoted = true,
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' if quoted && ends_field(characters.peek()) => quoted = false,
            '"' => return Err(at_line(path, line, "found a quote within a field, expected it written twice and the field in quotes")),
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\r' if !quoted && characters.peek() == Some(&'\n') => {}
            '\n' => {
                line += 1;
                if quoted {
                    field.push('\n');
                    continue;
                }
                if !(row.is_empty() && field.trim().is_empty()) {
                    row.push(std::mem::take(&mut field));
                    rows.push((begin, std::mem::take(&mut row)));
                }
                field.clear();
                begin = line;
            }
            other => field.push(other),
        }
    }
    if quoted {
        return Err(at_line(path, begin, "found a quote that is never closed"));
    }
    if !(row.is_empty() && field.trim().is_empty()) {
        row.push(field);
        rows.push((begin, row));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
        csv_rows(Path::new("list.csv"), text).unwrap()
    }

    #[test]
    fn fields_rows_and_line_numbers() {
        let found = rows("a,b\r\n\n\"x, \"\"y\"\"\n2\",\n c ,d");
        assert_eq!(
            found,
            [(1, vec!["a".into(), "b".into()]), (3, vec!["x, \"y\"\n2".into(), "".into()]), (5, vec![" c ".into(), "d".into()])]
        );
        assert!(rows("").is_empty() && rows("\n \n").is_empty());
        assert_eq!(rows(",")[0].1, ["", ""]);
    }

    #[test]
    fn problems_name_the_line() {
        let problem = |text| csv_rows(Path::new("list.csv"), text).unwrap_err().to_string();
        assert!(problem("a,b\nc,\"d\n").starts_with("list.csv:2: found a quote that is never closed"));
        assert!(problem("a\nb\nc\"d\n").starts_with("list.csv:3: found a quote within"));
        let columns = |text| columns::<2>(Path::new("list.txt"), text, 1).map_err(|error| error.to_string());
        assert_eq!(columns("header\n1 a\n\n2 b\n").unwrap(), [(2, ["1", "a"]), (4, ["2", "b"])]);
        assert!(columns("header\n1 a\n2\n").unwrap_err().starts_with("list.txt:3: found 1 columns, expected 2"));
        assert!(number(Path::new("list.txt"), 7, "class", "x").unwrap_err().to_string().starts_with("list.txt:7: class is \"x\""));
    }
}
