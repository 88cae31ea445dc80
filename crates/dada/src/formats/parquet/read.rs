//! Tables of vectors as pandas, pyarrow and polars write them.
//!
//! The vectors are the one column of lists (of fixed or variable length) of 32- or 64-bit floating point; where there are several, that
//! called `embedding` or `embeddings`. Columns called `path`, `label`, `is_query` and `is_gallery` are read where they are; others are not looked at.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::parquet::basic::{Compression, Type};
use ::parquet::column::reader::get_typed_column_reader;
use ::parquet::data_type::{BoolType, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::schema::types::ColumnDescriptor;

use crate::error::{Error, Result};
use crate::formats::file::open_regular;
use crate::roles::Roles;

/// Rows that are decoded together.
const ROWS: usize = 1024;
/// The most values that a byte of a file may stand for: eight, were they single bits. Run lengths can claim any number.
const MOST_VALUES_PER_BYTE: u64 = 16;
/// The most bytes in a path or a label, of which one copy in the file can stand for many rows.
const MOST_TEXT: usize = 4096;

/// What a file holds.
#[derive(Debug, PartialEq)]
pub struct Table {
    /// `[rows, dim]`, row-major.
    pub values: Vec<f32>,
    /// Rows and length of a row.
    pub shape: [usize; 2],
    /// The column `path`.
    pub paths: Option<Vec<Option<String>>>,
    /// The column `label`.
    pub labels: Option<Vec<Option<String>>>,
    /// The columns `is_query` and `is_gallery`; one that is missing is true everywhere. Nothing where both are.
    pub roles: Option<Roles>,
}

/// Reads a table of vectors.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Format`] when it is malformed or compressed, or when its columns, row lengths or
/// missing values are not as described above.
pub fn read(path: &Path) -> Result<Table> {
    let (file, length) = open_regular(path)?;
    let whole = || {
        let reader = SerializedFileReader::new(file).map_err(|error| Error::format(path, format!("not a Parquet file: {error}")))?;
        read_table(&Source { path, reader, most_values: MOST_VALUES_PER_BYTE.saturating_mul(length) })
    };
    // A reader that panics on a malformed file says that it is malformed.
    catch_unwind(AssertUnwindSafe(whole)).unwrap_or_else(|_| Err(Error::format(path, "malformed: the reader gave up on it")))
}

struct Source<'a> {
    path: &'a Path,
    reader: SerializedFileReader<File>,
    most_values: u64,
}

/// Some rows of a column: definition levels, repetition levels, and the values that are there.
struct Chunk<V> {
    definition: Vec<i16>,
    repetition: Vec<i16>,
    values: Vec<V>,
}

fn read_table(source: &Source) -> Result<Table> {
    let columns = source.reader.metadata().file_metadata().schema_descr().columns();
    let named = |name: &str| columns.iter().position(|column| column.name() == name && column.max_rep_level() == 0);
    let vectors = source.find_vectors()?;
    let (values, shape) = match columns[vectors].physical_type() {
        Type::FLOAT => source.vectors::<FloatType>(vectors, |value| value)?,
        _ => source.vectors::<DoubleType>(vectors, |value| value as f32)?,
    };
    let texts = |name| named(name).map(|column| source.texts(column, shape[0])).transpose();
    let flags = |name| named(name).map(|column| source.flags(column, shape[0])).transpose();
    let roles = match (flags("is_query")?, flags("is_gallery")?) {
        (None, None) => None,
        (query, gallery) => {
            let or_all = |flags: Option<Vec<bool>>| flags.unwrap_or_else(|| vec![true; shape[0]]);
            Roles::from_flags(or_all(query).into_iter().zip(or_all(gallery)))
        }
    };
    Ok(Table { values, shape, paths: texts("path")?, labels: texts("label")?, roles })
}

impl Source<'_> {
    fn refuse<T>(&self, problem: impl Into<String>) -> Result<T> {
        Err(Error::format(self.path, problem))
    }

    fn find_vectors(&self) -> Result<usize> {
        let columns = self.reader.metadata().file_metadata().schema_descr().columns();
        let is_list =
            |column: &ColumnDescriptor| column.max_rep_level() == 1 && [Type::FLOAT, Type::DOUBLE].contains(&column.physical_type());
        let lists: Vec<usize> = (0..columns.len()).filter(|&column| is_list(&columns[column])).collect();
        let root = |column: usize| columns[column].path().parts().first().map_or("", String::as_str);
        let called = lists.iter().find(|&&column| ["embedding", "embeddings"].contains(&root(column)));
        match (called, lists.as_slice()) {
            (Some(&column), _) | (None, &[column]) => Ok(column),
            _ => {
                let found: Vec<String> =
                    columns.iter().map(|column| format!("{} ({})", column.path().string(), column.physical_type())).collect();
                self.refuse(format!("found the columns {}, expected `embedding`, a list of floating point", found.join(", ")))
            }
        }
    }

    /// Reads a column a thousand rows at a time, once it is known how many values its pages claim.
    fn chunks<T: DataType>(&self, column: usize, mut each: impl FnMut(Chunk<T::T>) -> Result<()>) -> Result<()> {
        let malformed = |error: ParquetError| Error::format(self.path, format!("malformed: {error}"));
        let mut claimed = 0u64;
        for group in 0..self.reader.num_row_groups() {
            let compression = self.reader.metadata().row_group(group).column(column).compression();
            if !matches!(compression, Compression::UNCOMPRESSED | Compression::SNAPPY) {
                return self.refuse(format!(
                    "found {compression} compression, which is not read: write the table with snappy or without, as with \
                     `pyarrow.parquet.write_table(table, file)`, `frame.to_parquet(file)` in pandas or \
                     `frame.write_parquet(file, compression=\"snappy\")` in polars"
                ));
            }
            let group = self.reader.get_row_group(group).map_err(malformed)?;
            let mut pages = group.get_column_page_reader(column).map_err(malformed)?;
            while let Some(page) = pages.peek_next_page().map_err(malformed)? {
                claimed = claimed.saturating_add(page.num_levels.or(page.num_rows).unwrap_or(0) as u64);
                pages.skip_next_page().map_err(malformed)?;
            }
            if claimed > self.most_values {
                return self.refuse(format!("malformed: its pages claim {claimed} values, more than a file of this length can hold"));
            }
            let mut reader = get_typed_column_reader::<T>(group.get_column_reader(column).map_err(malformed)?);
            loop {
                let mut chunk = Chunk { definition: Vec::new(), repetition: Vec::new(), values: Vec::new() };
                let Chunk { definition, repetition, values } = &mut chunk;
                let (rows, _, _) = reader.read_records(ROWS, Some(definition), Some(repetition), values).map_err(malformed)?;
                if rows == 0 {
                    break;
                }
                each(chunk)?;
            }
        }
        Ok(())
    }

    fn vectors<T: DataType>(&self, column: usize, convert: impl Fn(T::T) -> f32) -> Result<(Vec<f32>, [usize; 2])> {
        let full = self.reader.metadata().file_metadata().schema_descr().column(column).max_def_level();
        let (mut values, mut rows, mut dim) = (Vec::new(), 0, None);
        self.chunks::<T>(column, |chunk| {
            let mut starts: Vec<usize> = (0..chunk.repetition.len()).filter(|&at| chunk.repetition[at] == 0).collect();
            starts.push(chunk.repetition.len());
            for place in starts.windows(2) {
                let dim = *dim.get_or_insert(place[1] - place[0]);
                if chunk.definition[place[0]..place[1]].iter().any(|&level| level != full) {
                    return self.refuse(format!("row {rows} has no vector, or one with a missing value"));
                }
                if place[1] - place[0] != dim {
                    return self.refuse(format!("row {rows} has {} values, expected {dim} as in the rows before", place[1] - place[0]));
                }
                rows += 1;
            }
            values.extend(chunk.values.into_iter().map(&convert));
            Ok(())
        })?;
        Ok((values, [rows, dim.unwrap_or(0)]))
    }

    /// A column without lists: each row's value, where it has one.
    fn flat<T: DataType, V>(&self, column: usize, rows: usize, mut convert: impl FnMut(T::T) -> Result<V>) -> Result<Vec<Option<V>>> {
        let descriptor = self.reader.metadata().file_metadata().schema_descr().column(column);
        let full = descriptor.max_def_level();
        let mut found = Vec::new();
        self.chunks::<T>(column, |chunk| {
            let mut values = chunk.values.into_iter();
            // Without definition levels every row has a value.
            if full == 0 {
                for value in values {
                    found.push(Some(convert(value)?));
                }
                return Ok(());
            }
            for level in chunk.definition {
                let value = if level == full { values.next() } else { None };
                found.push(value.map(&mut convert).transpose()?);
            }
            Ok(())
        })?;
        if found.len() != rows {
            return self.refuse(format!("the column {} has {} rows, expected {rows}", descriptor.name(), found.len()));
        }
        Ok(found)
    }

    fn texts(&self, column: usize, rows: usize) -> Result<Vec<Option<String>>> {
        let descriptor = self.reader.metadata().file_metadata().schema_descr().column(column);
        let name = descriptor.name();
        match descriptor.physical_type() {
            Type::BYTE_ARRAY => self.flat::<ByteArrayType, _>(column, rows, |bytes| match std::str::from_utf8(bytes.data()) {
                Ok(text) if text.len() <= MOST_TEXT => Ok(text.to_owned()),
                Ok(text) => self.refuse(format!("found a {name} of {} bytes, expected at most {MOST_TEXT}", text.len())),
                Err(_) => self.refuse(format!("found a {name} that is no text")),
            }),
            Type::INT32 => self.flat::<Int32Type, _>(column, rows, |number| Ok(number.to_string())),
            Type::INT64 => self.flat::<Int64Type, _>(column, rows, |number| Ok(number.to_string())),
            other => self.refuse(format!("the column {name} is of type {other}, expected text or whole numbers")),
        }
    }

    fn flags(&self, column: usize, rows: usize) -> Result<Vec<bool>> {
        let descriptor = self.reader.metadata().file_metadata().schema_descr().column(column);
        if descriptor.physical_type() != Type::BOOLEAN {
            return self.refuse(format!(
                "the column {} is of type {}, expected true or false",
                descriptor.name(),
                descriptor.physical_type()
            ));
        }
        let flags = self.flat::<BoolType, _>(column, rows, Ok)?;
        Ok(flags.into_iter().map(|flag| flag.unwrap_or(false)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::path::PathBuf;

    fn fixture(name: &str) -> PathBuf {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures")).join(name)
    }

    fn problem(bytes: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        read(file.path()).unwrap_err().to_string()
    }

    fn given<const N: usize>(texts: [&str; N]) -> Option<Vec<Option<String>>> {
        Some(texts.map(|text| Some(text.to_owned())).to_vec())
    }

    #[test]
    fn tables_of_others_are_read() {
        for name in ["pandas.parquet", "pandas_snappy.parquet", "polars.parquet"] {
            let table = read(&fixture(name)).unwrap();
            assert_eq!((table.values, table.shape), (vec![1.0, 2.0, 3.0, 4.0, 5.0, -6.5], [3, 2]), "{name}");
            assert_eq!((table.paths, table.labels), (given(["a.png", "b.png", "c.png"]), given(["cat", "dog", "cat"])), "{name}");
            assert_eq!(table.roles, None);
        }
        let table = read(&fixture("pyarrow.parquet")).unwrap();
        assert_eq!((table.values[5], table.shape, table.paths, table.labels), (-6.5, [3, 2], None, given(["7", "9", "7"])));
        assert_eq!(table.roles, Some(Roles { query: vec![0, 1], gallery: vec![2] }));
    }

    #[test]
    fn compression_and_nonsense_are_told() {
        assert!(problem(&fs::read(fixture("pandas_zstd.parquet")).unwrap()).contains("ZSTD"));
        assert!(problem(b"PK\x03\x04").contains("not a Parquet file"));
        assert!(read(Path::new("/")).unwrap_err().to_string().contains("found a folder"));
        let whole = fs::read(fixture("pandas.parquet")).unwrap();
        assert!(problem(&whole[..whole.len() - 9]).contains("not a Parquet file"));
    }

    /// A table with one column `x` of lists, row by row.
    fn lists(schema: &str, rows: &[&[f32]]) -> Vec<u8> {
        use ::parquet::file::writer::SerializedFileWriter;
        let schema = ::parquet::schema::parser::parse_message_type(schema).unwrap();
        let mut writer = SerializedFileWriter::new(Vec::new(), schema.into(), Default::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let levels: Vec<(i16, i16)> =
            rows.iter().flat_map(|row| (0..row.len().max(1)).map(|at| (i16::from(!row.is_empty()), i16::from(at > 0)))).collect();
        let (definition, repetition): (Vec<i16>, Vec<i16>) = levels.into_iter().unzip();
        column.typed::<FloatType>().write_batch(&rows.concat(), Some(&definition), Some(&repetition)).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.into_inner().unwrap()
    }

    #[test]
    fn rows_have_one_length_and_every_value() {
        let schema = "message m { required group x (list) { repeated group list { required float element; } } }";
        assert!(problem(&lists(schema, &[&[1.0, 2.0], &[3.0]])).contains("row 1 has 1 values, expected 2"));
        assert!(problem(&lists(schema, &[&[1.0], &[]])).contains("row 1 has no vector"));
        let bomb = lists(schema, &[&[0.0; 300_000]]);
        assert!(problem(&bomb).contains("claim 300000 values"), "a file of {} bytes", bomb.len());
        let many: Vec<[f32; 2]> = (0..5000).map(|row| [row as f32, 0.5 - row as f32]).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), lists(schema, &many.iter().map(<[f32; 2]>::as_slice).collect::<Vec<_>>())).unwrap();
        assert_eq!(read(file.path()).unwrap().values, many.concat());
    }

    proptest! {
        #[test]
        fn no_damage_ends_the_program(at in 0usize..4000, value: u8, kept in 0usize..8000) {
            let mut bytes = fs::read(fixture("pandas.parquet")).unwrap();
            let (length, at) = (bytes.len(), at % bytes.len());
            bytes[at] = value;
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), &bytes[..kept.clamp(1, length)]).unwrap();
            read(file.path()).ok();
        }
    }
}
