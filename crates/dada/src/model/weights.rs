//! Pre-trained weights from a file into a network.

use std::path::{Path, PathBuf};

use burn::module::Module;

use crate::error::{Error, Result};
use crate::formats::file::map_bounded;
use crate::formats::hub::Hub;
use crate::formats::{pytorch, safetensors};
use crate::model::parameters;

/// The longest file of weights that is read: the largest network of the list takes a hundredth of it.
const MAX_BYTES: u64 = 16 << 30;

/// The file that a configuration's `weights` means: a path, or `hub:owner/name[@revision][:file]`, which is fetched if need be.
/// `progress` is told (bytes so far, bytes in all).
///
/// # Errors
/// When the hub's file is neither in the cache nor to be had; whether a path exists is not looked at.
pub fn locate(source: &str, progress: &mut dyn FnMut(u64, Option<u64>)) -> Result<PathBuf> {
    match source.strip_prefix("hub:") {
        Some(name) => Hub::from_env()?.fetch_weights(&name.parse()?, progress),
        None => Ok(PathBuf::from(source)),
    }
}

/// Replaces every weight of `network` by that of a file with timm's keys, safetensors or PyTorch's state dict; a classifier in the file
/// is passed over. Nothing in the file is executed.
///
/// # Errors
/// When the file cannot be read or its header contradicts its size, and for the first tensor that is missing, unknown or of another
/// shape.
pub fn load<M: Module>(network: M, path: &Path) -> Result<M> {
    let bytes = map_bounded(path, MAX_BYTES)?;
    let mut tensors = if pytorch::recognises(&bytes) {
        pytorch::read(&bytes).map_err(|problem| Error::format(path, problem))?
    } else {
        safetensors::parse_safetensors(&bytes, path)?
    };
    tensors.retain(|key, _| !is_passed_over(key));
    parameters::load(network, &tensors, &path.display().to_string())
}

/// Classifiers of timm's networks, the projection of an exported model, and a counter that PyTorch's batch norm keeps and nobody needs.
fn is_passed_over(key: &str) -> bool {
    ["fc.", "classifier.", "head.", "projection."].iter().any(|prefix| key.starts_with(prefix)) || key.ends_with("num_batches_tracked")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::safetensors::write_safetensors;
    use crate::model::layers::{Initializer, Linear};
    use crate::model::parameters::tensors;
    use burn::tensor::{Device, TensorData};
    use std::fs;

    fn linear() -> Linear {
        Linear::new(3, 2, &mut Initializer::new(&Device::default(), 1))
    }

    fn floats(values: &[f32], shape: &[usize]) -> TensorData {
        TensorData::new(values.to_vec(), shape.to_vec())
    }

    fn written(tensors: &[(&str, TensorData)]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let tensors = tensors.iter().map(|(key, data)| ((*key).to_owned(), data.clone())).collect();
        write_safetensors(&tensors, file.path()).unwrap();
        file
    }

    #[test]
    fn what_is_written_loads_and_a_classifier_is_passed_over() {
        let weight = floats(&[1., 2., 3., 4., 5., 6.], &[2, 3]);
        let bias = floats(&[0.5, -0.5], &[2]);
        let half = bias.clone().convert::<burn::tensor::f16>();
        let classifier = floats(&[7.0], &[1]);
        let file = written(&[("weight", weight.clone()), ("bias", half), ("fc.weight", classifier.clone()), ("head.bias", classifier)]);
        let loaded = tensors(&load(linear(), file.path()).unwrap());
        assert_eq!(loaded["weight"], weight);
        assert_eq!(loaded["bias"], bias);
    }

    #[test]
    fn a_pytorch_file_loads_whatever_its_name() {
        let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures"));
        let loaded = tensors(&load(linear(), &fixtures.join("checkpoint.pth.tar")).unwrap());
        assert_eq!(loaded["bias"], floats(&[0.5, -0.5], &[2]));
        let message = load(linear(), &fixtures.join("whole_model.pth")).unwrap_err().to_string();
        assert!(message.contains("whole_model.pth: ") && message.contains("state_dict"), "{message}");
    }

    #[test]
    fn every_disagreement_names_file_tensor_and_shapes() {
        let weight = || ("weight", floats(&[0.0; 6], &[2, 3]));
        let bias = || ("bias", floats(&[0.0; 2], &[2]));
        let check = |tensors: &[(&str, TensorData)], expected: &[&str]| {
            let file = written(tensors);
            let message = load(linear(), file.path()).unwrap_err().to_string();
            for part in expected.iter().copied().chain([file.path().to_str().unwrap()]) {
                assert!(message.contains(part), "{message} should have {part}");
            }
        };
        check(&[weight()], &["bias", "nothing", "[2]"]);
        check(&[("weight", floats(&[0.0; 6], &[3, 2])), bias()], &["weight", "[3, 2]", "[2, 3]"]);
        check(&[weight(), bias(), ("gain", floats(&[1.0], &[1]))], &["gain"]);
    }

    #[test]
    fn a_header_is_not_believed() {
        let check = |bytes: &[u8]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), bytes).unwrap();
            let message = load(linear(), file.path()).unwrap_err().to_string();
            assert!(message.contains("not a safetensors file"), "{message}");
        };
        check(b"");
        check(&u64::MAX.to_le_bytes());
        let header = br#"{"weight":{"dtype":"F32","shape":[4000000000,4000000000],"data_offsets":[0,8]}}"#;
        check(&[&(header.len() as u64).to_le_bytes()[..], header, &[0; 8]].concat());
        let valid = fs::read(written(&[("weight", floats(&[0.0; 6], &[2, 3]))]).path()).unwrap();
        check(&valid[..valid.len() - 1]);
        let endless = tempfile::NamedTempFile::new().unwrap();
        endless.as_file().set_len(MAX_BYTES + 1).unwrap();
        assert!(load(linear(), endless.path()).unwrap_err().to_string().contains("more than 17179869184 bytes"));
        assert!(load(linear(), Path::new("/dev/zero")).unwrap_err().to_string().contains("expected a regular file"));
        fs::write(endless.path(), crate::formats::safetensors::empty("weight", "[60000000,0]")).unwrap();
        let problem = load(linear(), endless.path()).unwrap_err().to_string();
        assert!(problem.contains("weight: found shape [60000000, 0], expected shape [2, 3]"), "{problem}");
        assert!(load(linear(), Path::new("/nowhere/model.safetensors")).unwrap_err().to_string().starts_with("/nowhere/model.safetensors"));
    }
}
