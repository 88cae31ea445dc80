//! TensorBoard's events: what the journal says, as curves that `tensorboard --logdir` shows while a run is still going.
//!
//! The file is a row of records, each its length, a checksum of the length, its data and a checksum of the data (TensorFlow's
//! `record_writer.cc`); the data are protobuf messages of `event.proto` and `summary.proto`. Both are small enough to write by hand.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{AtPath, Result};

/// TensorBoard takes a file for events by the `tfevents` in its name. One name for all of a run: a resumed one goes on in the same file.
const FILE: &str = "events.out.tfevents.dada";

/// Bytes around the data of a record: their length and two checksums.
const FRAME: usize = 8 + 4 + 4;

/// Field numbers of `Event`.
const VERSION: u8 = 3;
const SUMMARY: u8 = 5;

/// The open events of a run.
pub struct Events {
    path: PathBuf,
    file: File,
    summaries: usize,
}

impl Events {
    /// Opens the events of a run folder and forgets all but the first `most` summaries: what a resumed run is about to repeat, and what
    /// a power cut damaged. Since it repeats them to the byte, but for the clock, a TensorBoard that has read further loses nothing.
    ///
    /// # Errors
    /// When the file cannot be read or written to.
    pub fn open(folder: &Path, most: usize) -> Result<Self> {
        let path = folder.join(FILE);
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&path).at(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).at(&path)?;
        let kept: Vec<usize> = records(&bytes).take(1 + most).map(|data| data.len() + FRAME).collect();
        file.set_len(kept.iter().sum::<usize>() as u64).at(&path)?;
        let mut events = Self { path, file, summaries: kept.len().saturating_sub(1) };
        if kept.is_empty() {
            events.append(&event(now(), 0, VERSION, b"brain.Event:2"))?;
        }
        Ok(events)
    }

    /// Summaries in the file.
    pub fn summaries(&self) -> usize {
        self.summaries
    }

    /// Appends one summary: numbers by tag, measured after `step` updates.
    ///
    /// # Errors
    /// When the disk is full, for example.
    pub fn write(&mut self, step: u64, numbers: &[(String, f64)]) -> Result<()> {
        self.append(&event(now(), step, SUMMARY, &summary(numbers)))?;
        self.summaries += 1;
        Ok(())
    }

    /// One call of the system for each record, so that a killed process leaves whole ones.
    fn append(&mut self, data: &[u8]) -> Result<()> {
        self.file.write_all(&record(data)).at(&self.path)
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// An `Event` with its wall time (field 1, a double), its step (field 2, an integer) and one field of bytes.
fn event(wall_time: f64, step: u64, field: u8, content: &[u8]) -> Vec<u8> {
    [&[1 << 3 | 1][..], &wall_time.to_le_bytes(), &[2 << 3], &varint(step), &delimited(field, content)].concat()
}

/// A `Summary`: values (field 1), each with its tag (field 1) and a `simple_value` (field 2, a float).
fn summary(numbers: &[(String, f64)]) -> Vec<u8> {
    let value = |(tag, number): &(String, f64)| {
        let simple_value = (*number as f32).to_le_bytes();
        delimited(1, &[&delimited(1, tag.as_bytes())[..], &[2 << 3 | 5], &simple_value].concat())
    };
    numbers.iter().flat_map(value).collect()
}

/// A field of protobuf that holds bytes, text or a message.
fn delimited(field: u8, content: &[u8]) -> Vec<u8> {
    [&[field << 3 | 2][..], &varint(content.len() as u64), content].concat()
}

/// Seven bits a byte, the lowest ones first; the high bit says that more follow.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Data in their frame.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &checksum(&length), data, &checksum(data)].concat()
}

/// The data of all whole records before the first damaged one.
fn records(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let (of_length, rest) = rest.split_first_chunk::<4>()?;
        let (data, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let (of_data, rest) = rest.split_first_chunk::<4>()?;
        bytes = rest;
        (checksum(length) == *of_length && checksum(data) == *of_data).then_some(data)
    })
}

/// TensorFlow masks its checksums, because the CRC of data that hold their own CRC says little.
fn checksum(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_what_tensorboard_writes() {
        // RecordWriter of tensorboard 2.21 with Event(wall_time=1700000000.25, step=300, summary=…).
        let golden = "3d000000000000006049f1ec0900001040fc54d94110ac022a2f0a110a0a7465726d732f7269736b15cdcccc3d\
                      0a1a0a1376616c69646174696f6e2f726563616c6c4031150000403f23ce913f";
        let numbers = [("terms/risk".to_owned(), 0.1), ("validation/recall@1".to_owned(), 0.75)];
        let written = record(&event(1_700_000_000.25, 300, SUMMARY, &summary(&numbers)));
        assert_eq!(written.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), golden);
    }

    #[test]
    fn whole_records_before_the_first_damaged_one_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let length = || std::fs::metadata(&path).unwrap().len();
        let mut events = Events::open(folder.path(), 0).unwrap();
        let mut ends = vec![length()];
        for step in 0..4 {
            events.write(step, &[("a".to_owned(), 0.5)]).unwrap();
            ends.push(length());
        }
        let whole = std::fs::read(&path).unwrap();
        for (damage, kept) in [(3, 0), (ends[0] + 3, 0), (ends[1] + 9, 1), (ends[2] + 14, 2), (ends[4] - 1, 3)] {
            let mut turned = whole.clone();
            turned[damage as usize] ^= 1;
            for bytes in [&turned, &whole[..damage as usize]] {
                std::fs::write(&path, bytes).unwrap();
                assert_eq!(Events::open(folder.path(), 9).unwrap().summaries(), kept, "byte {damage}");
                assert_eq!(length(), ends[kept]);
            }
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(Events::open(folder.path(), 2).unwrap().summaries(), 2);
        assert_eq!(std::fs::read(&path).unwrap(), whole[..ends[2] as usize]);
    }
}
