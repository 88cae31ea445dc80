//! `dada evaluate` of several models on the same items.

use std::fs;
use std::path::{Path, PathBuf};

use dada::formats::vectors::Writer;
use serde_json::Value;

use crate::tiny::{pictures, printed, refused, run, train};

const NAMES: [&str; 3] = ["recall@1", "map@r", "mrr"];

fn json<S: AsRef<str>>(words: &[S]) -> Value {
    let words: Vec<&str> = ["evaluate", "--json"].into_iter().chain(words.iter().map(AsRef::as_ref)).collect();
    serde_json::from_str(&printed(&words)).unwrap()
}

/// Twenty-eight rows of four classes, named by number.
fn write(folder: &Path, name: &str, vector: impl Fn(usize) -> Vec<f32>) -> String {
    let path = folder.join(name);
    let mut writer = Writer::create(&path).unwrap();
    for row in 0..28 {
        writer.write(&vector(row), &[(&row.to_string(), ["a", "b", "c", "d"][row % 4])]).unwrap();
    }
    writer.finish().unwrap();
    path.to_str().unwrap().to_owned()
}

/// Rows that a model of this dimension finds hard, in its own way.
fn vector(dim: usize, row: usize) -> Vec<f32> {
    (0..dim).map(|at| ((row % 4 * (at + 1)) as f32).sin() + 1.1 * ((row * (at + 3) * dim) as f32 * 0.73).cos()).collect()
}

/// Mean, deviation and every model's own row are those of the models measured alone.
fn summarised(found: &Value, alone: &[Value]) {
    assert_eq!(found["models"].as_array().unwrap().len(), alone.len());
    for name in NAMES {
        let values: Vec<f64> = alone.iter().map(|alone| alone[name].as_f64().unwrap()).collect();
        for (model, value) in found["models"].as_array().unwrap().iter().zip(&values) {
            assert_eq!(model["figures"][name].as_f64(), Some(*value), "{name}");
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let deviation = (squares / (values.len() - 1) as f64).sqrt();
        assert!((found["mean"][name].as_f64().unwrap() - mean).abs() < 1e-12, "{name}");
        assert!((found["deviation"][name].as_f64().unwrap() - deviation).abs() < 1e-12, "{name}");
    }
}

#[test]
fn dumps_of_the_same_rows_are_measured_alone_and_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let dims = [2, 3, 7];
    let paths = dims.map(|dim| write(folder.path(), &format!("{dim}.npy"), |row| vector(dim, row)));
    let words: Vec<String> = ["--embeddings".to_owned()].into_iter().chain(paths.clone()).collect();
    let found = json(&words);
    summarised(&found, &paths.each_ref().map(|path| json(&["--embeddings", path])));
    // Every part counts the same, whatever its length was.
    let joined = write(folder.path(), "joined.npy", |row| {
        let mut joined = Vec::new();
        for dim in dims {
            let part = vector(dim, row);
            let length = part.iter().map(|value| value * value).sum::<f32>().sqrt();
            joined.extend(part.iter().map(|value| value / length));
        }
        joined
    });
    let wanted = json(&["--embeddings", &joined]);
    for name in NAMES {
        let value = |of: &Value| of[name].as_f64().unwrap();
        assert!((value(&found["concatenated"]["figures"]) - value(&wanted)).abs() < 1e-6, "{name}: {found} {wanted}");
        assert!((value(&found["concatenated"]["figures"]) - value(&found["mean"])).abs() > 1e-3, "{name}: the test shows nothing");
    }
    assert_eq!((found["concatenated"]["dim"].as_u64(), found["queries"].as_u64()), (Some(12), Some(28)));
    let table = printed(&[&["evaluate".to_owned(), "--clusters".to_owned()], &words[..]].concat());
    assert!(["7.npy", "deviation", "concatenated", "nmi", "12 numbers"].iter().all(|part| table.contains(part)), "{table}");
}

#[test]
fn models_that_saw_other_items_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path(), "first.npy", |row| vector(2, row));
    let other = |name: &str, list: String| {
        let path = write(folder.path(), name, |row| vector(2, row));
        fs::write(Path::new(&path).with_extension("csv"), list).unwrap();
        refused(&["evaluate", "--embeddings", &first, &path])
    };
    let list = fs::read_to_string(Path::new(&first).with_extension("csv")).unwrap();
    assert!(
        other("class.npy", list.replace("\n5,b", "\n5,d")).contains("item 5 to be \"5\" of class \"d\", expected \"5\" of class \"b\"")
    );
    assert!(other("name.npy", list.replace("\n5,b", "\nfive,b")).contains("item 5 to be \"five\""));
    let short = folder.path().join("short.npy");
    let mut writer = Writer::create(&short).unwrap();
    writer.write(&[1.0, 0.0, 0.0, 1.0], &[("0", "a"), ("1", "a")]).unwrap();
    writer.finish().unwrap();
    let short = short.to_str().unwrap();
    assert!(refused(&["evaluate", "--embeddings", &first, short]).contains("found 2 items to measure, expected 28"));
    let again = ["evaluate", "--embeddings", &first, &first];
    for flag in
        [&["--html", "page.html"][..], &["--bootstrap"], &["--definitions", "all"], &["--approximate", "f16"], &["--per-class", "x.csv"]]
    {
        let error = refused(&[&again[..], flag].concat());
        assert!(error.contains(&format!("{} is for one model: found 2", flag[0])), "{error}");
    }
    assert!(refused(&[&again[..], &["--against", &first]].concat()).contains("--against"));
}

/// A run's folder with another run's data, and its model.
fn with_data(folder: &Path, photos: &Path) -> PathBuf {
    let other = folder.join("other");
    fs::create_dir_all(other.join("model")).unwrap();
    for file in fs::read_dir(run().join("model")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), other.join("model").join(file.file_name())).unwrap();
    }
    let config = fs::read_to_string(run().join("config.toml")).unwrap();
    let mut config: toml::Table = toml::from_str(&config).unwrap();
    let data = config["data"].as_table_mut().unwrap();
    data.insert("source".into(), "folder".into());
    data.insert("path".into(), photos.to_str().unwrap().into());
    fs::write(other.join("config.toml"), toml::to_string(&config).unwrap()).unwrap();
    other
}

#[test]
fn runs_on_folds_are_measured_together() {
    let folder = tempfile::tempdir().unwrap();
    let second = folder.path().join("second");
    train(&second, &["seed=1", "data.validation={ name = \"fold\", index = 1, count = 4 }"]);
    let runs = [run(), &second].map(|run| run.to_str().unwrap());
    let found = json(&runs);
    summarised(&found, &runs.map(|run| json(&[run])));
    assert_ne!(found["models"][0]["figures"], found["models"][1]["figures"]);
    assert_eq!(found["concatenated"]["dim"].as_u64(), Some(32));

    let photos = pictures(false);
    let source = format!("folder:{}", photos.path().display());
    let found = json(&[&runs[..], &["--data", &source]].concat());
    assert_eq!((found["queries"].as_u64(), found["concatenated"]["figures"]["recall@1"].as_f64()), (Some(6), Some(1.0)));

    let parts = folder.path().join("photos");
    fs::create_dir(&parts).unwrap();
    for part in ["train", "test"] {
        fs::rename(pictures(false).path(), parts.join(part)).unwrap();
    }
    let other = with_data(folder.path(), &parts);
    let error = refused(&["evaluate", runs[0], other.to_str().unwrap()]);
    assert!(error.contains("found 6 items to measure, expected ") && error.contains(runs[0]), "{error}");
    let vectors = write(folder.path(), "x.npy", |row| vector(2, row));
    let error = refused(&["evaluate", runs[0], runs[1], "--data", &format!("features:{vectors}")]);
    assert!(error.contains("2 models need pictures"), "{error}");
}
