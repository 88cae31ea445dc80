//! `dada compare`

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::tiny::{printed, refused};

/// Ten classes of four pictures, each class of a colour.
fn photos(root: &Path) {
    for class in 0..10u32 {
        let folder = root.join(format!("class-{class}"));
        fs::create_dir_all(&folder).unwrap();
        for picture in 0..4u32 {
            let value =
                |x: u32, y: u32| Rgb([(class * 25 + picture) as u8, ((class * 71) % 250) as u8, (x * 5 + y * 3 + picture * 11) as u8]);
            RgbImage::from_fn(20, 20, value).save(folder.join(format!("{picture}.png"))).unwrap();
        }
    }
}

#[test]
fn runs_are_paired_by_seed_and_not_made_twice() {
    let world = tempfile::tempdir().unwrap();
    let [data, out] = ["photos", "comparison"].map(|name| world.path().join(name));
    photos(&data);
    let path = format!("data.path={}", data.display());
    let settings = [
        "data.source=folder",
        &path,
        "data.test_share=0",
        "preprocess.resize=16",
        "preprocess.crop=16",
        "encoder.backbone.stem=4",
        "encoder.backbone.channels=[8]",
        "encoder.dim=8",
        "sampler.batch_size=8",
        "train.epochs=1",
    ];
    let mut words = vec!["compare", "--vary", "dada.enabled=false,true", "--seeds", "0,3", "--folds", "3", "--out", out.to_str().unwrap()];
    words.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let first = printed(&words);
    assert!(first.contains("| enabled=true |") && first.contains("| (before training) |"), "{first}");

    let rows: Vec<Value> = serde_json::from_slice(&fs::read(out.join("comparison.json")).unwrap()).unwrap();
    let value = |run: &str| -> f64 {
        let metrics: Value = serde_json::from_slice(&fs::read(out.join(run).join("metrics.json")).unwrap()).unwrap();
        metrics["test_final"]["recall@1"].as_f64().unwrap()
    };
    let arm = |name: &str| [0, 3].map(|seed| value(&format!("enabled={name}/seed-{seed}")));
    let (off, on) = (arm("false"), arm("true"));
    let entry = &rows.last().unwrap()["figures"][0];
    assert_eq!(entry["metric"], "recall@1");
    assert!((entry["mean"].as_f64().unwrap() - (on[0] + on[1]) / 2.0).abs() < 1e-12);
    let difference = (on[0] - off[0] + on[1] - off[1]) / 2.0;
    assert!((entry["difference"]["difference"].as_f64().unwrap() - difference).abs() < 1e-12);
    assert_eq!(fs::read_to_string(out.join("comparison.csv")).unwrap().lines().count(), 5);
    let page = fs::read_to_string(out.join("comparison.html")).unwrap();
    assert!(["difference from", "fresh probe", "enabled=true"].iter().all(|part| page.contains(part)));
    let config = fs::read_to_string(out.join("enabled=true/seed-3/config.toml")).unwrap();
    assert!(config.contains("seed = 3") && config.contains("index = 0") && config.contains("count = 3"), "{config}");

    let written = || fs::metadata(out.join("enabled=true/seed-3/metrics.json")).unwrap().modified().unwrap();
    let before = written();
    assert_eq!(printed(&words), first);
    assert_eq!(written(), before);
    // Two at once make the same runs, and the same tables of them.
    fs::remove_dir_all(out.join("enabled=true")).unwrap();
    printed(&[&words[..], &["--jobs", "2"]].concat());
    assert_eq!(arm("true"), on);
    assert!(
        refused(&[&words[..], &["--set", "encoder.dim=6"]].concat()).contains("another configuration: encoder.dim is 8 there and 6 here")
    );

    // Folds judge where there is something to test on as well.
    let tested = world.path().join("tested");
    for (option, value) in [("--out", tested.to_str().unwrap()), ("--seeds", "1")] {
        let place = words.iter().position(|word| *word == option).unwrap() + 1;
        words[place] = value;
    }
    let told = printed(&[&words[..], &["--set", "data.test_share=0.5"]].concat());
    assert!(told.contains("on the fold of the training classes that each seed left out"), "{told}");
    let rows: Vec<Value> = serde_json::from_slice(&fs::read(tested.join("comparison.json")).unwrap()).unwrap();
    let metrics: Value = serde_json::from_slice(&fs::read(tested.join("enabled=false/seed-1/metrics.json")).unwrap()).unwrap();
    assert_eq!(metrics["measured_on"], "test");
    assert_ne!(metrics["validation_final"], metrics["test"]);
    assert_eq!(rows[0]["figures"][1]["mean"], metrics["validation_untrained"]["map@r"]);
    assert_eq!(rows[1]["figures"][1]["mean"], metrics["validation_final"]["map@r"]);
}

#[test]
fn mistakes_are_told_before_anything_runs() {
    let world = tempfile::tempdir().unwrap();
    let out = world.path().join("out");
    let out = out.to_str().unwrap();
    let compare = |words: &[&str]| refused(&[&["compare", "--out", out], words].concat());
    assert!(compare(&["--vary", "loss.alfa_positive=1,2"]).contains("alpha_positive"));
    assert!(compare(&["--vary", "seed"]).contains("expected section.key=value"));
    assert!(compare(&["--vary", "train.epochs=1,2", "--seeds", "4..2"]).contains("4..2"));
    assert!(compare(&["--vary", "train.epochs=1,2", "--folds", "1"]).contains("--folds"));
    assert!(compare(&["--vary", "train.epochs=1,2", "--jobs", "0"]).contains("--jobs is 0"));
    assert!(!Path::new(out).exists());
}
