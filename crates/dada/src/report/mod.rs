//! Pages and pictures that show results.

pub mod comparison;
pub mod evaluation;
pub mod run;
pub mod sheet;
pub mod widgets;
