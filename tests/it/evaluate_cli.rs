//! `dada evaluate`

use std::fs;
use std::path::{Path, PathBuf};

use dada::formats::vectors::Writer;
use serde_json::Value;

use crate::tiny::{dada, pictures, printed, refused, run};

fn json(words: &[&str]) -> Value {
    serde_json::from_str(&printed(&[&["evaluate"], words, &["--json"]].concat())).unwrap()
}

/// Two classes on a line: rows 0 and 1 agree, 2 and 3 agree, 4 is of the first class among the second.
fn vectors(folder: &Path) -> PathBuf {
    let path = folder.join("x.npy");
    let mut writer = Writer::create(&path).unwrap();
    let rows = [("0", "a"), ("1", "a"), ("2", "b"), ("3", "b"), ("4", "a")];
    writer.write(&[1.0, 0.0, 1.0, 0.1, 0.0, 1.0, 0.1, 1.0, 0.05, 1.0], &rows).unwrap();
    writer.finish().unwrap();
    path
}

#[test]
fn a_run_is_measured_on_its_own_test_classes_as_training_measured_them() {
    let run = run().to_str().unwrap();
    let found = json(&[run]);
    let metrics: Value = serde_json::from_slice(&fs::read(Path::new(run).join("metrics.json")).unwrap()).unwrap();
    for name in ["recall@1", "recall@2", "map@r", "r_precision", "mrr"] {
        assert!((found[name].as_f64().unwrap() - metrics["test"][name].as_f64().unwrap()).abs() < 1e-6, "{name}");
    }
    assert!(printed(&["evaluate", run]).contains("recall@1"));
}

#[test]
fn a_model_is_measured_on_a_folder() {
    let photos = pictures(false);
    let source = format!("folder:{}", photos.path().display());
    let model = run().join("model");
    let found = json(&[model.to_str().unwrap(), "--data", &source, "--clusters"]);
    assert_eq!((found["recall@1"].as_f64(), found["map@r"].as_f64(), found["queries"].as_u64()), (Some(1.0), Some(1.0), Some(6)));
    assert_eq!((found["nmi"].as_f64(), found["ami"].as_f64(), found["f1"].as_f64()), (Some(1.0), Some(1.0), Some(1.0)));
    assert!(refused(&["evaluate", model.to_str().unwrap()]).contains("--data"));
}

#[test]
fn vectors_are_measured_with_their_own_or_other_labels() {
    let folder = tempfile::tempdir().unwrap();
    let path = vectors(folder.path());
    let path = path.to_str().unwrap();
    let own = json(&["--embeddings", path]);
    // Row 4 lies between 2 and 3: it, 2 and 3 all find another class first.
    assert_eq!(own["recall@1"].as_f64(), Some(0.4));
    assert_eq!(own, json(&["--data", &format!("features:{path}")]));
    let labels = folder.path().join("y.txt");
    fs::write(&labels, "a\na\nb\nb\nb\n").unwrap();
    assert_eq!(json(&["--embeddings", path, "--labels", labels.to_str().unwrap()])["map@r"].as_f64(), Some(1.0));
    let wrong = folder.path().join("z.txt");
    fs::write(&wrong, "a\nb\n").unwrap();
    let error = refused(&["evaluate", "--embeddings", path, "--labels", wrong.to_str().unwrap()]);
    assert!(error.contains("found 2 labels, expected 5"), "{error}");
    fs::write(&wrong, "a\na\na\na\na\n").unwrap();
    let error = refused(&["evaluate", "--embeddings", path, "--labels", wrong.to_str().unwrap()]);
    assert!(error.contains("one class"), "{error}");
}

#[test]
fn queries_are_searched_in_the_gallery() {
    let folder = tempfile::tempdir().unwrap();
    let path = vectors(folder.path());
    let [query, gallery] = ["query.txt", "gallery.txt"].map(|name| folder.path().join(name));
    let words = |json| {
        let mut words = vec!["evaluate", "--embeddings", path.to_str().unwrap()];
        words.extend(["--query", query.to_str().unwrap(), "--gallery", gallery.to_str().unwrap()]);
        words.extend(json);
        words.into_iter().map(str::to_owned).collect::<Vec<String>>()
    };
    fs::write(&query, "4\n2\n").unwrap();
    fs::write(&gallery, "0\n1\n3\n").unwrap();
    let found: Value = serde_json::from_str(&printed(&words(Some("--json")))).unwrap();
    assert_eq!((found["queries"].as_u64(), found["recall@1"].as_f64(), found["recall@2"].as_f64()), (Some(2), Some(0.5), Some(1.0)));
    fs::write(&gallery, "0\n4\n").unwrap();
    assert!(refused(&words(None)).contains("1 rows are in both query and gallery"));
    fs::write(&gallery, "0\n5\n").unwrap();
    assert!(refused(&words(None)).contains("found row 5"));
}

#[test]
fn other_definitions_are_shown_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let path = vectors(folder.path());
    let path = path.to_str().unwrap();
    let all = json(&["--embeddings", path, "--definitions", "all"]);
    assert_eq!(all["ours"]["map@r"], json(&["--embeddings", path])["map@r"]);
    let labels = folder.path().join("y.txt");
    fs::write(&labels, "a\na\nb\nb\nb\n").unwrap();
    let perfect = json(&["--embeddings", path, "--labels", labels.to_str().unwrap(), "--definitions", "reference"]);
    // R/(R+1): two queries with R = 1, three with R = 2.
    assert!((perfect["reference"]["map@r"].as_f64().unwrap() - 0.6).abs() < 1e-9, "{perfect}");
    assert!(all["inshop"]["recall@1"].as_f64() >= all["ours"]["recall@1"].as_f64());
    let table = printed(&["evaluate", "--embeddings", path, "--definitions", "reference"]);
    assert!(table.contains("counts the query in R") && !table.contains("oml"), "{table}");
}

#[test]
fn unsound_vectors_are_one_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    let problem = |kind: &str, shape: &str, content: &[u8]| {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
        let header = format!("{header:<117}\n");
        let file = [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), content].concat();
        fs::write(&path, file).unwrap();
        fs::write(path.with_extension("csv"), "path,label\n0,a\n1,b\n").unwrap();
        refused(&["evaluate", "--embeddings", path.to_str().unwrap()])
    };
    let floats = |values: [f32; 2]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    assert!(problem("<f4", "(2, 1)", &floats([1.0, f32::NAN])).contains("row 1 holds NaN"));
    assert!(problem("<f4", "(2, 1)", &floats([1.0, 0.0])).contains("row 1 of the embeddings is all zeros"));
    assert!(problem("<i4", "(2, 1)", &[0; 8]).contains("whole numbers"));
    assert!(problem("<f4", "(5000000, 1000)", &[0; 8]).contains("found 8 bytes of values"));
    assert!(problem("<f4", "(0, 1)", &[]).contains("found 2, expected 0"));
    assert!(problem("<f4", "(2,)", &[0; 8]).contains("the shape [2]"));
    assert_eq!(dada(&["evaluate"]).status.code(), Some(2), "nothing to measure");
    // Twenty gigabytes by the header, eight bytes by the file: refused without asking for memory.
    assert!(problem("<f4", "(10000000, 512)", &[0; 8]).contains("found 8 bytes of values"));
    assert!(problem("<f4", "(18446744073709551615, 2)", &[0; 8]).contains("found 8 bytes of values"));
    assert!(problem("<f4", "(2, 1)", &floats([f32::NEG_INFINITY, 1.0])).contains("row 0 holds -inf"));
    assert!(problem("<f2", "(2, 1)", &[0; 4]).contains("\"<f2\""));
    assert!(problem("|O", "(2,)", &[0; 16]).contains("\"|O\""));
    fs::write(&path, "").unwrap();
    assert!(refused(&["evaluate", "--embeddings", path.to_str().unwrap()]).contains("not a NumPy file"));
    fs::write(&path, b"\x93NUMPY\x01\0\xff\xff{").unwrap();
    assert!(refused(&["evaluate", "--embeddings", path.to_str().unwrap()]).contains("truncated"));
    assert!(refused(&["evaluate", "--embeddings", "no-such.npy"]).contains("no-such.npy"));
    let tensors = folder.path().join("x.safetensors");
    let header = br#"{"embeddings":{"dtype":"F32","shape":[10000000,512],"data_offsets":[0,20480000000]}}"#;
    fs::write(&tensors, [&(header.len() as u64).to_le_bytes()[..], header, &[0; 8]].concat()).unwrap();
    assert!(refused(&["evaluate", "--embeddings", tensors.to_str().unwrap()]).contains("not a safetensors file"));
    fs::write(&tensors, u64::MAX.to_le_bytes()).unwrap();
    assert!(refused(&["evaluate", "--embeddings", tensors.to_str().unwrap()]).contains("not a safetensors file"));
    fs::write(folder.path().join("x.parquetish"), "").unwrap();
    assert!(refused(&["evaluate", "--embeddings", folder.path().join("x.parquetish").to_str().unwrap()]).contains("extension"));
}

/// Thirty rows of four classes on a circle, with some of them among another class.
fn circle(folder: &Path, name: &str, turn: f32) -> PathBuf {
    let path = folder.join(name);
    let mut writer = Writer::create(&path).unwrap();
    for row in 0..30 {
        let angle = (row % 4) as f32 * 1.5 + row as f32 * turn;
        let class = ["<a>", "b, \"b\"", "c & c", "d"][row % 4];
        writer.write(&[angle.cos(), angle.sin(), 0.1 * row as f32], &[(&row.to_string(), class)]).unwrap();
    }
    writer.finish().unwrap();
    path
}

#[test]
fn intervals_hold_their_figures_and_the_seed_decides() {
    let folder = tempfile::tempdir().unwrap();
    let path = circle(folder.path(), "x.npy", 0.11);
    let words = ["--embeddings", path.to_str().unwrap(), "--bootstrap", "200"];
    let found = json(&words);
    assert_eq!(found, json(&words));
    for (name, ends) in found["intervals"].as_object().unwrap() {
        let (value, low, high) = (found[name].as_f64().unwrap(), ends[0].as_f64().unwrap(), ends[1].as_f64().unwrap());
        assert!(low <= value && value <= high && (low < high || name != "map@r"), "{name}: {value} {ends}");
    }
    let other = json(&[&words[..], &["--seed", "1"]].concat());
    assert!(other["map@r"] == found["map@r"] && other["intervals"] != found["intervals"]);
    assert!(printed(&[&["evaluate"], &words[..]].concat()).contains("95 % from"));
}

#[test]
fn two_sets_of_embeddings_are_compared_on_the_same_queries() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (circle(folder.path(), "x.npy", 0.0), circle(folder.path(), "y.npy", 0.7));
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    let found = json(&["--embeddings", good, "--against", bad]);
    let difference = found["against"]["differences"]["map@r"].clone();
    let wanted = found["map@r"].as_f64().unwrap() - json(&["--embeddings", bad])["map@r"].as_f64().unwrap();
    assert!((difference["difference"].as_f64().unwrap() - wanted).abs() < 1e-9 && wanted > 0.1, "{found}");
    assert!(difference["interval"][0].as_f64().unwrap() > 0.0);
    assert!(printed(&["evaluate", "--embeddings", good, "--against", bad]).contains("larger than other queries would make it: "));
    let same = printed(&["evaluate", "--embeddings", good, "--against", good]);
    assert!(same.contains("no difference is larger"), "{same}");
    let short = vectors(folder.path());
    fs::rename(&short, folder.path().join("short.npy")).unwrap();
    circle(folder.path(), "x.npy", 0.0);
    let error = refused(&["evaluate", "--embeddings", good, "--against", folder.path().join("short.npy").to_str().unwrap()]);
    assert!(error.contains("labels: found 30, expected 5"), "{error}");
}

#[test]
fn a_page_and_a_list_of_classes_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = circle(folder.path(), "x.npy", 0.11);
    let [page, list] = ["page.html", "classes.csv"].map(|name| folder.path().join(name));
    let words =
        ["--embeddings", path.to_str().unwrap(), "--html", page.to_str().unwrap(), "--per-class", list.to_str().unwrap(), "--clusters"];
    let found = json(&words);
    let document = fs::read_to_string(&page).unwrap();
    assert!(document.contains("&lt;a&gt;") && !document.contains("<a>") && document.contains("nmi"));
    assert_eq!((document.matches("<script").count(), document.matches("src=\"http").count()), (1, 0));
    let text = fs::read_to_string(&list).unwrap();
    assert!(text.starts_with("class,queries,recall@1,") && text.contains("\n\"b, \"\"b\"\"\",8,"), "{text}");
    assert_eq!(text.lines().count(), 1 + 4);
    assert_eq!(found["map@r"], json(&["--embeddings", path.to_str().unwrap()])["map@r"]);
    // A run's page has pictures, and its proxies on a map.
    printed(&["evaluate", run().to_str().unwrap(), "--html", page.to_str().unwrap(), "--bootstrap", "20"]);
    let document = fs::read_to_string(&page).unwrap();
    assert!(document.contains("data:image/jpeg;base64,") && document.contains("proxy of "));
    let nowhere = folder.path().join("no/page.html");
    assert!(refused(&["evaluate", "--embeddings", path.to_str().unwrap(), "--html", nowhere.to_str().unwrap()]).contains("page.html"));
}

#[test]
fn approximations_are_priced() {
    let folder = tempfile::tempdir().unwrap();
    let path = circle(folder.path(), "x.npy", 0.11);
    let path = path.to_str().unwrap();
    let found = json(&["--embeddings", path, "--approximate", "f16,int8,pca-2,hnsw"]);
    assert_eq!(found["exact"]["figures"]["map@r"], json(&["--embeddings", path])["map@r"]);
    assert_eq!(
        (found["f16"]["bytes"].as_u64(), found["int8"]["bytes"].as_u64(), found["pca-2"]["bytes"].as_u64()),
        (Some(6), Some(7), Some(8))
    );
    assert!(found["hnsw"]["lost"]["recall@1"].as_f64().unwrap().abs() < 1e-9, "{found}");
    assert!(printed(&["evaluate", "--embeddings", path, "--approximate"]).contains("bf16"));
    assert!(refused(&["evaluate", "--embeddings", path, "--approximate", "pca-9"]).contains("at most 3"));
    assert_eq!(dada(&["evaluate", "--embeddings", path, "--approximate", "int3"]).status.code(), Some(2));
}
