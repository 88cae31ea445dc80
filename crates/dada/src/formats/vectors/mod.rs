//! Embeddings on their way to disk: rows come batch by batch, and the files appear whole or not at all.
//!
//! `X.npy` holds an array `[rows, dim]`, `X.safetensors` the same as the tensor `embeddings`, both of 32-bit floating point. Beside
//! either lies the list `X.csv` with the columns `path,label` and one line for each row, in order; the label is empty where none is
//! known. `X.parquet` has everything in one table. [`crate::formats::dump`] reads them back.

mod header;
mod parquet;

use std::fs::{File, rename};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use self::parquet::Table;
use crate::error::{AtPath, Error, Result};

/// A file of embeddings in the making. Dropped before [`Writer::finish`], it leaves nothing behind.
pub struct Writer {
    path: PathBuf,
    output: Output,
    rows: usize,
    dim: Option<usize>,
}

enum Output {
    Array { header: fn(usize, usize) -> Vec<u8>, vectors: Partial, list: Partial },
    Table(Table),
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
            let (mut vectors, mut list) = (Partial::create(path)?, Partial::create(&path.with_extension("csv"))?);
            vectors.append(&header(0, 0))?;
            list.append(b"path,label\n")?;
            Ok(Output::Array { header, vectors, list })
        };
        let output = match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => array(header::npy)?,
            Some("safetensors") => array(header::safetensors)?,
            Some("parquet") => Output::Table(Table::new(Partial::create(path)?)?),
            other => {
                let problem = format!("found the extension {:?}, expected .npy, .safetensors or .parquet", other.unwrap_or_default());
                return Err(Error::format(path, problem));
            }
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
                let lines: String = rows.iter().map(|(path, label)| format!("{},{}\n", field(path), field(label))).collect();
                list.append(lines.as_bytes())
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
            Output::Table(table) => table.finish()?,
        }
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

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).at(&self.to)
    }

    fn overwrite_start(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.seek(SeekFrom::Start(0)).at(&self.to)?;
        self.append(bytes)
    }

    fn keep(mut self) -> Result<()> {
        self.file.flush().at(&self.to)?;
        self.file.get_ref().sync_all().at(&self.to)?;
        rename(&self.from, &self.to).at(&self.to)
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::dump;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
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
            let found = dump::read(&path).unwrap();
            assert_eq!(found.values, [1.0, 2.0, 3.0, 4.0, 5.0, -6.5, 7.0, 8.0, 9.0]);
            assert_eq!((found.dim, found.labels), (3, vec![0, 1, 0]));
            assert_eq!(found.names, ["a, \"b\".png", "c.png", "d.png"]);
            assert_eq!(names(folder.path()), files);
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
