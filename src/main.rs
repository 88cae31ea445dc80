//! The `dada` program.
fn main() {}
