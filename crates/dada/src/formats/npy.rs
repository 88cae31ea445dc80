//! NumPy's array files: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>, versions 1 to 3.

use std::path::Path;

use crate::error::{Error, Result};
use crate::formats::file::map_bounded;

/// An array in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Sizes of the axes.
    pub shape: Vec<usize>,
    /// As many values as the product of `shape`.
    pub values: Values,
}

/// Values of one of the types that vectors and labels come in.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Floating point, rounded to 32 bits.
    Floats(Vec<f32>),
    /// Whole numbers.
    Integers(Vec<i64>),
}

/// Reads an array file of at most `limit` bytes.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Format`] when it is malformed, column-major, big-endian, or of a type other
/// than 32- and 64-bit floating point or integers.
pub fn read(path: &Path, limit: u64) -> Result<Array> {
    parse(&map_bounded(path, limit)?).map_err(|problem| Error::format(path, problem))
}

fn parse(bytes: &[u8]) -> Result<Array, String> {
    let truncated = || "truncated: the header is longer than the file".to_owned();
    if !bytes.starts_with(b"\x93NUMPY") {
        return Err("not a NumPy file: expected it to begin with \\x93NUMPY".to_owned());
    }
    let (start, length) = match (bytes.get(6), bytes.get(8..12)) {
        (Some(1), Some(length)) => (10, usize::from(u16::from_le_bytes([length[0], length[1]]))),
        (Some(2 | 3), Some(length)) => (12, u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize),
        (_, None) => return Err(truncated()),
        (version, _) => return Err(format!("found version {version:?}, expected 1 to 3")),
    };
    let header = bytes.get(start..start + length).ok_or_else(truncated)?;
    let header = std::str::from_utf8(header).map_err(|_| "the header is not text".to_owned())?;
    let content = &bytes[start + length..];
    let kind = after(header, "descr").and_then(|text| text.split(['\'', '"']).nth(1)).ok_or("the header has no `descr`")?;
    let shape = after(header, "shape")
        .and_then(|text| text.strip_prefix('('))
        .and_then(|text| text.split_once(')'))
        .ok_or("the header has no `shape`")?
        .0;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape: Vec<usize> = sizes.map(|size| size.parse().map_err(|_| format!("found a size of {size:?}"))).collect::<Result<_, _>>()?;
    if after(header, "fortran_order").is_some_and(|text| text.starts_with("True")) && shape.len() > 1 {
        return Err("found column-major order, expected row-major: save `numpy.ascontiguousarray(x)`".to_owned());
    }
    let width = match kind {
        "<f4" | "<i4" => 4,
        "<f8" | "<i8" => 8,
        other => return Err(format!("found values of type {other:?}, expected float32, float64, int32 or int64, little-endian")),
    };
    let expected = shape.iter().try_fold(width, |total: usize, &size| total.checked_mul(size));
    if expected != Some(content.len()) {
        return Err(format!("found {} bytes of values, expected those of {shape:?} values of type {kind}", content.len()));
    }
    let values = match kind {
        "<f4" => floats(content, f32::from_le_bytes),
        "<f8" => floats(content, |bytes| f64::from_le_bytes(bytes) as f32),
        "<i4" => integers(content, |bytes| i32::from_le_bytes(bytes).into()),
        _ => integers(content, i64::from_le_bytes),
    };
    Ok(Array { shape, values })
}

/// What follows a key and its colon.
fn after<'text>(header: &'text str, key: &str) -> Option<&'text str> {
    let (_, rest) = header.split_once(&format!("'{key}'"))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

/// Values of N bytes each as floating point.
pub fn floats<const N: usize>(content: &[u8], convert: impl Fn([u8; N]) -> f32) -> Values {
    Values::Floats(content.as_chunks::<N>().0.iter().map(|&bytes| convert(bytes)).collect())
}

/// Values of N bytes each as whole numbers.
pub fn integers<const N: usize>(content: &[u8], convert: impl Fn([u8; N]) -> i64) -> Values {
    Values::Integers(content.as_chunks::<N>().0.iter().map(|&bytes| convert(bytes)).collect())
}

/// With this much room, 64-bit numbers of rows and columns fit, and the values begin at a multiple of 64 bytes.
const HEADER: usize = 192;

/// What precedes 32-bit floating point `[rows, dim]` in a file of version 1. Its length does not depend on the numbers, since the number
/// of rows is known only when all are written.
pub fn header(rows: usize, dim: usize) -> Vec<u8> {
    header_of("<f4", &format!("({rows}, {dim})"), HEADER)
}

fn header_of(kind: &str, shape: &str, length: usize) -> Vec<u8> {
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    let room = length - 10;
    [b"\x93NUMPY\x01\0", &(room as u16).to_le_bytes()[..], format!("{text:<0$}\n", room - 1).as_bytes()].concat()
}

/// A whole file for the tests of readers.
#[cfg(test)]
pub fn file(kind: &str, shape: &str, content: Vec<u8>) -> Vec<u8> {
    [header_of(kind, shape, 128), content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_type_is_read() {
        let array = parse(&file("<f8", "(2, 1)", [1.5f64.to_le_bytes(), (-2.0f64).to_le_bytes()].concat())).unwrap();
        assert_eq!(array, Array { shape: vec![2, 1], values: Values::Floats(vec![1.5, -2.0]) });
        let array = parse(&file("<i4", "(2,)", [7i32.to_le_bytes(), (-1i32).to_le_bytes()].concat())).unwrap();
        assert_eq!(array, Array { shape: vec![2], values: Values::Integers(vec![7, -1]) });
        assert_eq!(parse(&file("<f4", "()", vec![0; 4])).unwrap().shape, Vec::<usize>::new());
    }

    #[test]
    fn problems_say_what_was_found() {
        let problem = |kind: &str, shape: &str, bytes| parse(&file(kind, shape, vec![0; bytes])).unwrap_err();
        assert!(problem("<c8", "(2,)", 16).contains("\"<c8\""));
        assert!(problem(">f4", "(2,)", 8).contains("little-endian"));
        assert!(problem("<f4", "(2, 3)", 20).contains("found 20 bytes of values"));
        assert!(problem("<f4", "(99999999999, 99999999999)", 8).contains("found 8 bytes"));
        assert!(problem("<f4", "(a,)", 8).contains("size of \"a\""));
        assert!(parse(b"PK\x03\x04").unwrap_err().contains("not a NumPy file"));
        let fortran = String::from_utf8_lossy(&file("<f4", "(2, 1)", Vec::new())[1..]).replace("False", "True ");
        assert!(parse(&[b"\x93", fortran.as_bytes(), &[0; 8]].concat()).unwrap_err().contains("column-major"));
    }

    #[test]
    fn a_header_is_not_believed() {
        // Twelve bytes that promise a header of 4 GiB.
        assert!(parse(b"\x93NUMPY\x02\0\xff\xff\xff\xff").unwrap_err().contains("truncated"));
        assert!(parse(&file("<f4", "(6917529027641081857, 4)", vec![0; 16])).unwrap_err().contains("found 16 bytes"));
    }

    #[test]
    fn the_length_of_a_header_does_not_depend_on_its_numbers() {
        for size in [0, 1, usize::MAX] {
            assert_eq!(header(size, size).len(), HEADER);
        }
        let values = [1.0f32.to_le_bytes(), 2.0f32.to_le_bytes()].concat();
        let array = parse(&[header(2, 1), values].concat()).unwrap();
        assert_eq!(array, Array { shape: vec![2, 1], values: Values::Floats(vec![1.0, 2.0]) });
    }

    proptest! {
        #[test]
        fn no_damage_makes_it_panic(at in 0usize..136, value: u8, kept in 0usize..140) {
            let mut file = file("<f4", "(2,)", vec![0; 8]);
            file[at.min(135)] = value;
            parse(&file[..kept.min(file.len())]).ok();
        }
    }
}
