//! Work of several stages: a bar for each, on a terminal only.

use std::sync::{Mutex, PoisonError};

use dada::progress::Message;
use indicatif::{ProgressBar, ProgressStyle};

/// The bar of the stage that is going on. Dropped, it is gone.
#[derive(Default)]
pub struct StageBar(Mutex<Option<ProgressBar>>);

impl StageBar {
    /// Shows what an observer is told.
    pub fn show(&self, message: Message) {
        let mut bar = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match message {
            Message::Note(note) => match &*bar {
                Some(bar) => bar.suspend(|| eprintln!("{note}")),
                None => eprintln!("{note}"),
            },
            Message::Stage(stage) => {
                finish(bar.take());
                let style = ProgressStyle::with_template("{msg} {bar:30} {percent} %  {eta} left").expect("the template is valid");
                // The library draws on a terminal and nowhere else.
                *bar = Some(ProgressBar::new(0).with_style(style).with_message(stage.to_string()));
            }
            Message::Done(done, total) if done >= total => finish(bar.take()),
            Message::Done(done, total) => {
                if let Some(bar) = &*bar {
                    bar.set_length(total as u64);
                    // Threads report in no order.
                    bar.set_position(bar.position().max(done as u64));
                }
            }
        }
    }
}

fn finish(bar: Option<ProgressBar>) {
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

impl Drop for StageBar {
    fn drop(&mut self) {
        finish(self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take());
    }
}
