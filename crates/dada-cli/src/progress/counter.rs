//! Work that counts: a bar on a terminal, a plain line now and then elsewhere.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between plain lines.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// A count that is shown. Dropped, its bar is gone.
pub struct Counter {
    bar: ProgressBar,
    printed: Instant,
}

impl Counter {
    /// A bar of this form, which has to be a valid one of `indicatif`.
    pub fn new(template: &str) -> Self {
        let style = ProgressStyle::with_template(template).expect("the template is valid");
        let target = if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bar: ProgressBar::with_draw_target(None, target).with_style(style), printed: Instant::now() }
    }

    /// So much is done, of so much where that is known; without a terminal, `line` is printed when it is time for one.
    pub fn show(&mut self, done: u64, total: Option<u64>, line: impl Fn(&ProgressBar) -> String) {
        if let Some(total) = total {
            self.bar.set_length(total);
        }
        // Threads report in no order.
        self.bar.set_position(done.max(self.bar.position()));
        if self.bar.is_hidden() && self.printed.elapsed() >= INTERVAL {
            self.printed = Instant::now();
            eprintln!("{}", line(&self.bar));
        }
    }

    /// What the bar says beside its count.
    pub fn set_message(&self, message: &str) {
        self.bar.set_message(message.to_owned());
    }

    /// Prints a line above the bar.
    pub fn note(&self, text: &str) {
        if self.bar.is_hidden() {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
