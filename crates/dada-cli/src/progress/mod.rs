//! What is shown during long work: bars on a terminal; plain lines elsewhere, where the work takes long.

mod counter;
mod stages;
mod training;

pub use counter::Counter;
pub use stages::StageBar;
pub use training::TrainingProgress;
