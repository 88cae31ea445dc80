//! The library from outside.
#![allow(clippy::unwrap_used)]

mod adversarial;
mod architecture;
mod audit_cli;
mod dada_golden;
mod data_cli;
mod embed_cli;
mod evaluate_cli;
mod evaluate_golden;
mod evaluate_oracle;
mod golden;
mod loss_golden;
mod runs;
mod tiny;
