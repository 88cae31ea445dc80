//! What `dada evaluate` found, as tables or JSON.

use anyhow::Result;
use dada::evaluate::Retrieval;
use dada::evaluate::approximate::Cost;
use dada::evaluate::definitions::Scored;
use dada::evaluate::intervals::Paired;
use dada::measure::approximations::{Approximations, Lost};
use dada::measure::ensemble::Ensemble;
use dada::measure::evaluation::{Against, Evaluation};
use serde_json::{Map, Value, json};

use crate::table;

/// Figures of one model, with what else was asked for.
pub fn evaluation(found: &Evaluation, as_json: bool) -> Result<()> {
    if as_json {
        return print_json(&evaluation_json(found));
    }
    let names = names_of(&found.retrieval);
    let mut rows = vec![("", found.figures.clone())];
    if let Some(intervals) = &found.intervals {
        rows.push(("95 % from", named(&names, intervals.iter().map(|interval| interval.0))));
        rows.push(("to", named(&names, intervals.iter().map(|interval| interval.1))));
    }
    println!("{}", table::columns(&rows));
    if let Some(against) = &found.against {
        show_against(&found.retrieval, against);
    }
    show_without_match(&found.retrieval);
    Ok(())
}

fn show_against(retrieval: &Retrieval, Against { retrieval: other, differences }: &Against) {
    let names = names_of(retrieval);
    let rows = [
        ("this", retrieval.means.entries()),
        ("other", other.means.entries()),
        ("this - other", named(&names, differences.iter().map(|paired| paired.difference))),
        ("95 % from", named(&names, differences.iter().map(|paired| paired.interval.0))),
        ("to", named(&names, differences.iter().map(|paired| paired.interval.1))),
    ];
    println!("\n{}", table::columns(&rows));
    let clear: Vec<&str> = names.iter().zip(differences).filter(|(_, paired)| paired.is_clear()).map(|(name, _)| name.as_str()).collect();
    if clear.is_empty() {
        println!("no difference is larger than other queries would make it");
    } else {
        println!("larger than other queries would make it: {}", clear.join(", "));
    }
}

fn evaluation_json(found: &Evaluation) -> Value {
    let names = names_of(&found.retrieval);
    let mut object = object(&found.figures);
    object.extend(counts(&found.retrieval));
    if let Some(intervals) = &found.intervals {
        let intervals: Map<_, _> = names.iter().cloned().zip(intervals.iter().map(|interval| json!(interval))).collect();
        object.insert("intervals".into(), intervals.into());
    }
    if let Some(Against { retrieval, differences }) = &found.against {
        let differences: Map<_, _> = names.iter().cloned().zip(differences.iter().map(|paired: &Paired| json!(paired))).collect();
        object.insert("against".into(), json!({ "figures": retrieval, "differences": differences }));
    }
    object.into()
}

/// Figures of several models, each alone and all together.
pub fn ensemble(found: &Ensemble, as_json: bool) -> Result<()> {
    if as_json {
        let members = found.members.iter();
        let models: Vec<Value> = members
            .map(|member| json!({ "model": member.path.display().to_string(), "dim": member.dim, "figures": object(&member.figures) }))
            .collect();
        let mut about = Map::from_iter([
            ("models".to_owned(), models.into()),
            ("mean".to_owned(), object(&found.mean).into()),
            ("deviation".to_owned(), object(&found.deviation).into()),
            ("concatenated".to_owned(), json!({ "dim": found.dim, "figures": object(&found.concatenated) })),
        ]);
        about.extend(counts(&found.retrieval));
        return print_json(&about.into());
    }
    let names: Vec<String> = found.members.iter().map(|member| member.path.display().to_string()).collect();
    let mut rows: Vec<(&str, Vec<(String, f64)>)> = Vec::new();
    for (name, member) in names.iter().zip(&found.members) {
        rows.push((name, member.figures.clone()));
    }
    rows.push(("mean", found.mean.clone()));
    rows.push(("deviation", found.deviation.clone()));
    rows.push(("concatenated", found.concatenated.clone()));
    println!("{}\n", table::columns(&rows));
    println!(
        "mean and deviation: of the {} models, each measured alone. concatenated: their embeddings side by side, {} numbers for each item.",
        found.members.len(),
        found.dim
    );
    show_without_match(&found.retrieval);
    Ok(())
}

/// The same ranking under several definitions.
pub fn definitions(scored: &[Scored], as_json: bool) -> Result<()> {
    if as_json {
        let all = scored.iter().map(|scored| (scored.definitions.name().to_owned(), object(&scored.means).into()));
        return print_json(&Value::Object(all.collect()));
    }
    let rows: Vec<(&str, Vec<(String, f64)>)> = scored.iter().map(|scored| (scored.definitions.name(), scored.means.clone())).collect();
    println!("{}\n", table::columns(&rows));
    for Scored { definitions, .. } in scored {
        println!("{}: {}", definitions.name(), definitions.explanation());
    }
    Ok(())
}

/// What cheaper storage and search lose.
pub fn approximations(found: &Approximations, as_json: bool) -> Result<()> {
    let mut rows = vec![("exact".to_owned(), &found.exact)];
    rows.extend(found.approximate.iter().map(|(how, cost)| (how.to_string(), cost)));
    if as_json {
        let described = rows.into_iter().map(|(name, cost)| (name, cost_json(cost, found.lost(cost))));
        return print_json(&Value::Object(described.collect()));
    }
    println!("{:8}  recall@1      lost     map@r      lost     bytes   build s  search s", "");
    for (name, cost) in rows {
        let (means, lost) = (&cost.retrieval.means, found.lost(cost));
        println!(
            "{name:8}  {:8.4}  {:8.4}  {:8.4}  {:8.4}  {:8}  {:>8}  {:>8}",
            means.precision_at_1,
            lost.recall_at_1,
            means.map_at_r,
            lost.map_at_r,
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

fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.2}"))
}

fn cost_json(cost: &Cost, lost: Lost) -> Value {
    json!({
        "bytes": cost.bytes,
        "build_seconds": cost.build,
        "search_seconds": cost.search,
        "figures": cost.retrieval,
        "lost": { "recall@1": lost.recall_at_1, "map@r": lost.map_at_r },
    })
}

fn names_of(retrieval: &Retrieval) -> Vec<String> {
    retrieval.means.entries().into_iter().map(|(name, _)| name).collect()
}

fn named(names: &[String], values: impl Iterator<Item = f64>) -> Vec<(String, f64)> {
    names.iter().cloned().zip(values).collect()
}

fn object(figures: &[(String, f64)]) -> Map<String, Value> {
    figures.iter().map(|(name, value)| (name.clone(), (*value).into())).collect()
}

fn counts(retrieval: &Retrieval) -> [(String, Value); 3] {
    [
        ("queries".to_owned(), retrieval.queries.len().into()),
        ("scored_queries".to_owned(), retrieval.scored().into()),
        ("queries_without_match".to_owned(), retrieval.without_match().into()),
    ]
}

fn show_without_match(retrieval: &Retrieval) {
    if retrieval.without_match() > 0 {
        println!("{} of {} queries have nothing to find and enter no mean", retrieval.without_match(), retrieval.queries.len());
    }
}

fn print_json(value: &Value) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
