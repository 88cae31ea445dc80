//! The part of zip that `torch.save` uses: uncompressed entries, with 64-bit lengths where needed.

use std::collections::BTreeMap;
use std::ops::Range;

/// The entries of an archive by name, as ranges of its bytes.
///
/// # Errors
/// What contradicts the format, or that an entry is compressed.
pub fn entries(bytes: &[u8]) -> Result<BTreeMap<String, Range<usize>>, String> {
    let (mut at, count) = directory(bytes)?;
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        if number(bytes, at, 4)? != 0x0201_4b50 {
            return Err("the zip directory is damaged".to_owned());
        }
        let method = number(bytes, at + 10, 2)?;
        let mut length = number(bytes, at + 20, 4)?;
        let unpacked = number(bytes, at + 24, 4)?;
        let name_length = number(bytes, at + 28, 2)?;
        let extra_length = number(bytes, at + 30, 2)?;
        let comment_length = number(bytes, at + 32, 2)?;
        let mut header = number(bytes, at + 42, 4)?;
        let name = String::from_utf8_lossy(slice(bytes, at + 46, name_length)?).into_owned();
        let extra = slice(bytes, at + 46 + name_length, extra_length)?;
        // 64-bit values follow in this order, each only where the 32-bit one is full.
        let mut wide = wide_values(extra)?.into_iter();
        if unpacked == FULL {
            wide.next().ok_or(TRUNCATED)?;
        }
        if length == FULL {
            length = wide.next().ok_or(TRUNCATED)?;
        }
        if header == FULL {
            header = wide.next().ok_or(TRUNCATED)?;
        }
        if method != 0 {
            return Err(format!("entry {name} is compressed, which torch.save never does"));
        }
        if number(bytes, header, 4)? != 0x0403_4b50 {
            return Err(format!("entry {name} is damaged"));
        }
        let start = header + 30 + number(bytes, header + 26, 2)? + number(bytes, header + 28, 2)?;
        slice(bytes, start, length)?;
        entries.insert(name, start..start + length);
        at += 46 + name_length + extra_length + comment_length;
    }
    Ok(entries)
}

const FULL: usize = 0xffff_ffff;
const TRUNCATED: &str = "the zip archive is truncated";

/// Where the directory of entries starts, and how many there are.
fn directory(bytes: &[u8]) -> Result<(usize, usize), String> {
    // The end record is 22 bytes and a comment of at most 65,535.
    let first = bytes.len().saturating_sub(22 + 0xffff);
    let end = (first..bytes.len().saturating_sub(21)).rev().find(|&at| bytes[at..].starts_with(b"PK\x05\x06")).ok_or(TRUNCATED)?;
    let (count, start) = (number(bytes, end + 10, 2)?, number(bytes, end + 16, 4)?);
    if (count != 0xffff && start != FULL) || end < 20 || !bytes[end - 20..].starts_with(b"PK\x06\x07") {
        return Ok((start, count));
    }
    let wide = number(bytes, end - 12, 8)?;
    if !slice(bytes, wide, 4)?.starts_with(b"PK\x06\x06") {
        return Err("the zip directory is damaged".to_owned());
    }
    Ok((number(bytes, wide + 48, 8)?, number(bytes, wide + 32, 8)?))
}

/// The values of the extra field that holds 64-bit lengths.
fn wide_values(mut extra: &[u8]) -> Result<Vec<usize>, String> {
    while extra.len() >= 4 {
        let (kind, length) = (number(extra, 0, 2)?, number(extra, 2, 2)?);
        let content = slice(extra, 4, length)?;
        if kind == 1 {
            return (0..content.len() / 8).map(|index| number(content, index * 8, 8)).collect();
        }
        extra = &extra[4 + length..];
    }
    Ok(Vec::new())
}

fn slice(bytes: &[u8], start: usize, length: usize) -> Result<&[u8], String> {
    start.checked_add(length).and_then(|end| bytes.get(start..end)).ok_or_else(|| TRUNCATED.to_owned())
}

/// A number that is also a place or a length: one beyond 2⁶² is refused, so that adding to it cannot overflow.
fn number(bytes: &[u8], at: usize, width: usize) -> Result<usize, String> {
    let mut value = [0; 8];
    value[..width].copy_from_slice(slice(bytes, at, width)?);
    usize::try_from(u64::from_le_bytes(value)).ok().filter(|&value| value < 1 << 62).ok_or_else(|| TRUNCATED.to_owned())
}
