//! Comparisons: one configuration with some of its values varied, on the same seeds and folds, and how far the results differ.
//!
//! [`grid`] says which runs there are, [`run`] makes them, each in a process of its own, and [`table`] pairs them by seed.

pub mod grid;
pub mod preset;
pub mod run;
pub mod table;
