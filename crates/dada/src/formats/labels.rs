//! Labels and row numbers in files of their own, beside anybody's vectors.

use std::path::Path;

use crate::error::{Error, Result};
use crate::formats::csv;
use crate::formats::npy::{self, Array, Values};
use crate::formats::text::{at_line, number, read_text};

const MAX_BYTES: u64 = 8 << 30;

/// The label of each row: the column `label` of a `.csv`, whole numbers in an `.npy`, or the lines of a `.txt`.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Format`] when it is malformed or of another kind.
pub fn read_labels(path: &Path) -> Result<Vec<String>> {
    match extension(path).as_str() {
        "csv" => label_column(path),
        "npy" => Ok(whole_numbers(path)?.iter().map(i64::to_string).collect()),
        "txt" => Ok(read_text(path)?.lines().map(|line| line.trim().to_owned()).collect()),
        other => Err(Error::format(path, format!("found the extension {other:?}, expected .csv, .npy or .txt"))),
    }
}

/// Row numbers from 0: whole numbers in an `.npy`, or one on each line of a `.txt`.
///
/// # Errors
/// As [`read_labels`], and for a negative number.
pub fn read_indices(path: &Path) -> Result<Vec<usize>> {
    match extension(path).as_str() {
        "npy" => {
            let numbers = whole_numbers(path)?.into_iter();
            let row =
                |index: i64| usize::try_from(index).map_err(|_| Error::format(path, format!("found the row {index}, expected 0 or more")));
            numbers.map(row).collect()
        }
        "txt" => {
            let text = read_text(path)?;
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            lines.map(|(line, text)| number(path, line + 1, "the row", text.trim())).collect()
        }
        other => Err(Error::format(path, format!("found the extension {other:?}, expected .npy or .txt"))),
    }
}

/// Class names in the order in which they first come, and for each label its number among them.
pub fn number_classes(labels: Vec<String>) -> (Vec<String>, Vec<usize>) {
    let mut classes = Vec::new();
    let mut numbers = std::collections::HashMap::new();
    let labels = labels.into_iter().map(|label| {
        *numbers.entry(label).or_insert_with_key(|label| {
            classes.push(label.clone());
            classes.len() - 1
        })
    });
    let labels = labels.collect();
    (classes, labels)
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

fn label_column(path: &Path) -> Result<Vec<String>> {
    let csv::Table { header, rows } = csv::read(path, "the column label")?;
    let column = header.iter().position(|name| name.eq_ignore_ascii_case("label"));
    let column = column.ok_or_else(|| at_line(path, 1, format!("found the columns {}, expected one named label", header.join(", "))))?;
    let mut labels = Vec::with_capacity(rows.len());
    for (line, fields) in rows {
        let label = fields.get(column).map_or("", |field| field.trim());
        if label.is_empty() {
            return Err(at_line(path, line, "found no label"));
        }
        labels.push(label.to_owned());
    }
    Ok(labels)
}

fn whole_numbers(path: &Path) -> Result<Vec<i64>> {
    match npy::read(path, MAX_BYTES)? {
        Array { shape, values: Values::Integers(values) } if shape.len() == 1 => Ok(values),
        Array { shape, values } => {
            let kind = if matches!(values, Values::Floats(_)) { "floating point" } else { "whole numbers" };
            Err(Error::format(path, format!("found {kind} of shape {shape:?}, expected one row of whole numbers")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        (folder, path)
    }

    fn numbers(values: &[i64]) -> Vec<u8> {
        npy::file("<i8", &format!("({},)", values.len()), values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    #[test]
    fn labels_of_every_kind() {
        let read = |name: &str, content: &[u8]| read_labels(&file(name, content).1).map_err(|error| error.to_string());
        assert_eq!(read("y.csv", b"id,Label\n1,cat\n2, dog \n").unwrap(), ["cat", "dog"]);
        assert_eq!(read("y.npy", &numbers(&[7, -1])).unwrap(), ["7", "-1"]);
        assert_eq!(read("y.txt", b"cat\ndog\n").unwrap(), ["cat", "dog"]);
        assert!(read("y.csv", b"id,class\n1,cat\n").unwrap_err().contains("y.csv:1: found the columns id, class"));
        assert!(read("y.csv", b"id,label\n1,cat\n2,\n").unwrap_err().contains("y.csv:3: found no label"));
        assert!(read("y.npy", &npy::file("<f4", "(1,)", vec![0; 4])).unwrap_err().contains("found floating point of shape [1]"));
        assert!(read("y.json", b"[]").unwrap_err().contains("expected .csv, .npy or .txt"));
    }

    #[test]
    fn row_numbers() {
        let read = |name: &str, content: &[u8]| read_indices(&file(name, content).1).map_err(|error| error.to_string());
        assert_eq!(read("q.npy", &numbers(&[3, 0])).unwrap(), [3, 0]);
        assert_eq!(read("q.txt", b"3\n\n0\n").unwrap(), [3, 0]);
        assert!(read("q.npy", &numbers(&[-3])).unwrap_err().contains("found the row -3"));
        assert!(read("q.txt", b"3\nx\n").unwrap_err().contains("q.txt:2: the row is \"x\""));
    }

    #[test]
    fn classes_are_numbered_as_they_come() {
        let labels = ["b", "a", "b"].map(str::to_owned).to_vec();
        assert_eq!(number_classes(labels), (vec!["b".to_owned(), "a".to_owned()], vec![0, 1, 0]));
    }
}
