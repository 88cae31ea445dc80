//! The library from outside.

mod evaluate_golden;
mod evaluate_oracle;
