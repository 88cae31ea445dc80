//! Pre-trained weights from a file into a network.

use std::fs;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, TensorData};
use safetensors::{Dtype, SafeTensors};

use crate::error::{AtPath, Error, Result};
use crate::parameters::{self, NamedTensors};

/// Replaces every weight of `network` by that of a safetensors file with timm's keys; a classifier in the file is passed over.
///
/// # Errors
/// When the file cannot be read or its header contradicts its size, and for the first tensor that is missing, unknown or of another
/// shape.
pub fn load<M: Module>(network: M, path: &Path) -> Result<M> {
    let mut tensors = read_safetensors(path)?;
    tensors.retain(|key, _| !is_passed_over(key));
    parameters::load(network, &tensors, &path.display().to_string())
}

/// Classifiers of timm's networks, and a counter that PyTorch's batch norm keeps and nobody needs.
fn is_passed_over(key: &str) -> bool {
    ["fc.", "classifier.", "head."].iter().any(|prefix| key.starts_with(prefix)) || key.ends_with("num_batches_tracked")
}

/// Every floating-point tensor of a file under its key; integers are passed over.
///
/// # Errors
/// When the file cannot be read or is not safetensors.
pub fn read_safetensors(path: &Path) -> Result<NamedTensors> {
    let bytes = fs::read(path).at(path)?;
    // Checks that lengths, shapes and offsets agree with one another and with the file before anything is copied.
    let file = SafeTensors::deserialize(&bytes).map_err(|error| Error::format(path, format!("not a safetensors file: {error}")))?;
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
