//! How long work tells how far it is.

use std::fmt;

/// Told how much of a long computation is done: `(done, total)`, from any thread, in no particular order.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Nobody watches.
pub const SILENT: Progress<'static> = &|_, _| {};

/// Told what a task of several stages does, from any thread.
pub type Observer<'a> = &'a (dyn Fn(Message) + Sync);

/// Nobody observes.
pub const UNOBSERVED: Observer<'static> = &|_| {};

/// What a task of several stages tells its observer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// What the user should know.
    Note(String),
    /// A stage begins, and with it a new count.
    Stage(Stage),
    /// So many items of the stage are done, of so many; counts come in no particular order.
    Done(usize, usize),
}

/// A stage that takes long enough to be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Pictures become vectors.
    Embedding,
    /// Every query is searched for among all items.
    Ranking,
    /// The same under the model that another is compared with.
    RankingOther,
    /// Vectors are divided into clusters.
    Clustering,
    /// The search that approximations are compared with.
    ExactSearch,
    /// Search of approximate vectors, or approximate search.
    ApproximateSearch,
}

impl fmt::Display for Stage {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(match self {
            Self::Embedding => "embedding",
            Self::Ranking => "ranking",
            Self::RankingOther => "ranking the other",
            Self::Clustering => "clustering",
            Self::ExactSearch => "exact search",
            Self::ApproximateSearch => "approximate search",
        })
    }
}

/// Begins a stage: what comes back tells the observer how far it is.
pub fn begin(observer: Observer, stage: Stage) -> impl Fn(usize, usize) + Sync {
    observer(Message::Stage(stage));
    move |done, total| observer(Message::Done(done, total))
}
