//! `dada audit`

use std::path::{Path, PathBuf};

use dada::formats::vectors::Writer;
use serde_json::Value;

use crate::tiny::{dada, pictures, refused, run};

fn dump(folder: &Path, name: &str, rows: &[(&str, &str, [f32; 3])]) -> PathBuf {
    let path = folder.join(name);
    let mut writer = Writer::create(&path).unwrap();
    rows.iter().for_each(|(name, class, values)| writer.write(values, &[(name, class)]).unwrap());
    writer.finish().unwrap();
    path
}

/// Exit code, and what was found.
fn audit(words: &[&str]) -> (Option<i32>, Value) {
    let output = dada(&[&["audit"], words, &["--json"]].concat());
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn splits_that_share_items_are_told_from_clean_ones() {
    let folder = tempfile::tempdir().unwrap();
    let train = [("p", "a", [1.0, 0.0, 0.0]), ("q", "a", [2.0, 1.0, 0.0]), ("r", "b", [0.0, 1.0, 0.0]), ("s", "b", [0.0, 1.0, 0.5])];
    let leaky = [("q", "c", [0.0, 0.0, 1.0]), ("t", "b", [0.0, 3.0, 0.0]), ("u", "c", [0.1, 0.0, 1.0])];
    let clean = [("x", "d", [-1.0, 0.0, 0.2]), ("y", "d", [-1.0, 0.2, 0.0]), ("z", "e", [0.0, -1.0, -1.0])];
    let train = dump(folder.path(), "train.npy", &train);
    let leaky = dump(folder.path(), "leaky.npy", &leaky);
    let clean = dump(folder.path(), "clean.npy", &clean);
    let [train, leaky, clean] = [&train, &leaky, &clean].map(|path| path.to_str().unwrap());

    let (code, found) = audit(&["--embeddings", train, leaky]);
    let crossing = &found["crossings"][0];
    assert_eq!(code, Some(1));
    assert_eq!((crossing["names"].as_u64(), crossing["vectors"].as_u64(), crossing["near"].as_u64()), (Some(1), Some(1), Some(1)));
    assert_eq!(crossing["classes"][0], "b");
    let (code, found) = audit(&["--embeddings", train, clean]);
    assert_eq!((code, found["parts"].as_array().unwrap().len()), (Some(0), 2));
    let part = &found["parts"][0];
    assert!((part["norms"]["most"].as_f64().unwrap() - 5f64.sqrt()).abs() < 1e-6 && part["norms"]["least"].as_f64() == Some(1.0));
    assert!(part["spectrum"]["effective_rank"].as_f64().unwrap() < 3.0);
    // R/(R+1) with R = 1.
    assert_eq!(part["ceilings"][1][1][2][1].as_f64(), Some(0.5));

    let text = String::from_utf8(dada(&["audit", "--embeddings", train, leaky]).stdout).unwrap();
    assert!(text.contains("train and leaky share") && text.contains("1 classes: b") && text.contains("effective rank"), "{text}");
    assert!(refused(&["audit", "--embeddings", train, leaky, "--labels", train]).contains("found 1 files of labels, expected 2"));
    for (option, wrong) in [("--threshold", "98"), ("--threshold", "nan"), ("--k", "0")] {
        assert!(refused(&["audit", "--embeddings", train, leaky, option, wrong]).contains(&format!("{option} ")), "{option} {wrong}");
    }
}

#[test]
fn a_run_is_audited_split_by_split_and_a_model_on_pictures() {
    let run = run().to_str().unwrap();
    let (_, found) = audit(&[run]);
    let names: Vec<&str> = found["parts"].as_array().unwrap().iter().map(|part| part["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["train", "validation", "test"]);
    assert!(found["crossings"].as_array().unwrap().iter().all(|crossing| crossing["class_count"] == 0));
    let photos = pictures(false);
    let source = format!("folder:{}", photos.path().display());
    let model = Path::new(run).join("model");
    let (code, found) = audit(&[model.to_str().unwrap(), "--data", &source]);
    assert_eq!((code, found["parts"][0]["rows"].as_u64(), found["parts"][0]["classes"].as_u64()), (Some(0), Some(6), Some(2)));
    assert!(refused(&["audit", model.to_str().unwrap()]).contains("--data"));
}
