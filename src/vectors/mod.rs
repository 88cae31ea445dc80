//! Embeddings on their way to disk: rows come batch by batch, and the files appear whole or not at all.
//!
//! `X.npy` holds an array `[rows, dim]`, `X.safetensors` the same as the tensor `embeddings`, both of 32-bit floating point. Beside
//! either lies the list `X.csv` with the columns `path,label` and one line for each row, in order; the label is empty where none is
//! known. [`crate::data::features`] reads them back.

mod npy;
mod safetensors;

use std::fs::{File, rename};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::error::{AtPath, Error, Result};

/// How embeddings are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// NumPy's array file.
    Npy,
    /// Hugging Face's tensor file.
    Safetensors,
}

impl Format {
    /// The format that a file's extension names.
    ///
    /// # Errors
    /// [`Error::Format`] for any other extension.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Ok(Self::Npy),
            Some("safetensors") => Ok(Self::Safetensors),
            other => {
                Err(Error::format(path, format!("found the extension {:?}, expected .npy or .safetensors", other.unwrap_or_default())))
            }
        }
    }

    /// What precedes the values. Its length does not depend on the number of rows, which is known only at the end.
    fn header(self, rows: usize, dim: usize) -> Vec<u8> {
        match self {
            Self::Npy => npy::header(rows, dim),
            Self::Safetensors => safetensors::header(rows, dim),
        }
    }
}

/// A file of embeddings in the making. Dropped before [`Writer::finish`], it leaves nothing behind.
pub struct Writer {
    format: Format,
    vectors: Partial,
    list: Partial,
    rows: usize,
    dim: Option<usize>,
}

impl Writer {
    /// Begins the file `path` and the list beside it; what is there already stays until [`Writer::finish`].
    ///
    /// # Errors
    /// For an extension that names no format, and for a folder that cannot be written to.
    pub fn create(path: &Path) -> Result<Self> {
        let format = Format::of(path)?;
        let mut vectors = Partial::create(path)?;
        vectors.write(&format.header(0, 0))?;
        let mut list = Partial::create(&path.with_extension("csv"))?;
        list.write(b"path,label\n")?;
        Ok(Self { format, vectors, list, rows: 0, dim: None })
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
        self.vectors.write(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())?;
        let lines: String = rows.iter().map(|(path, label)| format!("{},{}\n", field(path), field(label))).collect();
        self.list.write(lines.as_bytes())
    }

    /// Completes both files and gives them their names, the vectors last. The number of rows.
    ///
    /// # Errors
    /// When there is no row, and what the system refuses.
    pub fn finish(mut self) -> Result<usize> {
        let Some(dim) = self.dim else {
            return Err(Error::Data(format!("no embedding to write to {}", self.vectors.to.display())));
        };
        self.vectors.overwrite_start(&self.format.header(self.rows, dim))?;
        self.list.keep()?;
        self.vectors.keep()?;
        Ok(self.rows)
    }
}

/// A field of a list, in quotes where it needs them.
fn field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) || text.trim() != text {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// A file under a hidden name beside its future place.
struct Partial {
    file: BufWriter<File>,
    from: TempPath,
    to: PathBuf,
}

impl Partial {
    fn create(to: &Path) -> Result<Self> {
        let name = to.file_name().ok_or_else(|| Error::format(to, "found no file name"))?.to_string_lossy();
        let from = to.with_file_name(format!(".{name}.{}.partial", std::process::id()));
        let file = BufWriter::with_capacity(1 << 18, File::create(&from).at(to)?);
        let from = TempPath::try_from_path(from).at(to)?;
        Ok(Self { file, from, to: to.to_owned() })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).at(&self.to)
    }

    fn overwrite_start(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.seek(SeekFrom::Start(0)).at(&self.to)?;
        self.write(bytes)
    }

    fn keep(mut self) -> Result<()> {
        self.file.flush().at(&self.to)?;
        self.file.get_ref().sync_all().at(&self.to)?;
        rename(&self.from, &self.to).at(&self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::features;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_written_in_batches_is_read_back() {
        for name in ["x.npy", "x.safetensors"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            let mut writer = Writer::create(&path).unwrap();
            writer.write(&[1.0, 2.0, 3.0, 4.0, 5.0, -6.5], &[("a, \"b\".png", "cat"), ("c.png", "dog")]).unwrap();
            writer.write(&[], &[]).unwrap();
            writer.write(&[7.0, 8.0, 9.0], &[("d.png", "cat")]).unwrap();
            assert_eq!(writer.finish().unwrap(), 3);
            let found = features::read(&path).unwrap();
            assert_eq!(found.values, [1.0, 2.0, 3.0, 4.0, 5.0, -6.5, 7.0, 8.0, 9.0]);
            assert_eq!((found.dim, found.labels), (3, vec![0, 1, 0]));
            assert_eq!(found.names, ["a, \"b\".png", "c.png", "d.png"]);
            assert_eq!(names(folder.path()), ["x.csv", name]);
        }
    }

    #[test]
    fn an_unfinished_file_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        std::fs::write(&path, "before").unwrap();
        let mut writer = Writer::create(&path).unwrap();
        writer.write(&[1.0], &[("a", "")]).unwrap();
        assert_eq!(
            writer.write(&[1.0, 2.0, 3.0], &[("a", ""), ("b", "")]).unwrap_err().to_string().split(':').next(),
            Some("rows of embeddings")
        );
        drop(writer);
        assert!(Writer::create(&path).unwrap().finish().is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
        assert_eq!(names(folder.path()), ["x.npy"]);
        assert!(Writer::create(Path::new("x.txt")).err().unwrap().to_string().contains("expected .npy"));
    }
}
