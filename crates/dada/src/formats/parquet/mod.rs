//! Tables of vectors in Apache Parquet files: <https://parquet.apache.org/docs/file-format>.

mod read;
mod write;

pub use read::{Table, read};
pub use write::Writer;
