//! Tensors by name as safetensors.

use std::fs;
use std::io::Write;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::error::{AtPath, Error, Result};
use crate::model::parameters::NamedTensors;

/// Every floating-point tensor of a file under its key; integers are passed over.
///
/// # Errors
/// When the file cannot be read or is not safetensors.
pub fn read_safetensors(path: &Path) -> Result<NamedTensors> {
    parse_safetensors(&fs::read(path).at(path)?, path)
}

pub(crate) fn parse_safetensors(bytes: &[u8], path: &Path) -> Result<NamedTensors> {
    // Checks that lengths, shapes and offsets agree with one another and with the file before anything is copied.
    let file = SafeTensors::deserialize(bytes).map_err(|error| Error::format(path, format!("not a safetensors file: {error}")))?;
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
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).at(folder)?;
    file.write_all(&bytes).at(file.path())?;
    file.persist(path).map_err(|error| error.error).at(path)?;
    Ok(())
}
