//! Layers of TOML: parsed, and laid one over the other.

use toml::{Table, Value};

use crate::error::{Error, Result};

/// An error with the key that it is about.
pub(super) fn located(text: &str, error: &toml::de::Error) -> String {
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return error.message().to_owned() };
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let section = before.lines().rev().find_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
    match section {
        Some(section) if !line.starts_with('[') => format!("{section}.{line}: {}", error.message()),
        _ => format!("{line}: {}", error.message()),
    }
}

/// Parses `section.key=value`; a value that is not TOML is a string.
///
/// # Errors
/// Without an equals sign.
pub fn parse_setting(setting: &str) -> Result<Table> {
    let Some((key, value)) = setting.split_once('=') else {
        return Err(Error::Config(format!("found {setting:?}, expected section.key=value")));
    };
    let value = match toml::from_str::<Table>(&format!("value = {value}")) {
        Ok(mut table) => table.remove("value").expect("the key was just written"),
        Err(_) => Value::String(value.to_owned()),
    };
    let mut parts = key.trim().rsplit('.');
    let last = parts.next().expect("a split has at least one part");
    let leaf = Table::from_iter([(last.to_owned(), value)]);
    Ok(parts.fold(leaf, |table, part| Table::from_iter([(part.to_owned(), Value::Table(table))])))
}

/// The keys that say which variant a table describes.
const TAGS: [&str; 1] = ["name"];

/// Where `layer` chooses another variant (another loss or backbone), gives `table` that variant's defaults, which `complete` fills in.
pub(super) fn switch_variants(table: &mut Table, layer: &Table, complete: impl Fn(Table) -> Result<Table>) -> Result<()> {
    fn switch(table: &mut Table, layer: &Table) -> bool {
        let tag =
            TAGS.into_iter().find(|tag| table.contains_key(*tag) && layer.get(*tag).is_some_and(|value| Some(value) != table.get(*tag)));
        if tag.is_some() {
            // With its own keys: not every variant has a default for all of them.
            *table = layer.clone();
            return true;
        }
        let mut switched = false;
        for (key, value) in layer {
            if let (Some(Value::Table(table)), Value::Table(layer)) = (table.get_mut(key), value) {
                switched |= switch(table, layer);
            }
        }
        switched
    }
    let mut before = table.clone();
    if switch(table, layer) {
        // Losses mean different things by the same word: a margin of CosFace is a cosine, one of ArcFace an angle.
        if let Some(Value::Table(loss)) = before.get_mut("loss") {
            loss.retain(|key, _| key == "weight");
        }
        *table = complete(table.clone())?;
        keep_shared(table, &before);
    }
    Ok(())
}

/// What two variants have in common keeps the value it had.
fn keep_shared(table: &mut Table, before: &Table) {
    for (key, value) in table {
        match (value, before.get(key)) {
            (Value::Table(table), Some(Value::Table(before))) => keep_shared(table, before),
            (value, Some(before)) if !TAGS.contains(&key.as_str()) && value.same_type(before) => *value = before.clone(),
            _ => {}
        }
    }
}

/// Lays `layer` over `table`; a key that is not there is an error that names the nearest one.
pub(super) fn merge(table: &mut Table, layer: &Table, path: &str) -> Result<()> {
    for (key, value) in layer {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (table.get_mut(key), value) {
            (Some(Value::Table(table)), Value::Table(layer)) => merge(table, layer, &full)?,
            (Some(slot), value) => *slot = value.clone(),
            (None, _) => return Err(Error::Config(unknown(key, &full, table))),
        }
    }
    Ok(())
}

fn unknown(key: &str, full: &str, table: &Table) -> String {
    let nearest = table.keys().max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
    let section = full.strip_suffix(key).unwrap_or_default();
    match nearest {
        Some(nearest) => format!("unknown key {full}; the nearest valid one is {section}{nearest}"),
        None => format!("unknown key {full}"),
    }
}

/// Every value by its full key.
pub(super) fn flatten(table: &Table) -> Vec<(String, Value)> {
    let each = table.iter().flat_map(|(key, value)| match value {
        Value::Table(inner) => flatten(inner).into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)).collect(),
        value => vec![(key.clone(), value.clone())],
    });
    each.collect()
}
