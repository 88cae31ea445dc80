//! A list of pictures: `path,label[,split,is_query,is_gallery]`, with a header, columns in any order, paths relative to the list.

use std::path::Path;

use crate::data::split::Parts;
use crate::data::{Dataset, Picture, Pixels, Split};
use crate::error::{Error, Result};
use crate::formats::csv;
use crate::formats::text::at_line;
use crate::roles::Roles;

const COLUMNS: [&str; 5] = ["path", "label", "split", "is_query", "is_gallery"];

/// One row of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// As written.
    pub path: String,
    /// The class.
    pub label: String,
    /// The part, where the list names parts.
    pub split: Option<Split>,
    /// Whether the picture asks; true where the list does not say.
    pub is_query: bool,
    /// Whether the picture is searched for; true where the list does not say.
    pub is_gallery: bool,
}

/// Reads a list of pictures. Roles are those of the test pictures, or of all when the list names no parts.
///
/// # Errors
/// [`Error::Io`] when the list cannot be read, [`Error::Format`] with the line where it is malformed.
pub fn read(path: &Path) -> Result<(Parts, Option<Roles>)> {
    let rows = read_rows(path)?;
    let root = path.parent().unwrap_or(Path::new(""));
    let divided = rows.iter().any(|row| row.split.is_some());
    let part = |split: Split| {
        let rows: Vec<&Row> = rows.iter().filter(|row| !divided || row.split == Some(split)).collect();
        let picture = |row: &&Row| Picture { class: row.label.clone(), pixels: Pixels::File(root.join(&row.path)), name: row.path.clone() };
        let roles = Roles::from_flags(rows.iter().map(|row| (row.is_query, row.is_gallery)));
        (Dataset::from_pictures(rows.iter().map(picture)), roles)
    };
    let (test, roles) = part(Split::Test);
    if !divided {
        return Ok((Parts::Whole(test), roles));
    }
    let (train, validation) = (part(Split::Train).0, part(Split::Validation).0);
    let validation = Some(validation).filter(|validation| !validation.samples.is_empty());
    Ok((Parts::Given { train, validation, test }, roles))
}

/// The rows of a list, checked.
///
/// # Errors
/// As [`read`].
pub fn read_rows(path: &Path) -> Result<Vec<Row>> {
    let csv::Table { header, rows } = csv::read(path, "path and label")?;
    let header: Vec<String> = header.iter().map(|name| name.to_lowercase()).collect();
    if let Some(unknown) = header.iter().find(|name| !COLUMNS.contains(&name.as_str())) {
        return Err(at_line(path, 1, format!("found a column {unknown:?}, expected some of {}", COLUMNS.join(", "))));
    }
    let places = COLUMNS.map(|name| header.iter().position(|found| found == name));
    let [Some(_), Some(_), ..] = places else {
        return Err(at_line(path, 1, format!("found the columns {}, expected path and label", header.join(", "))));
    };
    let rows = rows.into_iter().map(|(line, fields)| {
        if fields.len() != header.len() {
            return Err(at_line(path, line, format!("found {} fields, expected {}", fields.len(), header.len())));
        }
        let field = |column: usize| places[column].map_or("", |place| fields[place].trim());
        let flag = |column: usize| match field(column).to_ascii_lowercase().as_str() {
            "" => Ok(places[column].is_none()),
            "1" | "true" | "yes" => Ok(true),
            "0" | "false" | "no" => Ok(false),
            other => Err(at_line(path, line, format!("{} is {other:?}, expected true or false", COLUMNS[column]))),
        };
        let split = match (places[2], field(2)) {
            (None, _) => None,
            (_, "train") => Some(Split::Train),
            (_, "validation" | "val") => Some(Split::Validation),
            (_, "test") => Some(Split::Test),
            (_, other) => return Err(at_line(path, line, format!("split is {other:?}, expected train, validation or test"))),
        };
        if let Some(column) = [0, 1].into_iter().find(|&column| field(column).is_empty()) {
            return Err(at_line(path, line, format!("{} is empty", COLUMNS[column])));
        }
        Ok(Row { path: field(0).to_owned(), label: field(1).to_owned(), split, is_query: flag(3)?, is_gallery: flag(4)? })
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    if rows.is_empty() {
        return Err(Error::format(path, "found a header and nothing below it, expected pictures"));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn list(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.csv");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn columns_come_in_any_order_and_paths_are_relative() {
        let (folder, path) = list("\u{feff}label,path\ncat,\"a, b.png\"\ndog,/else/c.png\ncat,d.png\n");
        let (Parts::Whole(dataset), None) = read(&path).unwrap() else { panic!("no parts, no roles") };
        assert_eq!((dataset.classes.clone(), dataset.labels()), (vec!["cat".to_owned(), "dog".to_owned()], vec![0, 1, 0]));
        let files: Vec<_> = dataset.samples.iter().map(|sample| format!("{:?}", sample.pixels)).collect();
        assert_eq!(files[0], format!("File({:?})", folder.path().join("a, b.png")));
        assert_eq!(files[1], "File(\"/else/c.png\")");
    }

    #[test]
    fn parts_and_roles_are_those_of_the_list() {
        let (_folder, path) =
            list("path,label,split,is_query,is_gallery\na,1,train,,\nb,2,test,1,0\nc,2,test,false,true\nd,3,validation,0,0\n");
        let (Parts::Given { train, validation, test }, roles) = read(&path).unwrap() else { panic!("parts are given") };
        assert_eq!((train.samples.len(), validation.unwrap().samples.len(), test.samples.len()), (1, 1, 2));
        assert_eq!(roles, Some(Roles { query: vec![0], gallery: vec![1] }));
    }

    #[test]
    fn problems_name_the_file_and_the_line() {
        let problem = |text: &str| {
            let (_folder, path) = list(text);
            read(&path).unwrap_err().to_string()
        };
        assert!(problem("").contains("list.csv: found an empty file"));
        assert!(problem("path,label\n").contains("nothing below it"));
        assert!(problem("path,split\na,train\n").contains("list.csv:1: found the columns path, split, expected path and label"));
        assert!(problem("path,label,colour\n").contains("list.csv:1: found a column \"colour\""));
        assert!(problem("path,label\na,1\nb\n").contains("list.csv:3: found 1 fields, expected 2"));
        assert!(problem("path,label\na,\n").contains("list.csv:2: label is empty"));
        assert!(problem("path,label,split\na,1,dev\n").contains("list.csv:2: split is \"dev\""));
        assert!(problem("path,label,is_query\na,1,maybe\n").contains("list.csv:2: is_query is \"maybe\""));
    }
}
