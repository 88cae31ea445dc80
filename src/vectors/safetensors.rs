//! The header of a safetensors file with the one tensor `embeddings`: <https://huggingface.co/docs/safetensors>.

/// The header is padded with blanks to this length; 64-bit numbers of rows and columns fit.
const LENGTH: usize = 192;

/// What precedes `rows * dim` little-endian values of 32-bit floating point.
pub fn header(rows: usize, dim: usize) -> Vec<u8> {
    let bytes = rows as u128 * dim as u128 * 4;
    let text = format!(r#"{{"embeddings":{{"dtype":"F32","shape":[{rows},{dim}],"data_offsets":[0,{bytes}]}}}}"#);
    let mut header = ((LENGTH - 8) as u64).to_le_bytes().to_vec();
    header.extend_from_slice(format!("{text:<width$}", width = LENGTH - 8).as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_length_does_not_depend_on_its_numbers() {
        for size in [0, 1, usize::MAX] {
            assert_eq!(header(size, size).len(), LENGTH);
        }
    }
}
