//! Comma-separated values with a header: RFC 4180, with any line ends, blank lines passed over, and stray quotes refused.

use std::io;
use std::path::Path;

use ::csv::{ReaderBuilder, StringRecord, Terminator, WriterBuilder};

use crate::error::{AtPath, Error, Result};
use crate::formats::file::Partial;
use crate::formats::text::{at_line, read_text};

/// A header and the rows below it.
#[derive(Debug)]
pub struct Table {
    /// The names of the columns, without white space around them.
    pub header: Vec<String>,
    /// Each with the number of the line on which it begins, from 1. A row may have more or fewer fields than the header.
    pub rows: Vec<(usize, StringRecord)>,
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

fn parse(path: &Path, text: &str) -> Result<Vec<(usize, StringRecord)>> {
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let (mut rows, mut record) = (Vec::new(), StringRecord::new());
    let (mut line, mut counted) = (1, 0);
    loop {
        let from = reader.position().byte() as usize;
        if !reader.read_record(&mut record).map_err(|error| Error::format(path, error.to_string()))? {
            return Ok(rows);
        }
        let whole = &text[from..reader.position().byte() as usize];
        // Line ends before a row count as its beginning for the reader.
        let raw = whole.trim_start_matches(['\r', '\n']);
        let begin = from + whole.len() - raw.len();
        line += text[counted..begin].matches('\n').count();
        counted = begin;
        check_quotes(raw.trim_end_matches(['\r', '\n'])).map_err(|problem| at_line(path, line, problem))?;
        let is_blank = record.len() == 1 && record[0].trim().is_empty();
        if !is_blank {
            rows.push((line, record.clone()));
        }
    }
}

/// The reader takes a stray quote for text and the end of the file for a closing quote, either of which hides that fields were cut wrongly.
fn check_quotes(row: &str) -> Result<(), &'static str> {
    // Between quotes, every other piece is outside of them: an empty piece within a field is a quote written twice.
    let pieces: Vec<&str> = row.split('"').collect();
    let last = pieces.len() - 1;
    for (at, piece) in pieces.iter().enumerate().step_by(2).filter(|(_, piece)| !piece.is_empty()) {
        if (at > 0 && !piece.starts_with(',')) || (at < last && !piece.ends_with(',')) {
            return Err("found a quote within a field, expected it written twice and the field in quotes");
        }
    }
    if last % 2 == 1 { Err("found a quote that is never closed") } else { Ok(()) }
}

/// A file in the making.
pub struct Writer(::csv::Writer<Partial>);

impl Writer {
    /// Begins a file with its header.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn create(path: &Path, header: &[&str]) -> Result<Self> {
        let inner = WriterBuilder::new().terminator(Terminator::Any(b'\n')).from_writer(Partial::create(path)?);
        let mut writer = Self(inner);
        writer.write(header)?;
        Ok(writer)
    }

    /// Appends a row.
    ///
    /// # Errors
    /// When it has another number of fields than the header, and when the disk is full, for example.
    pub fn write(&mut self, row: &[&str]) -> Result<()> {
        self.0.write_record(row).map_err(io::Error::from).at(self.0.get_ref().path())
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// When the disk is full, for example.
    pub fn keep(mut self) -> Result<()> {
        self.0.flush().at(self.0.get_ref().path())?;
        match self.0.into_inner() {
            Ok(file) => file.keep(),
            Err(_) => unreachable!("everything was flushed above"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
        let rows = parse(Path::new("list.csv"), text).unwrap().into_iter();
        rows.map(|(line, row)| (line, row.iter().map(str::to_owned).collect())).collect()
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
        let found: Vec<Vec<&str>> = table.rows.iter().map(|(_, row)| row.iter().collect()).collect();
        assert_eq!(found, written);
        assert_eq!(table.rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 5]);
    }
}
