//! Vectors on disk with what is known of each row: its label and its name.
//!
//! `X.npy` holds an array `[rows, dim]`, `X.safetensors` the same as the tensor `embeddings`, with whole numbers `labels` `[rows]` where
//! somebody put them there. `X.parquet` is a table that may have paths and labels. [`Writer`] writes 32-bit floating point, and beside an
//! array the list `X.csv` with the columns `path,label` and one line for each row, in order; the label is empty where none is known.
//! `data::sources::vectors` puts a file and the list beside it together.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::formats::file::Partial;
use crate::formats::npy::{self, Array, Values};
use crate::formats::{csv, parquet, safetensors};
use crate::roles::Roles;

const MAX_BYTES: u64 = 64 << 30;

/// What one file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorFile {
    /// `[rows, dim]`, row-major, finite.
    pub values: Vec<f32>,
    /// Rows and length of a row; a row has at least one value.
    pub shape: [usize; 2],
    /// The label of each row.
    pub labels: Option<Vec<String>>,
    /// What each row is called; empty where one has no name.
    pub names: Option<Vec<String>>,
    /// Queries and gallery.
    pub roles: Option<Roles>,
}

impl VectorFile {
    /// Reads a file in the format that its extension names.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Format`] when it is malformed or of another type, [`Error::Data`] for a value that is not
    /// finite.
    pub fn read(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let vectors = match extension.to_ascii_lowercase().as_str() {
            "npy" => from_arrays(path, npy::read(path, MAX_BYTES)?, None)?,
            "safetensors" => {
                let (vectors, labels) = safetensors::read_vectors(path)?;
                from_arrays(path, vectors, labels)?
            }
            "parquet" => from_table(path, parquet::read(path)?)?,
            other => return Err(unknown_extension(path, other)),
        };
        if let Some(bad) = vectors.values.iter().position(|value| !value.is_finite()) {
            let row = bad / vectors.shape[1];
            return Err(Error::Data(format!("{}: row {row} holds {}, expected finite values", path.display(), vectors.values[bad])));
        }
        Ok(vectors)
    }
}

/// Whole numbers, one for each row of the file `path`, as labels.
///
/// # Errors
/// [`Error::Format`] for floating point, and for several numbers a row.
pub(crate) fn number_labels(path: &Path, labels: Array) -> Result<Vec<String>> {
    match labels {
        Array { shape, values: Values::Integers(labels) } if shape.len() == 1 => Ok(labels.iter().map(i64::to_string).collect()),
        _ => Err(Error::format(path, "its labels have to be one whole number for each row")),
    }
}

fn unknown_extension(path: &Path, found: &str) -> Error {
    Error::format(path, format!("found the extension {found:?}, expected .npy, .safetensors or .parquet"))
}

fn from_arrays(path: &Path, vectors: Array, labels: Option<Array>) -> Result<VectorFile> {
    let Array { shape, values: Values::Floats(values) } = vectors else {
        return Err(Error::format(path, "found whole numbers, expected vectors of 32- or 64-bit floating point"));
    };
    let [rows, dim] = shape[..] else {
        return Err(Error::format(path, format!("found the shape {shape:?}, expected [rows, dim]")));
    };
    // Any number of rows would fit into an empty file, and whoever names or numbers them would take memory for each.
    if dim == 0 {
        return Err(Error::format(path, format!("found the shape {shape:?}, expected vectors of at least one value")));
    }
    let labels = labels.map(|labels| number_labels(path, labels)).transpose()?;
    Ok(VectorFile { values, shape: [rows, dim], labels, names: None, roles: None })
}

fn from_table(path: &Path, table: parquet::Table) -> Result<VectorFile> {
    let parquet::Table { values, shape, paths, labels, roles } = table;
    // Where nothing has a label, the column is only there because a table has it.
    let labels = labels.filter(|labels| labels.iter().any(Option::is_some));
    if let Some(row) = labels.as_ref().and_then(|labels| labels.iter().position(Option::is_none)) {
        return Err(Error::format(path, format!("row {row} has no label, but others have one")));
    }
    let labels = labels.map(|labels| labels.into_iter().flatten().collect());
    let names = paths.map(|paths| paths.into_iter().map(Option::unwrap_or_default).collect());
    Ok(VectorFile { values, shape, labels, names, roles })
}

/// A file of embeddings in the making. Dropped before [`Writer::finish`], it leaves nothing behind.
pub struct Writer {
    path: PathBuf,
    output: Output,
    rows: usize,
    dim: Option<usize>,
}

enum Output {
    Array { header: fn(usize, usize) -> Vec<u8>, vectors: Partial, list: csv::Writer },
    Table(parquet::Writer),
}

/// The list that is written beside `path`, where the format wants one.
pub fn list_beside(path: &Path) -> Option<PathBuf> {
    let alone = path.extension().is_some_and(|extension| extension == "parquet");
    (!alone).then(|| path.with_extension("csv"))
}

impl Writer {
    /// Begins the file `path`, in the format that its extension names, and the list beside it; what is there already stays until
    /// [`Writer::finish`].
    ///
    /// # Errors
    /// For an extension that names no format, and for a folder that cannot be written to.
    pub fn create(path: &Path) -> Result<Self> {
        let array = |header: fn(usize, usize) -> Vec<u8>| {
            let mut vectors = Partial::create(path)?;
            vectors.append(&header(0, 0))?;
            Ok(Output::Array { header, vectors, list: csv::Writer::create(&path.with_extension("csv"), &["path", "label"])? })
        };
        let output = match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => array(npy::header)?,
            Some("safetensors") => array(safetensors::header)?,
            Some("parquet") => Output::Table(parquet::Writer::create(path)?),
            other => return Err(unknown_extension(path, other.unwrap_or_default())),
        };
        Ok(Self { path: path.to_owned(), output, rows: 0, dim: None })
    }

    /// Appends one row of `values` (`[rows, dim]`, row-major) for each of `rows`, a path and a label.
    ///
    /// # Errors
    /// Rows of another length than before, and what the system refuses.
    pub fn write(&mut self, values: &[f32], rows: &[(&str, &str)]) -> Result<()> {
        if rows.is_empty() && values.is_empty() {
            return Ok(());
        }
        let dim = self.dim.unwrap_or(values.len() / rows.len().max(1));
        if dim == 0 || values.len() != rows.len() * dim {
            return Err(Error::mismatch("rows of embeddings", format!("{} values", values.len()), format!("{} rows of {dim}", rows.len())));
        }
        self.dim = Some(dim);
        self.rows += rows.len();
        match &mut self.output {
            Output::Array { vectors, list, .. } => {
                vectors.append(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())?;
                for (path, label) in rows {
                    list.write(&[path, label])?;
                }
                Ok(())
            }
            Output::Table(table) => table.write(values, rows),
        }
    }

    /// Completes the files and gives them their names, the vectors last. The number of rows.
    ///
    /// # Errors
    /// When there is no row, and what the system refuses.
    pub fn finish(self) -> Result<usize> {
        let Some(dim) = self.dim else {
            return Err(Error::Data(format!("no embedding to write to {}", self.path.display())));
        };
        match self.output {
            Output::Array { header, mut vectors, list } => {
                vectors.overwrite_start(&header(self.rows, dim))?;
                list.keep()?;
                vectors.keep()?;
            }
            Output::Table(table) => table.keep()?,
        }
        Ok(self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn files_in(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_written_in_batches_is_read_back() {
        for (name, files) in
            [("x.npy", &["x.csv", "x.npy"][..]), ("x.safetensors", &["x.csv", "x.safetensors"]), ("x.parquet", &["x.parquet"])]
        {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            let mut writer = Writer::create(&path).unwrap();
            writer.write(&[1.0, 2.0, 3.0, 4.0, 5.0, -6.5], &[("a, \"b\".png", "cat"), ("c.png", "dog")]).unwrap();
            writer.write(&[], &[]).unwrap();
            writer.write(&[7.0, 8.0, 9.0], &[("d.png", "cat")]).unwrap();
            assert_eq!(writer.finish().unwrap(), 3);
            let found = VectorFile::read(&path).unwrap();
            assert_eq!((found.values, found.shape), (vec![1.0, 2.0, 3.0, 4.0, 5.0, -6.5, 7.0, 8.0, 9.0], [3, 3]));
            let (names, labels) = (["a, \"b\".png", "c.png", "d.png"].map(str::to_owned), ["cat", "dog", "cat"].map(str::to_owned));
            match list_beside(&path) {
                Some(list) => {
                    assert_eq!(fs::read_to_string(list).unwrap(), "path,label\n\"a, \"\"b\"\".png\",cat\nc.png,dog\nd.png,cat\n");
                }
                None => assert_eq!((found.names, found.labels), (Some(names.to_vec()), Some(labels.to_vec()))),
            }
            assert_eq!(files_in(folder.path()), files);
        }
    }

    #[test]
    fn an_unfinished_file_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        fs::write(&path, "before").unwrap();
        let mut writer = Writer::create(&path).unwrap();
        writer.write(&[1.0], &[("a", "")]).unwrap();
        assert_eq!(
            writer.write(&[1.0, 2.0, 3.0], &[("a", ""), ("b", "")]).unwrap_err().to_string().split(':').next(),
            Some("rows of embeddings")
        );
        drop(writer);
        assert!(Writer::create(&path).unwrap().finish().is_err());
        assert_eq!(fs::read(&path).unwrap(), b"before");
        assert_eq!(files_in(folder.path()), ["x.npy"]);
        assert!(Writer::create(Path::new("x.txt")).err().unwrap().to_string().contains("expected .npy"));
    }

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn wrong_types_shapes_and_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let problem = |kind: &str, shape: &str, content: Vec<u8>| {
            fs::write(&path, npy::file(kind, shape, content)).unwrap();
            VectorFile::read(&path).unwrap_err().to_string()
        };
        assert!(problem("<i8", "(1, 2)", vec![0; 16]).contains("found whole numbers"));
        assert!(problem("<f4", "(4,)", vec![0; 16]).contains("found the shape [4]"));
        assert!(problem("<f4", "(1, 2)", bytes(&[1.0, f32::NAN])).contains("row 0 holds NaN"));
        assert!(VectorFile::read(Path::new("x.txt")).unwrap_err().to_string().contains("expected .npy, .safetensors or .parquet"));
    }

    #[test]
    fn rows_without_values_are_refused_however_many_they_are() {
        let folder = tempfile::tempdir().unwrap();
        for shape in ["99999999999, 0", "60000000, 0"] {
            for (name, content) in [
                ("x.npy", npy::file("<f4", &format!("({shape})"), Vec::new())),
                ("x.safetensors", safetensors::empty("embeddings", &format!("[{shape}]"))),
            ] {
                let path = folder.path().join(name);
                fs::write(&path, content).unwrap();
                let problem = VectorFile::read(&path).unwrap_err().to_string();
                assert!(problem.contains(&format!("found the shape [{shape}], expected vectors of at least one value")), "{problem}");
            }
        }
    }
}
