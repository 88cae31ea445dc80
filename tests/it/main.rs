//! The library from outside.
#![allow(clippy::unwrap_used)]

mod adversarial;
mod architecture;
mod audit_cli;
mod compare_cli;
mod configuration;
mod dada_golden;
mod dada_options;
mod data_cli;
mod embed_cli;
mod evaluate_cli;
mod evaluate_golden;
mod evaluate_oracle;
mod evaluate_several;
mod golden;
mod loss_golden;
mod losses;
mod roles;
mod runs;
mod tensorboard;
mod tiny;
