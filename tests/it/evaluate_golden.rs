//! Retrieval and clustering metrics against numbers of pytorch-metric-learning 2.9.0 and scikit-learn.
//!
//! `DADA_GOLDEN_DIR` names another folder with files of the same form.

use dada::embeddings::Embeddings;
use dada::evaluate::clustering::agreement;
use dada::evaluate::definitions::compare_self;
use dada::evaluate::{Definitions, Retrieval, query_gallery, self_retrieval};
use dada::progress::SILENT;
use serde_json::Value;

const TOLERANCE: f64 = 1e-6;

fn golden() -> Value {
    crate::golden::read("metrics_golden.json")
}

fn integers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|value| value.as_u64().unwrap() as usize).collect()
}

fn embeddings(golden: &Value) -> Embeddings {
    let rows: Vec<Vec<f32>> = serde_json::from_value(golden["embeddings"].clone()).unwrap();
    Embeddings::new(rows.concat(), rows.len(), rows[0].len()).unwrap()
}

fn close(name: &str, found: f64, wanted: &Value) {
    let wanted = wanted.as_f64().unwrap_or_else(|| panic!("{name} is not in the file"));
    assert!((found - wanted).abs() <= TOLERANCE, "{name}: found {found}, expected {wanted}");
}

fn ks(wanted: &Value) -> Vec<usize> {
    wanted["recall_at"].as_object().unwrap().keys().map(|k| k.parse().unwrap()).collect()
}

fn check(found: &Retrieval, wanted: &Value) {
    for (k, value) in &found.means.recall {
        close(&format!("recall@{k}"), *value, &wanted["recall_at"][k.to_string()]);
    }
    let scores = [
        ("precision_at_1", found.means.precision_at_1),
        ("r_precision", found.means.r_precision),
        ("map_at_r", found.means.map_at_r),
        ("mrr", found.means.mrr),
    ];
    for (name, value) in scores.into_iter().filter(|(name, _)| wanted.get(name).is_some()) {
        close(name, value, &wanted[name]);
    }
    if let Some(scored) = wanted.get("n_scored") {
        assert_eq!(found.scored() as u64, scored.as_u64().unwrap());
    }
}

#[test]
fn golden_self_retrieval() {
    let golden = golden();
    let wanted = &golden["self_retrieval"];
    check(&self_retrieval(&embeddings(&golden), &integers(&golden["labels"]), &ks(wanted), SILENT).unwrap(), wanted);
}

#[test]
fn golden_query_gallery() {
    let golden = golden();
    let wanted = &golden["query_gallery"];
    let (embeddings, labels) = (embeddings(&golden), integers(&golden["labels"]));
    let pick = |name: &str| {
        let index = integers(&wanted[name]);
        (embeddings.select(&index).unwrap(), index.iter().map(|&row| labels[row]).collect::<Vec<_>>())
    };
    let (queries, gallery) = (pick("query_index"), pick("gallery_index"));
    check(&query_gallery((&queries.0, &queries.1), (&gallery.0, &gallery.1), &ks(wanted), SILENT).unwrap(), wanted);
}

#[test]
fn golden_map_at_r_of_the_reference() {
    let golden = golden();
    let compared = compare_self(&embeddings(&golden), &integers(&golden["labels"]), &[1], SILENT).unwrap();
    for (definitions, name, wanted) in [
        (Definitions::Reference, "map@r", "map_at_r_reference_variant"),
        (Definitions::Ours, "map@r", "map_at_r"),
        (Definitions::Pml, "r_precision", "r_precision"),
        (Definitions::Pml, "mrr", "mrr"),
    ] {
        let scored = compared.iter().find(|scored| scored.definitions == definitions).unwrap();
        let (_, found) = scored.means.iter().find(|(found, _)| found == name).unwrap();
        close(wanted, *found, &golden["self_retrieval"][wanted]);
    }
}

#[test]
fn golden_clustering() {
    let golden = golden();
    let wanted = &golden["clustering"];
    let found = agreement(&integers(&golden["labels"]), &integers(&wanted["assignment"])).unwrap();
    close("nmi_arithmetic", found.nmi, &wanted["nmi_arithmetic"]);
    close("ami_arithmetic", found.ami, &wanted["ami_arithmetic"]);
    close("f1_pairs", found.f1, &wanted["f1_pairs"]);
}
