//! Vectors that some model made already, with labels: pictures', texts' or anything's.
//!
//! `X.safetensors` holds `embeddings` `[rows, dim]` and `labels` `[rows]`. `X.npy` holds the vectors alone; its labels are the rows of
//! `X.csv` (`path,label[,…]` as for pictures), or whole numbers in `X.labels.npy`. A list beside `X.safetensors` is read too.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use super::decode::read_bounded;
use super::labels::number_classes;
use super::npy::{self, Array, Values};
use super::{Roles, csv};
use crate::error::{Error, Result};

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
    let (values, [rows, dim], own_labels) = read_with_labels(path)?;
    let (list, numbers) = (path.with_extension("csv"), path.with_extension("labels.npy"));
    let (names, labels, roles) = if list.is_file() {
        let found = csv::read_rows(&list)?;
        let roles =
            Roles { query: found.iter().map(|row| row.is_query).collect(), gallery: found.iter().map(|row| row.is_gallery).collect() };
        let given = roles.query.iter().chain(&roles.gallery).any(|&role| !role);
        let (names, labels) = found.into_iter().map(|row| (row.path, row.label)).unzip();
        (names, labels, given.then_some(roles))
    } else {
        let labels = match own_labels {
            Some(labels) => labels,
            None if numbers.is_file() => npy::read(&numbers, MAX_BYTES)?,
            None => return Err(missing_labels(path, &list, &numbers)),
        };
        let (Array { values: Values::Integers(labels), .. }, true) = (&labels, labels.shape.len() == 1) else {
            return Err(Error::format(path, "its labels have to be one whole number for each row"));
        };
        ((0..rows).map(|row| row.to_string()).collect(), labels.iter().map(i64::to_string).collect::<Vec<String>>(), None)
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
    let (values, shape, _) = read_with_labels(path)?;
    Ok((values, shape))
}

fn read_with_labels(path: &Path) -> Result<(Vec<f32>, [usize; 2], Option<Array>)> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let (vectors, labels) = match extension.to_ascii_lowercase().as_str() {
        "npy" => (npy::read(path, MAX_BYTES)?, None),
        "safetensors" => read_safetensors(path)?,
        other => return Err(Error::format(path, format!("found the extension {other:?}, expected .npy or .safetensors"))),
    };
    let Array { shape, values: Values::Floats(values) } = vectors else {
        return Err(Error::format(path, "found whole numbers, expected vectors of 32- or 64-bit floating point"));
    };
    let [rows, dim] = shape[..] else {
        return Err(Error::format(path, format!("found the shape {shape:?}, expected [rows, dim]")));
    };
    if let Some(bad) = values.iter().position(|value| !value.is_finite()) {
        return Err(Error::Data(format!("{}: row {} holds {}, expected finite values", path.display(), bad / dim, values[bad])));
    }
    Ok((values, [rows, dim], labels))
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
        assert_eq!(features.roles.unwrap().query, [true, true, false]);
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
        assert!(read(Path::new("x.parquet")).unwrap_err().to_string().contains("expected .npy or .safetensors"));
    }
}
