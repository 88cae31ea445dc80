//! A table with the columns `path`, `label` and `embedding`, a list of 32-bit floating point in each row.

use std::mem::take;
use std::path::Path;
use std::sync::Arc;

use ::parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::parser::parse_message_type;
use ::parquet::schema::types::{ColumnPath, TypePtr};

use crate::error::{AtPath, Result};
use crate::formats::file::Partial;

/// Values in a row group: so many are held in memory, and what a reader takes at a time.
const GROUP: usize = 1 << 22;

const SCHEMA: &str = "message embeddings {
    required binary path (string);
    optional binary label (string);
    required group embedding (list) { repeated group list { required float element; } }
}";

/// A table in the making.
pub struct Writer {
    writer: SerializedFileWriter<Partial>,
    group: Group,
}

/// Rows that are not in the file yet.
#[derive(Default)]
struct Group {
    paths: Vec<ByteArray>,
    labels: Vec<ByteArray>,
    labelled: Vec<i16>,
    values: Vec<f32>,
}

impl Writer {
    /// Begins a file.
    pub fn create(path: &Path) -> Result<Self> {
        let schema = TypePtr::new(parse_message_type(SCHEMA).expect("the schema above is one"));
        // Neither a dictionary nor minima and maxima are of use for vectors.
        let vectors = ColumnPath::from(vec!["embedding".to_owned(), "list".to_owned(), "element".to_owned()]);
        let properties = WriterProperties::builder()
            .set_created_by("dada".to_owned())
            .set_column_dictionary_enabled(vectors.clone(), false)
            .set_column_statistics_enabled(vectors, EnabledStatistics::None)
            .build();
        let writer =
            SerializedFileWriter::new(Partial::create(path)?, schema, Arc::new(properties)).map_err(std::io::Error::from).at(path)?;
        Ok(Self { writer, group: Group::default() })
    }

    /// Appends rows of as many values each as every other row.
    pub fn write(&mut self, values: &[f32], rows: &[(&str, &str)]) -> Result<()> {
        let group = &mut self.group;
        group.values.extend_from_slice(values);
        for (path, label) in rows {
            group.paths.push((*path).into());
            group.labelled.push((!label.is_empty()).into());
            group.labels.extend((!label.is_empty()).then(|| (*label).into()));
        }
        if group.values.len() < GROUP { Ok(()) } else { self.flush() }
    }

    /// Completes the file and gives it its name.
    pub fn keep(mut self) -> Result<()> {
        self.flush()?;
        let path = self.writer.inner().path().to_owned();
        self.writer.into_inner().map_err(std::io::Error::from).at(&path)?.keep()
    }

    fn flush(&mut self) -> Result<()> {
        let group = take(&mut self.group);
        if group.paths.is_empty() {
            return Ok(());
        }
        let path = self.writer.inner().path().to_owned();
        group.write(&mut self.writer).map_err(std::io::Error::from).at(&path)
    }
}

impl Group {
    fn write(self, writer: &mut SerializedFileWriter<Partial>) -> Result<(), ParquetError> {
        let mut group = writer.next_row_group()?;
        column::<ByteArrayType>(&mut group, &self.paths, None, None)?;
        column::<ByteArrayType>(&mut group, &self.labels, Some(&self.labelled), None)?;
        let dim = self.values.len() / self.paths.len();
        let starts: Vec<i16> = (0..self.values.len()).map(|at| (at % dim != 0).into()).collect();
        column::<FloatType>(&mut group, &self.values, Some(&vec![1; self.values.len()]), Some(&starts))?;
        group.close().map(drop)
    }
}

/// Writes the next column: `definition` says which rows have a value, `repetition` where a new row begins (0) or goes on (1).
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Partial>,
    values: &[T::T],
    definition: Option<&[i16]>,
    repetition: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.expect("as many columns are written as the schema has");
    column.typed::<T>().write_batch(values, definition, repetition)?;
    column.close()
}
