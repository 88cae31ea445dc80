//! Comma-separated values with a header: RFC 4180, with any line ends, blank lines passed over, and stray quotes refused.

use std::path::Path;

use crate::error::{Error, Result};
use crate::formats::file::Partial;
use crate::formats::text::{at_line, read_text};

/// A header and the rows below it.
#[derive(Debug)]
pub struct Table {
    /// The names of the columns, without white space around them.
    pub header: Vec<String>,
    /// Each with the number of the line on which it begins, from 1. A row may have more or fewer fields than the header.
    pub rows: Vec<(usize, Vec<String>)>,
}

/// Reads a file.
///
/// # Errors
/// [`Error::Io`] when it cannot be read. [`Error::Format`] when it is empty, `expected` says what its header has to be; and with the line for a
/// quote that is not closed or stands within a field.
pub fn read(path: &Path, expected: &str) -> Result<Table> {
    let mut rows = parse(path, &read_text(path)?)?.into_iter();
    let (_, header) = rows.next().ok_or_else(|| Error::format(path, format!("found an empty file, expected a header with {expected}")))?;
    Ok(Table { header: header.iter().map(|name| name.trim().to_owned()).collect(), rows: rows.collect() })
}

/// Comma-separated rows with the number of the line on which each begins. Fields in double quotes may hold commas, line ends, and
/// quotes written twice.
fn parse(path: &Path, text: &str) -> Result<Vec<(usize, Vec<String>)>> {
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

/// A file in the making.
pub struct Writer(Partial);

impl Writer {
    /// Begins a file with its header.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn create(path: &Path, header: &[&str]) -> Result<Self> {
        let mut writer = Self(Partial::create(path)?);
        writer.write(header)?;
        Ok(writer)
    }

    /// Appends a row.
    ///
    /// # Errors
    /// When the disk is full, for example.
    pub fn write(&mut self, row: &[&str]) -> Result<()> {
        let fields: Vec<String> = row.iter().map(|text| field(text)).collect();
        self.0.append(format!("{}\n", fields.join(",")).as_bytes())
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// When the disk is full, for example.
    pub fn keep(self) -> Result<()> {
        self.0.keep()
    }
}

/// A field of a row, in quotes where it needs them.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) || text.trim() != text {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
        parse(Path::new("list.csv"), text).unwrap()
    }

    #[test]
    fn fields_rows_and_line_numbers() {
        let wanted = [(1, vec!["a".into(), "b".into()]), (3, vec!["x, \"y\"\n2".into(), "".into()]), (5, vec![" c ".into(), "d".into()])];
        let text = "a,b\n\n\"x, \"\"y\"\"\n2\",\n c ,d";
        assert_eq!(rows(text), wanted);
        assert_eq!(rows(&text.replacen('\n', "\r\n", 1)), wanted);
        assert!(rows("").is_empty() && rows("\n \n").is_empty());
        assert_eq!(rows(",")[0].1, ["", ""]);
        assert_eq!(rows("\"\",\"a\"\"\"\r\n\"\"\"\"\n"), [(1, vec!["".into(), "a\"".into()]), (2, vec!["\"".into()])]);
    }

    #[test]
    fn problems_name_the_line() {
        let problem = |text: &str| parse(Path::new("list.csv"), text).unwrap_err().to_string();
        assert!(problem("a,b\nc,\"d\n").starts_with("list.csv:2: found a quote that is never closed"));
        assert!(problem("a,b\n\nc,\"d\"\"\n").starts_with("list.csv:3: found a quote that is never closed"));
        for stray in ["c\"d\n", "\"c\"d\n", "c,d\"\"\n", " \"c\"\n", "\"c\"\"\"d,\n"] {
            assert!(problem(&format!("a\nb\n{stray}")).starts_with("list.csv:3: found a quote within"), "{stray}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        assert!(read(&path, "a").unwrap_err().to_string().contains("x.csv"));
        std::fs::write(&path, "").unwrap();
        assert!(
            read(&path, "the column a")
                .unwrap_err()
                .to_string()
                .ends_with("x.csv: found an empty file, expected a header with the column a")
        );
        let written = [["1", "a, \"b\".png"], ["2\n", ""], ["", "d\r"]];
        let mut writer = Writer::create(&path, &["Id ", "PATH"]).unwrap();
        for row in written {
            writer.write(&row).unwrap();
        }
        writer.keep().unwrap();
        let table = read(&path, "").unwrap();
        assert_eq!(table.header, ["Id", "PATH"]);
        let found: Vec<Vec<&str>> = table.rows.iter().map(|(_, row)| row.iter().map(String::as_str).collect()).collect();
        assert_eq!(found, written);
        assert_eq!(table.rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 5]);
    }
}
