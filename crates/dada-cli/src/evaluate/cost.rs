//! `dada evaluate --approximate`: what cheaper storage and search lose.

use anyhow::Result;
use dada::evaluate::Task;
use dada::evaluate::approximate::{Approximation, Cost, approximate, exact, usual};
use serde_json::{Map, Value, json};

use crate::progress::Bar;

/// Measures and prints; without a name, every usual approximation.
pub fn run(task: &Task, named: &[Approximation], ks: &[usize], seed: u64, json: bool) -> Result<()> {
    let bar = Bar::new("exact search");
    let full = exact(task, ks, &bar.observer())?;
    drop(bar);
    let chosen = if named.is_empty() { usual(task.embeddings().dim()) } else { named.to_vec() };
    let mut rows = vec![("exact".to_owned(), full)];
    for how in chosen {
        let bar = Bar::new("approximate search");
        let cost = approximate(task, how, ks, seed, &bar.observer())?;
        rows.push((how.to_string(), cost));
    }
    if json {
        let object: Map<String, Value> = rows.iter().map(|(name, cost)| (name.clone(), described(cost, &rows[0].1))).collect();
        println!("{}", serde_json::to_string_pretty(&object)?);
        return Ok(());
    }
    println!("{:8}  recall@1      lost     map@r      lost     bytes   build s  search s", "");
    for (name, cost) in &rows {
        let ([recall, map], [recall_lost, map_lost]) = (of(cost), lost(cost, &rows[0].1));
        let seconds = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.2}"));
        println!(
            "{name:8}  {recall:8.4}  {recall_lost:8.4}  {map:8.4}  {map_lost:8.4}  {:8}  {:>8}  {:>8}",
            cost.bytes,
            seconds(cost.build),
            seconds(cost.search)
        );
    }
    println!(
        "bytes: of a stored vector, its share of the index included. Seconds: wall clock, all queries; \"-\" where exact code stands in."
    );
    Ok(())
}

/// recall@1 and map@r.
fn of(cost: &Cost) -> [f64; 2] {
    [cost.retrieval.means.precision_at_1, cost.retrieval.means.map_at_r]
}

fn lost(cost: &Cost, full: &Cost) -> [f64; 2] {
    let (now, before) = (of(cost), of(full));
    // Rounding up from zero leaves no sign behind.
    [0, 1].map(|at| before[at] - now[at] + 0.0)
}

fn described(cost: &Cost, full: &Cost) -> Value {
    let [recall, map] = lost(cost, full);
    json!({
        "bytes": cost.bytes,
        "build_seconds": cost.build,
        "search_seconds": cost.search,
        "figures": cost.retrieval,
        "lost": { "recall@1": recall, "map@r": map },
    })
}
