//! The `dada` program.

use std::process::ExitCode;

use clap::Parser;

mod cli;

fn main() -> ExitCode {
    dada::compute::retain_memory();
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
