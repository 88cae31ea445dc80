//! Configuration files, and the page that explains their keys.

use std::fs;

use dada::config::{RunConfig, read_layer};
use toml::{Table, Value};

/// Every value by its full key.
pub fn keys(table: &Table, path: &str) -> Vec<(String, Value)> {
    let each = table.iter().flat_map(|(key, value)| {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Table(inner) => keys(inner, &full),
            value => vec![(full, value.clone())],
        }
    });
    each.collect()
}

/// The keys with their defaults that a page states in tables, below headings such as `[loss]`; below others with their full names.
fn stated(page: &str) -> Vec<(String, Value)> {
    let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs")).join(page);
    let mut section = String::new();
    let mut stated = Vec::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        if let Some(title) = line.strip_prefix("## ") {
            let name = title.strip_prefix('[').and_then(|title| title.strip_suffix(']'));
            section = name.map_or(String::new(), |name| format!("{name}."));
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", key, default, _, ""] = cells[..]
            && let (Some(key), Some(default)) = (code(key), code(default))
        {
            let value: Table = toml::from_str(&format!("value = {default}")).unwrap();
            stated.push((format!("{section}{key}"), value["value"].clone()));
        }
    }
    stated
}

#[test]
fn the_pages_on_configurations_state_every_key_once_with_its_default() {
    let (main, ablations) = (stated("configuration.md"), stated("ablations.md"));
    for (key, _) in &ablations {
        assert!(key.starts_with("dada."), "{key} is no key for ablations");
    }
    let stated = [main, ablations].concat();
    let mut expected = keys(&toml::from_str(&RunConfig::default().to_toml()).unwrap(), "");
    // Those of each loss are on the page on losses.
    expected.retain(|(key, _)| !key.starts_with("loss.") || ["loss.name", "loss.weight"].contains(&key.as_str()));
    for row in &expected {
        assert!(stated.contains(row), "{row:?} is on neither page");
    }
    assert_eq!(stated.len(), expected.len(), "{stated:?}");
}

fn code(cell: &str) -> Option<&str> {
    cell.trim().strip_prefix('`')?.strip_suffix('`')
}

#[test]
fn a_mistake_in_a_file_is_told_with_the_files_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    for (text, expected) in [
        ("[train]\nepoch = 3", "mine.toml: unknown key train.epoch; the nearest valid one is train.epochs"),
        ("[train]\nepochs = \"many\"", "mine.toml: train.epochs = \"many\": invalid type"),
        ("[train\n", "mine.toml: TOML parse error at line 1"),
    ] {
        fs::write(&path, text).unwrap();
        let message = read_layer(&path).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    // What the command line may still add is not missing yet.
    fs::write(&path, "data = { source = \"folder\" }").unwrap();
    assert!(read_layer(&path).is_ok());
}
