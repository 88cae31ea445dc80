//! Text files: lines with their numbers, and columns between white space.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::formats::file::read_bounded;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_name_the_line() {
        let columns = |text| columns::<2>(Path::new("list.txt"), text, 1).map_err(|error| error.to_string());
        assert_eq!(columns("header\n1 a\n\n2 b\n").unwrap(), [(2, ["1", "a"]), (4, ["2", "b"])]);
        assert!(columns("header\n1 a\n2\n").unwrap_err().starts_with("list.txt:3: found 1 columns, expected 2"));
        assert!(number(Path::new("list.txt"), 7, "class", "x").unwrap_err().to_string().starts_with("list.txt:7: class is \"x\""));
    }
}
