//! Follows a run: a bar on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, stderr};
use std::time::Instant;

use dada::train::step::Record;
use dada::train::{At, Event};
use indicatif::{ProgressBar, ProgressStyle};

use super::counter::INTERVAL;

/// What is shown of a run.
pub struct TrainingProgress {
    bar: Option<ProgressBar>,
    started: Instant,
    printed: Instant,
    steps_done: u64,
    pictures: u64,
}

impl TrainingProgress {
    /// Nothing is shown before the first event.
    pub fn new() -> Self {
        let now = Instant::now();
        Self { bar: None, started: now, printed: now, steps_done: 0, pictures: 0 }
    }

    /// Shows an event.
    pub fn show(&mut self, event: Event) {
        match event {
            Event::Note(note) => self.line(&note),
            Event::Cached { done, of } => self.kept(done, of),
            Event::Step { at, steps, epochs, pictures, record } => self.step(at, steps, epochs, pictures, record),
            Event::Evaluated { epoch, validation, best } => {
                let means = &validation.means;
                let recall = means.recall.first().map_or(0.0, |(_, value)| *value);
                let mark = if best { "  best so far" } else { "" };
                self.line(&format!("epoch {:>3}  validation recall@1 {recall:.4}  map@r {:.4}{mark}", epoch + 1, means.map_at_r));
            }
        }
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn kept(&mut self, done: usize, of: usize) {
        if stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| bar(of as u64, 0));
            bar.set_position(done as u64);
        } else if self.printed.elapsed() >= INTERVAL {
            self.printed = Instant::now();
            eprintln!("features {done}/{of}");
        }
        if done == of {
            self.finish();
        }
    }

    fn step(&mut self, at: At, steps: usize, epochs: usize, pictures: usize, record: &Record) {
        if self.steps_done == 0 {
            self.started = Instant::now();
        } else {
            self.pictures += pictures as u64;
        }
        self.steps_done += 1;
        let (done, total) = ((at.epoch * steps + at.step + 1) as u64, (epochs * steps) as u64);
        let rate = self.pictures as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        let message = format!("epoch {}/{epochs}  {rate:.0} pictures/s  {}", at.epoch + 1, terms(record));
        if stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| bar(total, done));
            bar.set_position(done);
            bar.set_message(message);
        } else if self.printed.elapsed() >= INTERVAL {
            self.printed = Instant::now();
            let left = self.started.elapsed().as_secs_f64() / self.steps_done as f64 * (total - done) as f64;
            eprintln!("step {done}/{total}  {message}  about {left:.0} s left");
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }
}

fn bar(total: u64, done: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  {eta} left").expect("the template is valid");
    ProgressBar::new(total).with_style(style).with_position(done)
}

fn terms(record: &Record) -> String {
    let terms = [
        ("loss", record.proxy_loss),
        ("domain", record.domain),
        ("risk", record.risk),
        ("discrepancy", record.discrepancy),
        ("cosine", record.proxy_cosine),
    ];
    let present = terms.into_iter().filter_map(|(name, value)| value.map(|value| format!("{name} {value:.3}")));
    present.collect::<Vec<_>>().join("  ")
}
