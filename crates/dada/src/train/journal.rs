//! `journal.jsonl`: one line for every recorded step, every visit of the doctor, every evaluated epoch, and the end.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{AtPath, Error, Result};
use crate::evaluate::diagnostics::Diagnosis;
use crate::train::tensorboard::Events;

/// Keys that say where a line belongs.
const PLACE: [&str; 4] = ["epochs", "epoch", "step", "steps"];

/// An open journal, and the events that show it in TensorBoard: one summary for each line.
pub struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    steps: u64,
    events: Events,
}

impl Journal {
    /// Opens the journal of a run folder and forgets what was written after its first `length` bytes: the steps that a resumed run
    /// is about to repeat. `steps` is the number of steps in an epoch.
    ///
    /// # Errors
    /// When a file cannot be written to, or the journal is shorter than `length` or not one.
    pub fn open(folder: &Path, length: u64, steps: usize) -> Result<Self> {
        let path = folder.join("journal.jsonl");
        let file = OpenOptions::new().create(true).append(true).open(&path).at(&path)?;
        let found = file.metadata().at(&path)?.len();
        if found < length {
            return Err(Error::mismatch(path.display().to_string(), format!("{found} bytes"), format!("at least {length}")));
        }
        file.set_len(length).at(&path)?;
        let lines = read(&path)?;
        let events = Events::open(folder, lines.len())?;
        let mut journal = Self { path, file, length, steps: steps as u64, events };
        // A run that an earlier version began has no events yet.
        for line in lines.iter().skip(journal.events.summaries()) {
            journal.show(line)?;
        }
        Ok(journal)
    }

    /// Bytes written so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends one line.
    ///
    /// # Errors
    /// When the disk is full, for example.
    pub fn write(&mut self, line: &Value) -> Result<()> {
        let bytes = format!("{line}\n").into_bytes();
        self.file.write_all(&bytes).at(&self.path)?;
        self.length += bytes.len() as u64;
        self.show(line)
    }

    fn show(&mut self, line: &Value) -> Result<()> {
        self.events.write(updates(line, self.steps).unwrap_or(0), &numbers(line))
    }
}

/// The whole lines of a journal.
///
/// # Errors
/// When the file cannot be read, or a line of it is not JSON.
pub fn read(path: &Path) -> Result<Vec<Value>> {
    let parse = |(number, line)| serde_json::from_str(line).map_err(|error| Error::format(path, format!("line {}: {error}", number + 1)));
    let text = fs::read_to_string(path).at(path)?;
    // What comes after the last line's end is a line that is still being written, or that a power cut has cut.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().enumerate().map(parse).collect()
}

/// What the doctor found first in the run of that folder.
///
/// # Errors
/// When the journal cannot be read, or holds no such finding.
pub fn first_finding(folder: &Path) -> Result<Option<Diagnosis>> {
    let path = folder.join("journal.jsonl");
    let found = read(&path)?.into_iter().find_map(|mut line| line.get_mut("doctor").map(Value::take));
    found.map(serde_json::from_value).transpose().map_err(|error| Error::format(&path, format!("doctor: {error}")))
}

/// Steps of an epoch: what the lines say, or, in journals of earlier versions, which do not, one more than the last that was recorded.
pub fn steps(lines: &[Value]) -> u64 {
    let most = |key: &str| lines.iter().filter_map(|line| line.get(key)?.as_u64()).max();
    most("steps").or_else(|| most("step")?.checked_add(1)).unwrap_or(1).max(1)
}

/// How many updates the network had that a line tells of, with so many steps in an epoch; none if the line does not say.
pub fn updates(line: &Value, steps: u64) -> Option<u64> {
    let [epochs, epoch, step, _] = PLACE.map(|key| line.get(key).and_then(Value::as_u64));
    match (epochs, epoch, step) {
        (Some(epochs), ..) => epochs.checked_mul(steps),
        (_, epoch, Some(step)) => epoch?.checked_mul(steps)?.checked_add(step),
        (_, epoch, None) => epoch?.checked_add(1)?.checked_mul(steps),
    }
}

/// Every number of a line by its path, as in `terms/pulls/risk/proxies`, but for those that say where the line belongs.
pub fn numbers(line: &Value) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    let parts = line.as_object().into_iter().flatten().filter(|(name, _)| !PLACE.contains(&name.as_str()));
    parts.for_each(|(name, value)| collect(value, name.clone(), &mut found));
    found
}

fn collect(value: &Value, name: String, found: &mut Vec<(String, f64)>) {
    match value {
        Value::Number(number) => found.extend(number.as_f64().map(|number| (name, number))),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| collect(value, format!("{name}/{key}"), found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_numbers_at_a_step() {
        let line = json!({ "epoch": 2, "step": 3, "terms": { "risk": 0.5, "domain": null, "pulls": { "risk": { "proxies": 0 } } } });
        assert_eq!(updates(&line, 10), Some(23));
        assert_eq!(numbers(&line), [("terms/pulls/risk/proxies".to_owned(), 0.0), ("terms/risk".to_owned(), 0.5)]);
        let line = json!({ "epoch": 2, "validation": { "recall@1": 0.25 }, "best": true, "seconds": 1.5 });
        assert_eq!(updates(&line, 10), Some(30));
        assert_eq!(numbers(&line), [("seconds".to_owned(), 1.5), ("validation/recall@1".to_owned(), 0.25)]);
        assert_eq!(updates(&json!({ "epochs": 2, "doctor": {} }), 10), Some(20));
        assert_eq!(updates(&json!({ "step": 2 }), 10), None);
        assert_eq!(updates(&json!({ "epochs": u64::MAX }), 10), None);
    }

    #[test]
    fn an_epoch_is_as_long_as_its_lines_say() {
        let sparse = [json!({ "epoch": 0, "step": 0, "steps": 19 }), json!({ "epoch": 0, "step": 10, "steps": 19 })];
        assert_eq!(steps(&sparse), 19);
        assert_eq!(steps(&[json!({ "epoch": 0, "step": 10 })]), 11);
        assert_eq!(steps(&[json!({ "epochs": 0, "doctor": {} })]), 1);
        assert_eq!(numbers(&sparse[0]), []);
    }

    #[test]
    fn a_line_that_is_cut_is_not_read_yet() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, lines) in [("", 0), ("{\"epo", 0), ("{\"epoch\":0}\n{\"epo", 1), ("{\"epoch\":0}\n", 1)] {
            fs::write(file.path(), text).unwrap();
            assert_eq!(read(file.path()).unwrap().len(), lines, "{text:?}");
        }
        fs::write(file.path(), "{\"epo\n").unwrap();
        assert!(read(file.path()).unwrap_err().to_string().contains("line 1"));
    }

    /// A killed run has written past its checkpoint; what it repeats is there once.
    #[test]
    fn a_resumed_journal_goes_on_where_its_checkpoint_was() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["journal.jsonl", "events.out.tfevents.dada"].map(|name| folder.path().join(name));
        let contents = || files.each_ref().map(|path| fs::read(path).unwrap());
        let lines: Vec<Value> = (0..6).map(|step| json!({ "epoch": 0, "step": step, "terms": { "risk": step } })).collect();
        let write = |length, lines: &[Value]| {
            let mut journal = Journal::open(folder.path(), length, 9).unwrap();
            lines.iter().for_each(|line| journal.write(line).unwrap());
            journal.length()
        };
        let checkpoint = write(0, &lines[..3]);
        let before = contents();
        write(checkpoint, &lines[3..5]);
        write(checkpoint, &[]);
        assert_eq!(contents(), before);

        // Without events, as an earlier version left the folder, they are made from the journal.
        write(checkpoint, &lines[3..]);
        let whole = contents();
        fs::remove_file(&files[1]).unwrap();
        write(checkpoint, &lines[3..]);
        let [journal, events] = contents();
        assert_eq!(journal, whole[0]);
        assert_eq!(events.len(), whole[1].len());
    }
}
