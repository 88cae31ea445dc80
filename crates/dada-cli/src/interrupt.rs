//! Ctrl-C: the first one asks for an end that loses nothing, the second ends the program at once.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// The exit code of a program that was interrupted.
pub const INTERRUPTED: u8 = 130;

/// Listens from now on; what is returned is raised by the first Ctrl-C.
pub fn listen() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    let handle = move || {
        if raised.swap(true, Ordering::Relaxed) {
            process::exit(INTERRUPTED.into());
        }
        eprintln!("stopping with a checkpoint after the next step; Ctrl-C again stops at once");
    };
    ctrlc::set_handler(handle).context("cannot listen for Ctrl-C")?;
    Ok(stop)
}
