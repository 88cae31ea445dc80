//! The command line: what was typed becomes what is meant, once, here.

use clap::{Parser, Subcommand};

pub mod audit;
pub mod compare;
pub mod data;
pub mod embed;
pub mod evaluate;
mod interrupt;
mod progress;
pub mod report;
mod table;
pub mod train;

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
