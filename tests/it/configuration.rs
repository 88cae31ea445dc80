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

#[test]
fn the_page_on_configurations_states_every_key_with_its_default() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md")).unwrap();
    let mut section = "";
    let mut stated = Vec::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.strip_prefix('[').and_then(|title| title.strip_suffix(']')).unwrap_or("");
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", key, default, _, ""] = cells[..]
            && let (Some(key), Some(default)) = (code(key), code(default))
        {
            let value: Table = toml::from_str(&format!("value = {default}")).unwrap();
            stated.push((if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }, value["value"].clone()));
        }
    }
    let mut expected = keys(&toml::from_str(&RunConfig::default().to_toml()).unwrap(), "");
    // Those of each loss are on the page on losses.
    expected.retain(|(key, _)| !key.starts_with("loss.") || ["loss.name", "loss.weight"].contains(&key.as_str()));
    for row in &expected {
        assert!(stated.contains(row), "{row:?} is not on the page");
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
