//! Vectors that some model made already, with labels: pictures', texts' or anything's.
//!
//! `X.safetensors` may bring its labels. `X.npy` holds the vectors alone; its labels are the rows of `X.csv` (`path,label[,…]` as for
//! pictures), or whole numbers in `X.labels.npy`. A list beside `X.safetensors` is read too. `X.parquet` is a table of both, see
//! [`crate::formats::vectors`].

use std::path::Path;

use crate::data::sources::list;
use crate::error::{Error, Result};
use crate::formats::labels::number_classes;
use crate::formats::npy;
use crate::formats::vectors::{VectorFile, number_labels};
use crate::roles::Roles;

const MAX_LABEL_BYTES: u64 = 64 << 30;

/// Vectors with labels.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorDataset {
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

impl VectorDataset {
    /// Reads vectors and labels.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be read, [`Error::Format`] when one is malformed or of another type, [`Error::Mismatch`] when there
    /// are other numbers of labels than of vectors, [`Error::Data`] for a value that is not finite.
    pub fn read(path: &Path) -> Result<Self> {
        let VectorFile { values, shape: [rows, dim], labels, names, roles } = VectorFile::read(path)?;
        let (list, numbers) = (path.with_extension("csv"), path.with_extension("labels.npy"));
        let numbered = || (0..rows).map(|row| row.to_string()).collect();
        let (names, labels, roles) = match labels {
            // A table has its own paths and labels; the list beside it may be that of the pictures it was made from.
            Some(labels) if names.is_some() || roles.is_some() || !list.is_file() => (names.unwrap_or_else(numbered), labels, roles),
            _ if list.is_file() => read_list(&list)?,
            _ if numbers.is_file() => (numbered(), number_labels(path, npy::read(&numbers, MAX_LABEL_BYTES)?)?, None),
            _ => {
                let problem = format!("found no labels, expected them in {} or {}", list.display(), numbers.display());
                return Err(Error::format(path, problem));
            }
        };
        if labels.len() != rows {
            return Err(Error::mismatch(format!("labels of {}", path.display()), labels.len(), format!("{rows}, one for each row")));
        }
        let (classes, labels) = number_classes(labels);
        Ok(Self { values, dim, labels, classes, names, roles })
    }
}

type Labelled = (Vec<String>, Vec<String>, Option<Roles>);

fn read_list(list: &Path) -> Result<Labelled> {
    let found = list::read_rows(list)?;
    let roles = Roles::from_flags(found.iter().map(|row| (row.is_query, row.is_gallery)));
    let (names, labels) = found.into_iter().map(|row| (row.path, row.label)).unzip();
    Ok((names, labels, roles))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::vectors::Writer;
    use safetensors::Dtype;
    use safetensors::tensor::TensorView;
    use std::fs;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn arrays_with_a_list_or_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        fs::write(&path, npy::file("<f4", "(3, 2)", bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))).unwrap();
        assert!(VectorDataset::read(&path).unwrap_err().to_string().contains("found no labels, expected them in"));
        let labels: Vec<u8> = [7i64, 9, 7].iter().flat_map(|label| label.to_le_bytes()).collect();
        fs::write(path.with_extension("labels.npy"), npy::file("<i8", "(3,)", labels)).unwrap();
        let found = VectorDataset::read(&path).unwrap();
        assert_eq!((found.dim, found.labels, found.classes), (2, vec![0, 1, 0], vec!["7".to_owned(), "9".to_owned()]));
        fs::write(path.with_extension("csv"), "path,label,is_query\na,cat,1\nb,dog,1\nc,cat,0\n").unwrap();
        let found = VectorDataset::read(&path).unwrap();
        assert_eq!((found.classes, found.names), (vec!["cat".to_owned(), "dog".to_owned()], vec!["a".to_owned(), "b".into(), "c".into()]));
        assert_eq!(found.roles.unwrap().query, [0, 1]);
        fs::write(path.with_extension("csv"), "path,label\na,cat\n").unwrap();
        assert!(VectorDataset::read(&path).unwrap_err().to_string().contains("found 1, expected 3"));
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
        assert_eq!(VectorDataset::read(&path).unwrap().classes, ["4", "5"]);
        write(["vectors", "labels"]);
        assert!(VectorDataset::read(&path).unwrap_err().to_string().contains("expected `embeddings` and `labels`"));
        fs::write(&path, b"nonsense").unwrap();
        assert!(VectorDataset::read(&path).unwrap_err().to_string().contains("not a safetensors file"));
    }

    #[test]
    fn a_table_brings_its_labels_and_a_list_beside_is_for_one_without() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        let write = |rows: [(&str, &str); 2]| {
            let mut writer = Writer::create(&path).unwrap();
            writer.write(&[1.0, 0.0], &rows).unwrap();
            writer.finish().unwrap();
        };
        write([("a.png", ""), ("b.png", "")]);
        assert!(VectorDataset::read(&path).unwrap_err().to_string().contains("found no labels"));
        assert_eq!(VectorFile::read(&path).unwrap().shape, [2, 1]);
        fs::write(path.with_extension("csv"), "path,label\n0,cat\n1,dog\n").unwrap();
        assert_eq!(VectorDataset::read(&path).unwrap().classes, ["cat", "dog"]);
        write([("a.png", "bird"), ("b.png", "fish")]);
        assert_eq!(VectorDataset::read(&path).unwrap().classes, ["bird", "fish"]);
        write([("a.png", "bird"), ("b.png", "")]);
        assert!(VectorDataset::read(&path).unwrap_err().to_string().contains("row 1 has no label"));
    }
}
