//! Diagnostics of training: how far samples and proxies are apart, and what goes wrong between them.
//!
//! - `diagnose`: all figures of one moment of training, and warnings
//! - `gap`: distances between two sets of points
//! - `points`: a set of points

pub mod diagnose;
pub mod gap;
pub mod points;

pub use diagnose::{Diagnosis, MAX_SAMPLES, Snapshot, diagnose, evenly_spaced, warnings};
pub use points::PointSet;
