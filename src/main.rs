//! The `dada` program.

use std::process::ExitCode;

use clap::Parser;

mod cli;

/// `dada … | head` ends this program when `head` has seen enough, as it ends others, instead of a panic in the next line that is printed.
fn end_with_the_reader() {
    #[cfg(unix)]
    // SAFETY: no other thread runs yet, and the default action is no code of ours.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

fn main() -> ExitCode {
    dada::compute::retain_memory();
    end_with_the_reader();
    let result = match cli::Arguments::parse().command {
        cli::Command::Train(arguments) => cli::train::run(&arguments),
        cli::Command::Compare(arguments) => cli::compare::run(&arguments),
        cli::Command::Evaluate(arguments) => cli::evaluate::run(&arguments),
        cli::Command::Audit(arguments) => cli::audit::run(&arguments),
        cli::Command::Report(arguments) => cli::report::run(&arguments),
        cli::Command::Embed(arguments) => cli::embed::run(&arguments),
        cli::Command::Data(arguments) => cli::data::run(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
