//! Just enough of MATLAB's version 5 files to read an array of records, as CARS196 keeps its annotations.
//!
//! Format: MathWorks, "MAT-File Format", level 5. A file is a header of 128 bytes and elements; an element is a type, a length and
//! that many bytes, padded to 8. A structure array is an element that holds its names and one element for each field of each record.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use flate2::read::ZlibDecoder;

use crate::error::{Error, Result};
use crate::formats::file::read_bounded;

const MAX_BYTES: u64 = 256 << 20;
const HEADER_BYTES: usize = 128;
/// A record array within a cell within … : nothing that is read here is deeper.
const MAX_DEPTH: usize = 8;

const MI_UINT8: u32 = 2;
const MI_MATRIX: u32 = 14;
const MI_COMPRESSED: u32 = 15;
const CLASS_STRUCT: u8 = 2;
const CLASS_CHAR: u8 = 4;

/// A value of a variable or of a record's field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// Numbers in MATLAB's order.
    Numbers(Vec<f64>),
    /// Records.
    Records(Vec<BTreeMap<String, Value>>),
    /// Something that is not read, such as a cell array.
    Other,
}

/// The variables of a file.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Format`] when it is malformed or of another version.
pub fn read(path: &Path) -> Result<BTreeMap<String, Value>> {
    variables(&read_bounded(path, MAX_BYTES)?).map_err(|problem| Error::format(path, problem))
}

fn variables(bytes: &[u8]) -> Result<BTreeMap<String, Value>, String> {
    if bytes.get(124..HEADER_BYTES) != Some(&[0, 1, b'I', b'M']) {
        return Err("expected a little-endian MATLAB file of version 5 (version 7.3 has to be saved again with `-v7`)".to_owned());
    }
    let mut variables = BTreeMap::new();
    let mut rest = &bytes[HEADER_BYTES..];
    while !rest.is_empty() {
        let (kind, content) = take_element(&mut rest)?;
        let inflated;
        let (kind, content) = if kind == MI_COMPRESSED {
            inflated = inflate(content)?;
            take_element(&mut inflated.as_slice())?
        } else {
            (kind, content)
        };
        if kind == MI_MATRIX {
            let (name, value) = matrix(content, 0)?;
            variables.insert(name, value);
        }
    }
    Ok(variables)
}

fn inflate(content: &[u8]) -> Result<Vec<u8>, String> {
    let mut inflated = Vec::new();
    ZlibDecoder::new(content)
        .take(MAX_BYTES + 1)
        .read_to_end(&mut inflated)
        .map_err(|error| format!("damaged compressed data: {error}"))?;
    if inflated.len() as u64 > MAX_BYTES {
        return Err(format!("found more than {MAX_BYTES} bytes of uncompressed data, which is the most that is read"));
    }
    Ok(inflated)
}

/// Splits an element off. Elements of up to four bytes keep their length in the upper half of the type.
fn take_element<'bytes>(rest: &mut &'bytes [u8]) -> Result<(u32, &'bytes [u8]), String> {
    let truncated = || "truncated: an element is longer than what is left of the file".to_owned();
    let word = |at: usize| rest.get(at..at + 4).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let first = word(0).ok_or_else(truncated)?;
    let (kind, start, length, padded) = match first >> 16 {
        0 => {
            let length = word(4).ok_or_else(truncated)? as usize;
            // A compressed element is the one that is not padded.
            (first, 8, length, if first == MI_COMPRESSED { length } else { length.next_multiple_of(8) })
        }
        small => (first & 0xffff, 4, small.min(4) as usize, 4),
    };
    let content = rest.get(start..start + length).ok_or_else(truncated)?;
    *rest = rest.get(start + padded..).unwrap_or_default();
    Ok((kind, content))
}

/// The name and the value of a matrix element.
fn matrix(mut content: &[u8], depth: usize) -> Result<(String, Value), String> {
    if content.is_empty() {
        return Ok((String::new(), Value::Numbers(Vec::new())));
    }
    if depth > MAX_DEPTH {
        return Err("records within records without end".to_owned());
    }
    let rest = &mut content;
    let class = take_element(rest)?.1.first().copied().unwrap_or_default();
    let dimensions = numbers(take_element(rest)?)?;
    let count = dimensions.iter().product::<f64>();
    let name = String::from_utf8_lossy(take_element(rest)?.1).into_owned();
    let value = match class {
        CLASS_STRUCT => Value::Records(records(rest, count, depth)?),
        CLASS_CHAR => Value::Text(text(take_element(rest)?)?),
        6..=15 => Value::Numbers(numbers(take_element(rest)?)?),
        _ => Value::Other,
    };
    Ok((name, value))
}

fn records(rest: &mut &[u8], count: f64, depth: usize) -> Result<Vec<BTreeMap<String, Value>>, String> {
    let length = numbers(take_element(rest)?)?.first().copied().unwrap_or_default() as usize;
    let names = take_element(rest)?.1;
    if length == 0 || names.len() % length != 0 {
        return Err(format!("found {} bytes of field names of {length} each, expected a multiple", names.len()));
    }
    let names: Vec<String> = names
        .chunks(length)
        .map(|name| name.split(|&byte| byte == 0).next().map(String::from_utf8_lossy).unwrap_or_default().into_owned())
        .collect();
    // Each field of each record takes at least 8 bytes, so that a lie about their number is seen before anything is allocated.
    if !(0.0..=(rest.len() / 8) as f64).contains(&(count * names.len() as f64)) {
        return Err(format!("truncated: found {} bytes for {count} records of {} fields", rest.len(), names.len()));
    }
    let field = |name: &String, rest: &mut &[u8]| Ok((name.clone(), matrix(take_element(rest)?.1, depth + 1)?.1));
    (0..count as usize).map(|_| names.iter().map(|name| field(name, rest)).collect()).collect()
}

fn text((kind, content): (u32, &[u8])) -> Result<String, String> {
    match kind {
        1 | MI_UINT8 | 16 => Ok(String::from_utf8_lossy(content).into_owned()),
        4 | 17 => {
            let units: Vec<u16> = content.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
            Ok(String::from_utf16_lossy(&units))
        }
        other => Err(format!("found text stored as type {other}, expected bytes or UTF-16")),
    }
}

/// Numbers are stored in the smallest type that holds them, whatever the class of the array.
fn numbers((kind, content): (u32, &[u8])) -> Result<Vec<f64>, String> {
    fn each<const N: usize>(content: &[u8], convert: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        content.as_chunks::<N>().0.iter().map(|&bytes| convert(bytes)).collect()
    }
    Ok(match kind {
        1 => each(content, |bytes| i8::from_le_bytes(bytes).into()),
        MI_UINT8 => each(content, |bytes| u8::from_le_bytes(bytes).into()),
        3 => each(content, |bytes| i16::from_le_bytes(bytes).into()),
        4 => each(content, |bytes| u16::from_le_bytes(bytes).into()),
        5 => each(content, |bytes| i32::from_le_bytes(bytes).into()),
        6 => each(content, |bytes| u32::from_le_bytes(bytes).into()),
        7 => each(content, |bytes| f32::from_le_bytes(bytes).into()),
        9 => each(content, f64::from_le_bytes),
        12 => each(content, |bytes| i64::from_le_bytes(bytes) as f64),
        13 => each(content, |bytes| u64::from_le_bytes(bytes) as f64),
        other => return Err(format!("found numbers stored as type {other}, expected integers or floating point")),
    })
}

/// Writes files for the tests of readers.
#[cfg(test)]
pub mod write {
    use std::io::Write;

    fn element(kind: u32, content: &[u8]) -> Vec<u8> {
        let mut bytes = [kind.to_le_bytes(), (content.len() as u32).to_le_bytes()].concat();
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn array(class: u8, count: i32, name: &str, content: &[Vec<u8>]) -> Vec<u8> {
        let flags = element(6, &[class, 0, 0, 0, 0, 0, 0, 0]);
        let dimensions = element(5, &[1i32.to_le_bytes(), count.to_le_bytes()].concat());
        element(super::MI_MATRIX, &[vec![flags, dimensions, element(1, name.as_bytes())], content.to_vec()].concat().concat())
    }

    /// A text, in UTF-16 as MATLAB writes it.
    pub fn text(text: &str) -> Vec<u8> {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        array(super::CLASS_CHAR, text.len() as i32, "", &[element(4, &units)])
    }

    /// A number, in the short form of an element.
    pub fn number(number: u8) -> Vec<u8> {
        array(6, 1, "", &[vec![2, 0, 1, 0, number, 0, 0, 0]])
    }

    /// A file with one array of records.
    pub fn file(name: &str, fields: &[&str], records: &[Vec<Vec<u8>>], compressed: bool) -> Vec<u8> {
        let names: Vec<u8> = fields.iter().flat_map(|field| format!("{field:\0<32}").into_bytes()).collect();
        let head = vec![vec![5, 0, 4, 0, 32, 0, 0, 0], element(1, &names)];
        let array = array(super::CLASS_STRUCT, records.len() as i32, name, &[head, records.concat()].concat());
        let mut file = vec![b' '; 124];
        file.extend([0, 1, b'I', b'M']);
        if compressed {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&array).unwrap();
            let content = encoder.finish().unwrap();
            file.extend([15u32.to_le_bytes(), (content.len() as u32).to_le_bytes()].concat());
            file.extend(content);
        } else {
            file.extend(array);
        }
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cars(compressed: bool) -> Vec<u8> {
        let record = |class, name: &str| vec![write::number(class), write::text(name)];
        write::file("annotations", &["class", "fname"], &[record(1, "00001.jpg"), record(196, "é.jpg")], compressed)
    }

    #[test]
    fn records_are_read_compressed_or_not() {
        for compressed in [false, true] {
            let variables = variables(&cars(compressed)).unwrap();
            let Value::Records(records) = &variables["annotations"] else { panic!("{variables:?}") };
            assert_eq!(records.len(), 2);
            assert_eq!(records[0]["fname"], Value::Text("00001.jpg".into()));
            assert_eq!((&records[1]["class"], &records[1]["fname"]), (&Value::Numbers(vec![196.0]), &Value::Text("é.jpg".into())));
        }
    }

    #[test]
    fn other_files_and_cut_ones_are_refused() {
        assert!(variables(b"MATLAB 7.3 MAT-file").unwrap_err().contains("version 5"));
        let file = cars(false);
        for kept in [129, 140, 200, file.len() / 2, file.len() - 9] {
            assert!(variables(&file[..kept]).is_err(), "cut after {kept}");
        }
        let compressed = cars(true);
        assert!(variables(&compressed[..compressed.len() - 20]).unwrap_err().contains("truncated"));
    }

    proptest! {
        #[test]
        fn no_damage_makes_it_panic(at in 128usize..600, value: u8, compressed: bool) {
            let mut file = cars(compressed);
            let at = at.min(file.len() - 1);
            file[at] = value;
            variables(&file).ok();
        }
    }
}
