//! Safetensors: tensors by name, and vectors as the tensor `embeddings`. <https://huggingface.co/docs/safetensors>

use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};
use crate::formats::NamedTensors;
use crate::formats::file::{map_bounded, write_whole};
use crate::formats::npy::{self, Array};

/// The longest file that is read.
const MAX_BYTES: u64 = 64 << 30;
/// The longest description of tensors that is read: a network of a thousand tensors takes a hundredth of it.
const MAX_DESCRIPTION: u64 = 16 << 20;

/// Every floating-point tensor of a file under its key; integers are passed over.
///
/// # Errors
/// When the file cannot be read or is not safetensors.
pub fn read_safetensors(path: &Path) -> Result<NamedTensors> {
    parse_safetensors(&map_bounded(path, MAX_BYTES)?, path)
}

pub(crate) fn parse_safetensors(bytes: &[u8], path: &Path) -> Result<NamedTensors> {
    let file = parse(bytes, path)?;
    let mut tensors = NamedTensors::new();
    for (key, view) in file.iter() {
        let dtype = match view.dtype() {
            Dtype::F64 => DType::F64,
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            _ => continue,
        };
        tensors.insert(key.to_owned(), TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype));
    }
    Ok(tensors)
}

/// Checks that lengths, shapes and offsets agree with one another and with the file before anything is copied.
fn parse<'bytes>(bytes: &'bytes [u8], path: &Path) -> Result<SafeTensors<'bytes>> {
    let refuse = |problem: String| Error::format(path, format!("not a safetensors file: {problem}"));
    if let Some(length) = bytes.first_chunk() {
        let length = u64::from_le_bytes(*length);
        if length > MAX_DESCRIPTION {
            return Err(refuse(format!("found a header of {length} bytes, at most {MAX_DESCRIPTION} are read")));
        }
    }
    SafeTensors::deserialize(bytes).map_err(|error| refuse(error.to_string()))
}

/// Writes tensors as safetensors: the inverse of [`read_safetensors`]. The file appears whole or not at all.
///
/// # Errors
/// When the folder cannot be written to.
pub fn write_safetensors(tensors: &NamedTensors, path: &Path) -> Result<()> {
    let views = tensors.iter().map(|(key, data)| {
        let dtype = match data.dtype() {
            DType::F64 => Dtype::F64,
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            other => {
                return Err(Error::mismatch(format!("{}: tensor {key}", path.display()), format!("{other:?}"), "a floating-point type"));
            }
        };
        let view = TensorView::new(dtype, data.shape().to_vec(), data.as_bytes());
        Ok((key, view.expect("a tensor has as many bytes as its shape and type say")))
    });
    let views: Vec<_> = views.collect::<Result<_>>()?;
    let bytes = safetensors::serialize(views, None).expect("the header of valid views is text");
    write_whole(path, &bytes)
}

/// The tensors `embeddings` and `labels` of a file of vectors; the second may be missing.
///
/// # Errors
/// When the file cannot be read, is not safetensors, has no `embeddings`, or has either of another type than 32- and 64-bit floating point or
/// integers.
pub(crate) fn read_vectors(path: &Path) -> Result<(Array, Option<Array>)> {
    let bytes = map_bounded(path, MAX_BYTES)?;
    let tensors = parse(&bytes, path)?;
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
    let labels = if tensors.names().contains(&"labels") { Some(array("labels")?) } else { None };
    Ok((array("embeddings")?, labels))
}

/// With this much room, 64-bit numbers of rows and columns fit, and the values begin at a multiple of 64 bytes.
const HEADER: usize = 192;

/// What precedes the one tensor `embeddings`, 32-bit floating point `[rows, dim]`, in a file. Its length does not depend on the numbers,
/// since the number of rows is known only when all are written.
pub(crate) fn header(rows: usize, dim: usize) -> Vec<u8> {
    let bytes = (rows as u128 * dim as u128).saturating_mul(4);
    let text = format!(r#"{{"embeddings":{{"dtype":"F32","shape":[{rows},{dim}],"data_offsets":[0,{bytes}]}}}}"#);
    let room = HEADER - 8;
    [&(room as u64).to_le_bytes()[..], format!("{text:<room$}").as_bytes()].concat()
}

/// A file with one empty tensor of any shape, for the tests of readers.
#[cfg(test)]
pub(crate) fn empty(name: &str, shape: &str) -> Vec<u8> {
    let text = format!(r#"{{"{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[0,0]}}}}"#);
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_written_is_read_with_its_types() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let data = TensorData::from([[1.0_f32, -2.5], [0.0, 3.0]]);
        let all = [("half", data.clone().convert::<burn::tensor::f16>()), ("double", data.clone().convert::<f64>()), ("single", data)];
        let tensors: NamedTensors = all.into_iter().map(|(key, data)| (key.to_owned(), data)).collect();
        write_safetensors(&tensors, &path).unwrap();
        assert_eq!(read_safetensors(&path).unwrap(), tensors);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let integers = NamedTensors::from([("count".to_owned(), TensorData::from([1_i64]))]);
        assert!(write_safetensors(&integers, &path).unwrap_err().to_string().contains("tensor count"));
        assert_eq!(read_safetensors(&path).unwrap(), tensors);
    }

    #[test]
    fn a_header_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let problem = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let problem = read_safetensors(&path).unwrap_err().to_string();
            assert_eq!(read_vectors(&path).unwrap_err().to_string(), problem);
            assert!(problem.contains("x.safetensors: not a safetensors file"), "{problem}");
            problem
        };
        problem(b"nonsense");
        // 17 MiB of blanks are a header that the format allows.
        let long = [&(17u64 << 20).to_le_bytes()[..], b"{}", &vec![b' '; (17 << 20) - 2]].concat();
        assert!(problem(&long).contains("found a header of 17825792 bytes"));
        problem(&empty("x", "[4000000000,4000000000,4000000000,0]"));
        // 32 GiB that take no room on the disk, and would take it in memory.
        fs::write(&path, empty("x", "[0]")).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(1 << 35).unwrap();
        assert!(read_safetensors(&path).unwrap_err().to_string().contains("not a safetensors file"));
        fs::write(&path, empty("x", "[99999999999,0]")).unwrap();
        assert_eq!(read_safetensors(&path).unwrap()["x"].shape().as_slice(), [99999999999, 0]);
    }

    #[test]
    fn the_length_of_a_header_does_not_depend_on_its_numbers() {
        for size in [0, 1, usize::MAX] {
            assert_eq!(header(size, size).len(), HEADER);
        }
    }
}
