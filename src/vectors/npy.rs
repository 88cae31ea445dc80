//! The header of NumPy's array file, version 1: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

/// With this much room, 64-bit numbers of rows and columns fit, and the values begin at a multiple of 64 bytes.
const LENGTH: usize = 192;

/// What precedes `rows * dim` little-endian values of 32-bit floating point.
pub fn header(rows: usize, dim: usize) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend_from_slice(&((LENGTH - 10) as u16).to_le_bytes());
    header.extend_from_slice(format!("{text:<width$}\n", width = LENGTH - 11).as_bytes());
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
