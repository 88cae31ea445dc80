//! Vectors that some model made already, with labels: pictures', texts' or anything's.
//!
//! `X.safetensors` holds `embeddings` `[rows, dim]` and `labels` `[rows]`. `X.npy` holds the vectors alone; its labels are the rows of
//! `X.csv` (`path,label[,…]` as for pictures), or whole numbers in `X.labels.npy`. A list beside `X.safetensors` is read too. `X.parquet`
//! is a table of both, see `data::parquet`.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::data::pictures::decode::read_bounded;
use crate::data::sources::list;
use crate::error::{Error, Result};
use crate::formats::labels::number_classes;
use crate::formats::npy::{self, Array, Values};
use crate::formats::parquet;
use crate::roles::Roles;

const MAX_BYTES: u64 = 64 << 30;

/// Vectors with labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// `[rows, dim]`, row-major, finite.
    pub values: Vec<f32>,
    /// Length of a vector.
    pub dim: usize,
    /// Index into `classes` for each row.
    pub labels: Vec<usize>,
    /// Class names, in the order in which they first come.
    pub classes: Vec<String>,
    /// What reports call each row: its path in the list, or its number.
    pub names: Vec<String>,
    /// Which rows ask and which answer, where the list says so.
    pub roles: Option<Roles>,
}

/// Reads vectors and labels.
///
/// # Errors
/// [`Error::Io`] when a file cannot be read, [`Error::Format`] when one is malformed or of another type, [`Error::Mismatch`] when there
/// are other numbers of labels than of vectors, [`Error::Data`] for a value that is not finite.
pub fn read(path: &Path) -> Result<Features> {
    let Found { values, shape: [rows, dim], labels, names, roles } = read_any(path)?;
    let (list, numbers) = (path.with_extension("csv"), path.with_extension("labels.npy"));
    let numbered = || (0..rows).map(|row| row.to_string()).collect();
    let (names, labels, roles) = match labels {
        // A table has its own paths and labels; the list beside it may be that of the pictures it was made from.
        Some(labels) if names.is_some() || roles.is_some() || !list.is_file() => (names.unwrap_or_else(numbered), labels, roles),
        _ if list.is_file() => read_list(&list)?,
        _ if numbers.is_file() => (numbered(), whole_numbers(path, npy::read(&numbers, MAX_BYTES)?)?, None),
        _ => return Err(missing_labels(path, &list, &numbers)),
    };
    if labels.len() != rows {
        return Err(Error::mismatch(format!("labels of {}", path.display()), labels.len(), format!("{rows}, one for each row")));
    }
    let (classes, labels) = number_classes(labels);
    Ok(Features { values, dim, labels, classes, names, roles })
}

/// Reads vectors alone: `[rows, dim]`, row-major, and their shape.
///
/// # Errors
/// As [`read`], but for labels.
pub fn read_vectors(path: &Path) -> Result<(Vec<f32>, [usize; 2])> {
    let Found { values, shape, .. } = read_any(path)?;
    Ok((values, shape))
}

/// What is in the file itself.
struct Found {
    values: Vec<f32>,
    shape: [usize; 2],
    labels: Option<Vec<String>>,
    names: Option<Vec<String>>,
    roles: Option<Roles>,
}

fn read_any(path: &Path) -> Result<Found> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let found = match extension.to_ascii_lowercase().as_str() {
        "npy" => from_arrays(path, npy::read(path, MAX_BYTES)?, None)?,
        "safetensors" => {
            let (vectors, labels) = read_safetensors(path)?;
            from_arrays(path, vectors, labels)?
        }
        "parquet" => from_table(path, parquet::read(path)?)?,
        other => return Err(Error::format(path, format!("found the extension {other:?}, expected .npy, .safetensors or .parquet"))),
    };
    if let Some(bad) = found.values.iter().position(|value| !value.is_finite()) {
        let row = bad / found.shape[1];
        return Err(Error::Data(format!("{}: row {row} holds {}, expected finite values", path.display(), found.values[bad])));
    }
    Ok(found)
}

fn from_arrays(path: &Path, vectors: Array, labels: Option<Array>) -> Result<Found> {
    let Array { shape, values: Values::Floats(values) } = vectors else {
        return Err(Error::format(path, "found whole numbers, expected vectors of 32- or 64-bit floating point"));
    };
    let [rows, dim] = shape[..] else {
        return Err(Error::format(path, format!("found the shape {shape:?}, expected [rows, dim]")));
    };
    let labels = labels.map(|labels| whole_numbers(path, labels)).transpose()?;
    Ok(Found { values, shape: [rows, dim], labels, names: None, roles: None })
}

fn from_table(path: &Path, table: parquet::Table) -> Result<Found> {
    let parquet::Table { values, shape, paths, labels, roles } = table;
    // Where nothing has a label, the column is only there because a table has it.
    let labels = labels.filter(|labels| labels.iter().any(Option::is_some));
    if let Some(row) = labels.as_ref().and_then(|labels| labels.iter().position(Option::is_none)) {
        return Err(Error::format(path, format!("row {row} has no label, but others have one")));
    }
    let labels = labels.map(|labels| labels.into_iter().flatten().collect());
    let names = paths.map(|paths| paths.into_iter().map(Option::unwrap_or_default).collect());
    Ok(Found { values, shape, labels, names, roles })
}

type Labelled = (Vec<String>, Vec<String>, Option<Roles>);

fn read_list(list: &Path) -> Result<Labelled> {
    let found = list::read_rows(list)?;
    let roles = Roles::from_flags(found.iter().map(|row| (row.is_query, row.is_gallery)));
    let (names, labels) = found.into_iter().map(|row| (row.path, row.label)).unzip();
    Ok((names, labels, roles))
}

fn whole_numbers(path: &Path, labels: Array) -> Result<Vec<String>> {
    match labels {
        Array { shape, values: Values::Integers(labels) } if shape.len() == 1 => Ok(labels.iter().map(i64::to_string).collect()),
        _ => Err(Error::format(path, "its labels have to be one whole number for each row")),
    }
}

fn missing_labels(path: &Path, list: &Path, numbers: &Path) -> Error {
    Error::format(path, format!("found no labels, expected them in {} or {}", list.display(), numbers.display()))
}

fn read_safetensors(path: &Path) -> Result<(Array, Option<Array>)> {
    let bytes = read_bounded(path, MAX_BYTES)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| Error::format(path, format!("not a safetensors file: {error}")))?;
    let array = |name: &str| -> Result<Array> {
        let tensor = tensors.tensor(name).map_err(|_| {
            Error::format(path, format!("found the tensors {}, expected `embeddings` and `labels`", tensors.names().join(", ")))
        })?;
        let data = tensor.data();
        let values = match tensor.dtype() {
            Dtype::F32 => npy::floats(data, f32::from_le_bytes),
            Dtype::F64 => npy::floats(data, |bytes| f64::from_le_bytes(bytes) as f32),
            Dtype::I64 => npy::integers(data, i64::from_le_bytes),
            Dtype::I32 => npy::integers(data, |bytes| i32::from_le_bytes(bytes).into()),
            other => return Err(Error::format(path, format!("`{name}` is of type {other:?}, expected F32, F64, I32 or I64"))),
        };
        Ok(Array { shape: tensor.shape().to_vec(), values })
    };
    let labels = tensors.names().contains(&"labels").then(|| array("labels")).transpose()?;
    Ok((array("embeddings")?, labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;
    use std::fs;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn arrays_with_a_list_or_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        fs::write(&path, npy::header("<f4", "(3, 2)", bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("found no labels, expected them in"));
        let labels: Vec<u8> = [7i64, 9, 7].iter().flat_map(|label| label.to_le_bytes()).collect();
        fs::write(path.with_extension("labels.npy"), npy::header("<i8", "(3,)", labels)).unwrap();
        let features = read(&path).unwrap();
        assert_eq!((features.dim, features.labels, features.classes), (2, vec![0, 1, 0], vec!["7".to_owned(), "9".to_owned()]));
        fs::write(path.with_extension("csv"), "path,label,is_query\na,cat,1\nb,dog,1\nc,cat,0\n").unwrap();
        let features = read(&path).unwrap();
        assert_eq!(
            (features.classes, features.names),
            (vec!["cat".to_owned(), "dog".to_owned()], vec!["a".to_owned(), "b".into(), "c".into()])
        );
        assert_eq!(features.roles.unwrap().query, [0, 1]);
        fs::write(path.with_extension("csv"), "path,label\na,cat\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("found 1, expected 3"));
    }

    #[test]
    fn tensors_bring_their_labels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let (vectors, labels) = (bytes(&[1.0, 0.0, 0.0, 1.0]), [4i32.to_le_bytes(), 5i32.to_le_bytes()].concat());
        let write = |names: [&str; 2]| {
            let tensors = [
                (names[0], TensorView::new(Dtype::F32, vec![2, 2], &vectors).unwrap()),
                (names[1], TensorView::new(Dtype::I32, vec![2], &labels).unwrap()),
            ];
            fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
        };
        write(["embeddings", "labels"]);
        assert_eq!(read(&path).unwrap().classes, ["4", "5"]);
        write(["vectors", "labels"]);
        assert!(read(&path).unwrap_err().to_string().contains("expected `embeddings` and `labels`"));
        fs::write(&path, b"nonsense").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("not a safetensors file"));
    }

    #[test]
    fn wrong_types_shapes_and_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let problem = |kind: &str, shape: &str, content: Vec<u8>| {
            fs::write(&path, npy::header(kind, shape, content)).unwrap();
            read(&path).unwrap_err().to_string()
        };
        assert!(problem("<i8", "(1, 2)", vec![0; 16]).contains("found whole numbers"));
        assert!(problem("<f4", "(4,)", vec![0; 16]).contains("found the shape [4]"));
        assert!(problem("<f4", "(1, 2)", bytes(&[1.0, f32::NAN])).contains("row 0 holds NaN"));
        assert!(read(Path::new("x.txt")).unwrap_err().to_string().contains("expected .npy, .safetensors or .parquet"));
    }

    #[test]
    fn a_table_brings_its_labels_and_a_list_beside_is_for_one_without() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        let write = |rows: [(&str, &str); 2]| {
            let mut writer = crate::formats::vectors::Writer::create(&path).unwrap();
            writer.write(&[1.0, 0.0], &rows).unwrap();
            writer.finish().unwrap();
        };
        write([("a.png", ""), ("b.png", "")]);
        assert!(read(&path).unwrap_err().to_string().contains("found no labels"));
        assert_eq!(read_vectors(&path).unwrap(), (vec![1.0, 0.0], [2, 1]));
        fs::write(path.with_extension("csv"), "path,label\n0,cat\n1,dog\n").unwrap();
        assert_eq!(read(&path).unwrap().classes, ["cat", "dog"]);
        write([("a.png", "bird"), ("b.png", "fish")]);
        assert_eq!(read(&path).unwrap().classes, ["bird", "fish"]);
        write([("a.png", "bird"), ("b.png", "")]);
        assert!(read(&path).unwrap_err().to_string().contains("row 1 has no label"));
    }
}
