//! TensorBoard's events of a run, read by a reader of the test's own.

use std::path::Path;

use serde_json::Value;

use crate::tiny;

/// A number that TensorBoard shows: its step, its tag and the value.
pub type Scalar = (u64, String, f32);

fn masked_crc(bytes: &[u8]) -> u32 {
    let table: Vec<u32> =
        (0..256).map(|byte| (0..8).fold(byte, |crc, _| if crc % 2 == 1 { (crc / 2) ^ 0x82f6_3b78 } else { crc / 2 })).collect();
    let crc = !bytes.iter().fold(u32::MAX, |crc, &byte| table[usize::from(crc as u8 ^ byte)] ^ (crc >> 8));
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = take(bytes, 1)[0];
        value |= u64::from(byte % 128) << shift;
        if byte < 128 {
            break;
        }
    }
    value
}

/// The fields of a protobuf message: number and bytes, those of an integer as eight.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let content = match key % 8 {
            0 => varint(&mut bytes).to_le_bytes().to_vec(),
            1 => take(&mut bytes, 8).to_vec(),
            2 => {
                let length = varint(&mut bytes) as usize;
                take(&mut bytes, length).to_vec()
            }
            5 => take(&mut bytes, 4).to_vec(),
            kind => panic!("field {} is of kind {kind}", key / 8),
        };
        found.push((key / 8, content));
    }
    found
}

fn field(message: &[(u64, Vec<u8>)], number: u64) -> Option<&[u8]> {
    message.iter().find(|field| field.0 == number).map(|field| field.1.as_slice())
}

/// Everything that the events of a run folder show, in their order.
pub fn scalars(folder: &Path) -> Vec<Scalar> {
    let named = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("events.out.tfevents.");
    let mut files = std::fs::read_dir(folder).unwrap().map(Result::unwrap).filter(named);
    let bytes = std::fs::read(files.next().unwrap().path()).unwrap();
    assert!(files.next().is_none(), "more than one file of events");

    let mut rest = bytes.as_slice();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let length = take(&mut rest, 8);
        assert_eq!(take(&mut rest, 4), masked_crc(length).to_le_bytes());
        let data = take(&mut rest, u64::from_le_bytes(length.try_into().unwrap()) as usize);
        assert_eq!(take(&mut rest, 4), masked_crc(data).to_le_bytes());
        messages.push(fields(data));
    }
    assert_eq!(field(&messages[0], 3), Some(&b"brain.Event:2"[..]));
    let mut found = Vec::new();
    let mut clock = 0.0;
    for message in &messages[1..] {
        let time = f64::from_le_bytes(field(message, 1).unwrap().try_into().unwrap());
        assert!(time >= clock && time > 1.7e9, "{time} s after {clock} s");
        clock = time;
        let step = u64::from_le_bytes(field(message, 2).unwrap().try_into().unwrap());
        for (_, value) in fields(field(message, 5).unwrap()) {
            let value = fields(&value);
            let tag = String::from_utf8(field(&value, 1).unwrap().to_vec()).unwrap();
            found.push((step, tag, f32::from_le_bytes(field(&value, 2).unwrap().try_into().unwrap())));
        }
    }
    found
}

#[test]
fn events_hold_the_numbers_of_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    tiny::train(folder.path(), &["train.epochs=2", "dada.d_warmup_epochs=0", "train.journal_every=1"]);
    let journal = std::fs::read_to_string(folder.path().join("journal.jsonl")).unwrap();
    let lines: Vec<Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps = 1 + lines.iter().filter_map(|line| line["step"].as_u64()).max().unwrap();

    let mut expected = Vec::new();
    let mut expect = |step: u64, tag: String, value: &Value| expected.extend(value.as_f64().map(|value| (step, tag, value as f32)));
    for line in &lines {
        let epoch = || line["epoch"].as_u64().unwrap();
        if let Some(terms) = line["terms"].as_object() {
            let step = epoch() * steps + line["step"].as_u64().unwrap();
            terms.iter().for_each(|(name, value)| expect(step, format!("terms/{name}"), value));
            for (term, places) in line["terms"]["pulls"].as_object().into_iter().flatten() {
                let places = places.as_object().into_iter().flatten();
                places.for_each(|(place, value)| expect(step, format!("terms/pulls/{term}/{place}"), value));
            }
        } else if let Some(validation) = line["validation"].as_object() {
            let step = (epoch() + 1) * steps;
            validation.iter().for_each(|(name, value)| expect(step, format!("validation/{name}"), value));
            expect(step, "seconds".to_owned(), &line["seconds"]);
        } else if let Some(doctor) = line["doctor"].as_object() {
            let step = line["epochs"].as_u64().unwrap() * steps;
            doctor.iter().for_each(|(name, value)| expect(step, format!("doctor/{name}"), value));
        }
    }
    let metrics: Value = serde_json::from_slice(&std::fs::read(folder.path().join("metrics.json")).unwrap()).unwrap();
    for (name, value) in metrics.as_object().unwrap() {
        expect(2 * steps, format!("metrics/{name}"), value);
        let figures = value.as_object().into_iter().flatten();
        figures.for_each(|(figure, value)| expect(2 * steps, format!("metrics/{name}/{figure}"), value));
    }

    let mut found = scalars(folder.path());
    for (step, tag) in [
        (0, "doctor/mmd"),
        (steps, "terms/pulls/risk/embeddings"),
        (steps + 1, "terms/risk"),
        (2 * steps, "validation/recall@1"),
        (2 * steps, "metrics/test/map@r"),
    ] {
        assert!(found.iter().any(|scalar| scalar.0 == step && scalar.1 == tag), "no {tag} at step {step}");
    }
    let order = |a: &Scalar, b: &Scalar| (a.0, &a.1).cmp(&(b.0, &b.1));
    found.sort_by(order);
    expected.sort_by(order);
    assert_eq!(found, expected);
}
