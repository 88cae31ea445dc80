//! What the sections of a configuration ask of single values.

use crate::error::{Error, Result};

/// # Errors
/// [`Error::Config`] that names the key of a number below zero, a NaN or an infinity.
pub fn not_negative(key: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(Error::Config(format!("{key} is {value}, expected a number that is not negative")))
    }
}

/// # Errors
/// [`Error::Config`] that names the key of a count of none.
pub fn at_least_one(key: &str, value: usize) -> Result<()> {
    if value > 0 { Ok(()) } else { Err(Error::Config(format!("{key} is 0, expected at least 1"))) }
}
