//! The `dada` program.

use std::process::ExitCode;

use clap::Parser;

mod arguments;
mod audit;
mod compare;
mod configuration;
mod data;
mod embed;
mod evaluate;
mod interrupt;
mod progress;
mod report;
mod table;
mod train;

use arguments::{Arguments, Command};

/// `dada … | head` ends this program when `head` has seen enough, as it ends others, instead of a panic in the next line that is printed.
fn end_with_the_reader() {
    #[cfg(unix)]
    // SAFETY: no other thread runs yet, and the default action is no code of ours.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

fn main() -> ExitCode {
    dada_compute::retain_memory();
    end_with_the_reader();
    let result = match Arguments::parse().command {
        Command::Train(arguments) => train::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Embed(arguments) => embed::run(&arguments),
        Command::Data(arguments) => data::run(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
