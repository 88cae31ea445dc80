//! What cheaper storage and search lose.

use crate::error::Result;
use crate::evaluate::Task;
use crate::evaluate::approximate::{Approximation, Cost, approximate, exact, usual};
use crate::progress::{Observer, Stage, begin};

/// Costs of exact search and of approximations of it.
pub struct Approximations {
    /// Exact search.
    pub exact: Cost,
    /// Each approximation, in the order in which they were named.
    pub approximate: Vec<(Approximation, Cost)>,
}

/// What an approximation loses: the exact figure minus its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lost {
    /// Of recall@1.
    pub recall_at_1: f64,
    /// Of map@r.
    pub map_at_r: f64,
}

/// Measures approximations; where none is named, every usual one.
///
/// # Errors
/// As [`exact`] and [`approximate`].
pub fn measure_approximations(task: &Task, named: &[Approximation], ks: &[usize], seed: u64, observer: Observer) -> Result<Approximations> {
    let exact = exact(task, ks, &begin(observer, Stage::ExactSearch))?;
    let chosen = if named.is_empty() { usual(task.embeddings().dim()) } else { named.to_vec() };
    let mut found = Vec::new();
    for how in chosen {
        found.push((how, approximate(task, how, ks, seed, &begin(observer, Stage::ApproximateSearch))?));
    }
    Ok(Approximations { exact, approximate: found })
}

impl Approximations {
    /// What is lost with this cost.
    pub fn lost(&self, cost: &Cost) -> Lost {
        let (full, left) = (&self.exact.retrieval.means, &cost.retrieval.means);
        // Rounding up from zero leaves no sign behind.
        Lost { recall_at_1: full.precision_at_1 - left.precision_at_1 + 0.0, map_at_r: full.map_at_r - left.map_at_r + 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embeddings::Embeddings;
    use crate::progress::UNOBSERVED;

    #[test]
    fn losses_are_from_exact_search() {
        let values = (0..20 * 4).map(|at| (at as f32 * 0.9).sin()).collect();
        let task = Task::new(Embeddings::new(values, 20, 4).unwrap(), (0..20).map(|row| row % 2).collect(), None).unwrap();
        let named = ["int8", "pca-1"].map(|name| name.parse::<Approximation>().unwrap());
        let found = measure_approximations(&task, &named, &[1], 0, UNOBSERVED).unwrap();
        assert_eq!(found.approximate.iter().map(|(how, _)| *how).collect::<Vec<_>>(), named);
        let cost = &found.approximate[1].1;
        let lost = found.lost(cost);
        assert_eq!(lost.map_at_r, found.exact.retrieval.means.map_at_r - cost.retrieval.means.map_at_r);
        assert!(lost.map_at_r != 0.0, "one direction of four loses something");
        assert_eq!(found.lost(&found.exact), Lost { recall_at_1: 0.0, map_at_r: 0.0 });
        assert!(measure_approximations(&task, &[], &[1], 0, UNOBSERVED).unwrap().approximate.len() > 4);
    }
}
