//! Comparisons: one configuration with some of its values varied, on the same seeds and folds, and how far the results differ.
//!
//! [`grid`] says which runs there are, [`preset`] knows common ones, [`run`] makes each in a process of its own, and [`table`] pairs them by
//! seed. The whole is [`Comparison`](crate::measure::comparison::Comparison).

pub mod grid;
pub mod preset;
pub mod run;
pub mod table;

pub use preset::Preset;
pub use run::Launcher;
