//! The library from outside.
#![allow(clippy::unwrap_used)]

mod evaluate_golden;
mod evaluate_oracle;
