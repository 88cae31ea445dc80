//! The command line: what was typed becomes what is meant, once, here.

use clap::{Parser, Subcommand};

use crate::{audit, compare, data, embed, evaluate, report, train};

/// Train image-embedding models with proxy losses and data-augmented domain adaptation (DADA).
#[derive(Parser)]
#[command(version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Subcommand)]
pub enum Command {
    /// Train a model; without a configuration, on the embedded emoji
    Train(train::Arguments),
    /// Train the same configuration with values varied, on several seeds, and compare
    Compare(compare::Arguments),
    /// Measure a model on labelled pictures, or anybody's embeddings
    Evaluate(evaluate::Arguments),
    /// Look for what would spoil a result: splits that share items, collapsed directions, hubs, labels nobody can satisfy
    Audit(audit::Arguments),
    /// Write the page of a run: its curves, maps, neighbours and cost
    Report(report::Arguments),
    /// Turn pictures into vectors
    Embed(embed::Arguments),
    /// Check and fetch data sets
    Data(data::Arguments),
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_command_in_the_documentation_is_one() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let pages = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
        let pages = pages.chain([root.join("README.md"), root.join("docs/results/README.md")]);
        let mut tried = 0;
        for page in pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
            let text = fs::read_to_string(&page).unwrap();
            let spans = text.split('`').skip(1).step_by(2).filter(|span| !span.contains('\n'));
            let commands = text.lines().chain(spans).filter(|line| line.starts_with("dada ") && !line.contains('…'));
            for command in commands {
                let words = shlex::split(command).unwrap_or_else(|| panic!("{}: {command}", page.display()));
                if words.len() <= 2 {
                    // The name of a command alone.
                    continue;
                }
                let parsed = Arguments::try_parse_from(words);
                assert!(parsed.is_ok(), "{}: {command}: {}", page.display(), parsed.err().unwrap());
                tried += 1;
            }
        }
        assert!(tried > 30, "{tried} commands were found");
    }
}
