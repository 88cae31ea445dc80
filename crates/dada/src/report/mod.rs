//! Pages and pictures that show results.
//!
//! - `run`: the page of a training run
//! - `evaluation`: the page of an evaluation
//! - `comparison`: the page of a comparison of runs
//! - `sheet`: queries and what was found for them, as one picture
//! - `widgets`: what pages are built of; it knows nothing of what it shows

pub mod comparison;
pub mod evaluation;
pub mod run;
pub mod sheet;
pub mod widgets;
