//! PyTorch's state dicts (`.pth`, `.pt`, `.pth.tar`), read without executing what they contain.
//!
//! Both of `torch.save`'s formats: a zip archive with the pickled structure and one entry a storage (since 1.6), and pickles followed
//! by the storages (before).

mod archive;
mod pickle;

use std::collections::BTreeMap;
use std::ops::Range;

use burn::tensor::{DType, TensorData};

use crate::formats::NamedTensors;
use pickle::{Id, Node, Pickle};

/// A pickled integer, then a full stop: how `torch.save` began before it wrote archives.
const OLD_MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// Keys under which checkpoints keep the weights beside other things, the likeliest first.
const NESTED: [&str; 4] = ["state_dict", "model_state_dict", "model", "teacher"];

/// How many times the size of a file its tensors may take.
const SHARING: usize = 16;

/// Whether a file's first bytes are those of a PyTorch file.
pub fn recognises(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(OLD_MAGIC)
}

/// Every floating-point tensor of a state dict under its key, without the `module.` and `backbone.` that wrappers put before it.
///
/// # Errors
/// What is wrong with the file.
pub fn read(bytes: &[u8]) -> Result<NamedTensors, String> {
    let file = if bytes.starts_with(OLD_MAGIC) { old_format(bytes)? } else { archive_format(bytes)? };
    let mut dict = file.pickle.root;
    for _ in 0..NESTED.len() {
        dict = NESTED.iter().find_map(|key| file.pickle.get(dict, key)).unwrap_or(dict);
    }
    let Node::Dict(entries) = file.pickle.node(dict) else {
        return Err("holds no state dict: save `model.state_dict()` in place of the model itself".to_owned());
    };
    let mut tensors = NamedTensors::new();
    let mut total = 0;
    for &(key, value) in entries {
        let Node::Text(key) = file.pickle.node(key) else { continue };
        if let Some(data) = file.tensor(value).map_err(|problem| format!("tensor {key}: {problem}"))? {
            // Tensors may share a storage, so that a small file could ask for any amount of memory.
            total += data.as_bytes().len();
            if total > SHARING * bytes.len() {
                return Err(format!("its tensors take more than {SHARING} times the file"));
            }
            let key = key.strip_prefix("module.").unwrap_or(key);
            tensors.insert(key.strip_prefix("backbone.").unwrap_or(key).to_owned(), data);
        }
    }
    if tensors.is_empty() {
        return Err("holds no tensors, or none under a state dict".to_owned());
    }
    Ok(tensors)
}

struct StateFile<'a> {
    bytes: &'a [u8],
    pickle: Pickle,
    storages: BTreeMap<String, Range<usize>>,
}

fn archive_format(bytes: &[u8]) -> Result<StateFile<'_>, String> {
    let entries = archive::entries(bytes)?;
    let structure =
        entries.keys().find(|name| name.ends_with("/data.pkl")).ok_or("a zip archive, but without the data.pkl of torch.save")?;
    let root = structure.trim_end_matches("data.pkl").to_owned();
    if entries.get(&format!("{root}byteorder")).is_some_and(|order| &bytes[order.clone()] != b"little") {
        return Err("was saved by a big-endian machine".to_owned());
    }
    let pickle = pickle::read(&bytes[entries[structure].clone()])?;
    let folder = format!("{root}data/");
    let storages = entries.into_iter().filter_map(|(name, range)| Some((name.strip_prefix(&folder)?.to_owned(), range))).collect();
    Ok(StateFile { bytes, pickle, storages })
}

fn old_format(bytes: &[u8]) -> Result<StateFile<'_>, String> {
    let mut at = OLD_MAGIC.len();
    let mut next = || -> Result<Pickle, String> {
        let pickle = pickle::read(&bytes[at..])?;
        at += pickle.length;
        Ok(pickle)
    };
    let (_protocol, _machine, pickle, keys) = (next()?, next()?, next()?, next()?);
    let widths = storage_widths(&pickle);
    let Node::List(keys_in_order) = keys.node(keys.root) else { return Err("has no list of storages".to_owned()) };
    let mut storages = BTreeMap::new();
    for &key in keys_in_order {
        let Node::Text(key) = keys.node(key) else { return Err("a storage without a name".to_owned()) };
        let width = widths.get(key).ok_or_else(|| format!("storage {key} is of an unknown type"))?;
        let count: [u8; 8] = bytes.get(at..at + 8).and_then(|count| count.try_into().ok()).ok_or("ends within its storages")?;
        let length = usize::try_from(u64::from_le_bytes(count)).ok().and_then(|count| count.checked_mul(*width));
        let end = length.and_then(|length| (at + 8).checked_add(length)).filter(|&end| end <= bytes.len());
        let end = end.ok_or_else(|| format!("ends within storage {key}"))?;
        storages.insert(key.clone(), at + 8..end);
        at = end;
    }
    Ok(StateFile { bytes, pickle, storages })
}

/// Bytes of an element of each storage that a pickle refers to.
fn storage_widths(pickle: &Pickle) -> BTreeMap<String, usize> {
    let storages = pickle.nodes().filter_map(|node| match node {
        &Node::Persistent(reference) => storage(pickle, reference),
        _ => None,
    });
    storages.map(|storage| (storage.key.to_owned(), storage.kind.width())).collect()
}

/// What a persistent reference says: `("storage", class, key, device, count, …)`.
struct Storage<'a> {
    key: &'a str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Float(DType),
    Other(usize),
}

impl Kind {
    fn width(self) -> usize {
        match self {
            Self::Float(dtype) => dtype.size(),
            Self::Other(width) => width,
        }
    }
}

fn storage(pickle: &Pickle, reference: Id) -> Option<Storage<'_>> {
    let &[_, class, key, ..] = pickle.tuple(reference)? else { return None };
    let (Node::Global(class), Node::Text(key)) = (pickle.node(class), pickle.node(key)) else { return None };
    let kind = match class.strip_prefix("torch.")? {
        "DoubleStorage" => Kind::Float(DType::F64),
        "FloatStorage" => Kind::Float(DType::F32),
        "HalfStorage" => Kind::Float(DType::F16),
        "BFloat16Storage" => Kind::Float(DType::BF16),
        "LongStorage" => Kind::Other(8),
        "IntStorage" => Kind::Other(4),
        "ShortStorage" => Kind::Other(2),
        "CharStorage" | "ByteStorage" | "BoolStorage" => Kind::Other(1),
        _ => return None,
    };
    Some(Storage { key, kind })
}

impl StateFile<'_> {
    /// The tensor that an object stands for, or nothing when it is something else or holds integers.
    fn tensor(&self, id: Id) -> Result<Option<TensorData>, String> {
        let pickle = &self.pickle;
        let &Node::Call(function, arguments) = pickle.node(id) else { return Ok(None) };
        let (Node::Global(function), Some(arguments)) = (pickle.node(function), pickle.tuple(arguments)) else { return Ok(None) };
        match (function.as_str(), arguments) {
            // A parameter is a tensor and flags; its tensor is never a parameter again, so that this ends.
            ("torch._utils._rebuild_parameter", &[tensor, ..]) if tensor < id => self.tensor(tensor),
            ("torch._utils._rebuild_tensor_v2", &[storage, offset, size, stride, ..]) => self.view(storage, offset, size, stride),
            _ => Ok(None),
        }
    }

    fn view(&self, storage_id: Id, offset: Id, size: Id, stride: Id) -> Result<Option<TensorData>, String> {
        let pickle = &self.pickle;
        let &Node::Persistent(reference) = pickle.node(storage_id) else { return Err("has no storage".to_owned()) };
        let Some(Storage { key, kind: Kind::Float(dtype) }) = storage(pickle, reference) else { return Ok(None) };
        let counts = |id: Id| -> Option<Vec<usize>> { pickle.tuple(id)?.iter().map(|&id| pickle.count(id)).collect() };
        let (Some(offset), Some(size), Some(stride)) = (pickle.count(offset), counts(size), counts(stride)) else {
            return Err("has no shape".to_owned());
        };
        let storage = self.storages.get(key).ok_or_else(|| format!("storage {key} is missing"))?;
        let bytes = &self.bytes[storage.clone()];
        let width = dtype.size();
        let available = bytes.len() / width;
        let outside = || format!("shape {size:?} with strides {stride:?} from {offset} on does not fit into {available} values");
        let count = size
            .iter()
            .try_fold(1_usize, |count, &size| count.checked_mul(size))
            .filter(|&count| count <= available)
            .ok_or_else(outside)?;
        if size.len() != stride.len() {
            return Err(outside());
        }
        if count > 0 {
            let last =
                size.iter().zip(&stride).try_fold(offset, |last, (&size, &stride)| last.checked_add((size - 1).checked_mul(stride)?));
            last.filter(|&last| last < available).ok_or_else(outside)?;
        }
        let mut values = Vec::with_capacity(count * width);
        let mut place = vec![0; size.len()];
        for _ in 0..count {
            let at = offset + place.iter().zip(&stride).map(|(place, stride)| place * stride).sum::<usize>();
            values.extend_from_slice(&bytes[at * width..(at + 1) * width]);
            for axis in (0..size.len()).rev() {
                place[axis] += 1;
                if place[axis] < size[axis] {
                    break;
                }
                place[axis] = 0;
            }
        }
        Ok(Some(TensorData::from_bytes_vec(values, size, dtype)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ARCHIVE: &[u8] = include_bytes!("../../../../../tests/fixtures/state_dict.pth");
    const OLD: &[u8] = include_bytes!("../../../../../tests/fixtures/state_dict_before_1.6.pth");
    const CHECKPOINT: &[u8] = include_bytes!("../../../../../tests/fixtures/checkpoint.pth.tar");
    const WHOLE: &[u8] = include_bytes!("../../../../../tests/fixtures/whole_model.pth");

    #[test]
    fn every_way_to_save_a_layer_gives_its_tensors() {
        for bytes in [ARCHIVE, OLD, CHECKPOINT] {
            assert!(recognises(bytes));
            let tensors = read(bytes).unwrap();
            let keys: Vec<_> = tensors.keys().map(String::as_str).collect();
            assert_eq!(keys, ["bias", "fc.weight", "weight"]);
            assert_eq!(tensors["weight"], TensorData::from([[0.0_f32, 1.0, 2.0], [0.5, 1.5, 2.5]]));
            assert_eq!(tensors["bias"].clone().convert::<f32>(), TensorData::from([0.5_f32, -0.5]));
        }
    }

    #[test]
    fn a_whole_model_is_refused_and_told_what_to_save() {
        let problem = read(WHOLE).unwrap_err();
        assert!(problem.contains("model.state_dict()"), "{problem}");
    }

    #[test]
    fn a_tensor_beyond_its_storage_is_refused() {
        // The bias starts at element 1 of 3 (opcode K, value 1) and is 2 long: from element 2 on, one would be missing.
        let place = OLD.windows(5).position(|window| window == b"K\x01K\x02\x85").unwrap();
        let mut bytes = OLD.to_vec();
        bytes[place + 1] = 2;
        let problem = read(&bytes).unwrap_err();
        assert!(problem.contains("tensor bias") && problem.contains("does not fit"), "{problem}");
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        for whole in [ARCHIVE, OLD] {
            for length in 0..whole.len() {
                assert!(read(&whole[..length]).is_err(), "{length} of {}", whole.len());
            }
        }
    }

    proptest! {
        #[test]
        fn damage_ends_in_a_result(place in 0..usize::MAX, value: u8) {
            for whole in [ARCHIVE, OLD, CHECKPOINT] {
                let mut bytes = whole.to_vec();
                let place = place % bytes.len();
                bytes[place] = value;
                _ = read(&bytes);
            }
        }
    }
}
