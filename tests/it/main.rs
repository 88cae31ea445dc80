//! The library from outside.

mod dada_golden;
mod evaluate_golden;
mod evaluate_oracle;
mod golden;
mod loss_golden;
