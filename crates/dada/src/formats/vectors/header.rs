//! What precedes the values in array files. A header is padded to one length whatever its numbers are, since the number of rows is known
//! only at the end.

/// With this much room, 64-bit numbers of rows and columns fit, and the values begin at a multiple of 64 bytes.
const LENGTH: usize = 192;

/// NumPy's, version 1: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.
pub fn npy(rows: usize, dim: usize) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    let before = [b"\x93NUMPY\x01\x00".as_slice(), &((LENGTH - 10) as u16).to_le_bytes()].concat();
    let mut header = padded(&before, &text);
    header[LENGTH - 1] = b'\n';
    header
}

/// That of a safetensors file with the one tensor `embeddings`: <https://huggingface.co/docs/safetensors>.
pub fn safetensors(rows: usize, dim: usize) -> Vec<u8> {
    let bytes = rows as u128 * dim as u128 * 4;
    let text = format!(r#"{{"embeddings":{{"dtype":"F32","shape":[{rows},{dim}],"data_offsets":[0,{bytes}]}}}}"#);
    padded(&((LENGTH - 8) as u64).to_le_bytes(), &text)
}

fn padded(before: &[u8], text: &str) -> Vec<u8> {
    let mut header = [before, text.as_bytes()].concat();
    header.resize(LENGTH.max(header.len()), b' ');
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn their_length_does_not_depend_on_their_numbers() {
        for size in [0, 1, usize::MAX] {
            assert_eq!((npy(size, size).len(), safetensors(size, size).len()), (LENGTH, LENGTH));
        }
    }
}
