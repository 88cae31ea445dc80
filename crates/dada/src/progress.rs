//! How long work tells how far it is.

/// Told how much of a long computation is done: `(done, total)`, from any thread, in no particular order.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Nobody watches.
pub const SILENT: Progress<'static> = &|_, _| {};
