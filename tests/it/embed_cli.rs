//! `dada embed`

use std::fs;
use std::path::Path;

use dada::data::sources::vectors::VectorDataset;

use crate::tiny::{dada, pictures, printed, refused, run};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_folder_becomes_vectors_with_paths_and_labels() {
    let (photos, out) = (pictures(false), tempfile::tempdir().unwrap());
    let mut found = Vec::new();
    for name in ["x.npy", "y.safetensors", "z.parquet"] {
        let path = out.path().join(name);
        printed(&["embed".as_ref(), run().as_os_str(), photos.path().as_os_str(), "--out".as_ref(), path.as_os_str()]);
        found.push(VectorDataset::read(&path).unwrap());
    }
    assert!(found[0] == found[1] && found[1] == found[2]);
    assert_eq!(names(out.path()), ["x.csv", "x.npy", "y.csv", "y.safetensors", "z.parquet"]);
    let VectorDataset { values, dim, labels, classes, names, .. } = &found[0];
    assert_eq!(
        (*dim, labels.as_slice(), classes.as_slice()),
        (16, [0, 0, 0, 1, 1, 1].as_slice(), ["blue".to_owned(), "red".into()].as_slice())
    );
    assert!(names[3].ends_with("red/0.png"), "{names:?}");
    for row in values.chunks(16) {
        assert!((row.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
    }
}

#[test]
fn a_damaged_picture_is_skipped_or_stops() {
    let (photos, out) = (pictures(true), tempfile::tempdir().unwrap());
    let path = out.path().join("x.npy");
    let words = ["embed".as_ref(), run().as_os_str(), photos.path().as_os_str(), "--out".as_ref(), path.as_os_str()];
    let error = refused(&[&words[..], &["--strict".as_ref()]].concat());
    assert!(error.contains("1b.jpg"), "{error}");
    assert!(names(out.path()).is_empty(), "{:?}", names(out.path()));
    let said = String::from_utf8(dada(&words).stderr).unwrap();
    assert!(said.contains("skipped") && said.contains("1b.jpg") && said.contains("6 embeddings"), "{said}");
    assert_eq!(VectorDataset::read(&path).unwrap().labels.len(), 6);
}

#[test]
fn a_model_directory_and_single_files_in_the_order_given() {
    let (photos, out) = (pictures(false), tempfile::tempdir().unwrap());
    let path = out.path().join("x.npy");
    let (model, red, blue) = (run().join("model"), photos.path().join("red/1.png"), photos.path().join("blue/2.png"));
    printed(&["embed".as_ref(), model.as_os_str(), red.as_os_str(), blue.as_os_str(), "--out".as_ref(), path.as_os_str()]);
    let list = fs::read_to_string(path.with_extension("csv")).unwrap();
    assert_eq!(list, format!("path,label\n{},\n{},\n", red.display(), blue.display()));
}

#[test]
fn what_cannot_be_done_is_one_error() {
    let (photos, out) = (pictures(false), tempfile::tempdir().unwrap());
    let embed = |model: &Path, input: &Path, name: &str| {
        let path = out.path().join(name);
        refused(&["embed".as_ref(), model.as_os_str(), input.as_os_str(), "--out".as_ref(), path.as_os_str()])
    };
    assert!(embed(run(), photos.path(), "x.txt").contains("expected .npy"));
    assert!(embed(run(), &photos.path().join("none.csv"), "x.npy").contains("none.csv"));
    assert!(embed(run(), &photos.path().join("none.png"), "x.npy").contains("none of 1 pictures"));
    assert!(embed(photos.path(), photos.path(), "x.npy").contains("config.json"));
    assert!(embed(run(), photos.path(), "none/x.npy").contains("x.npy"));
    assert!(names(out.path()).is_empty());

    let list = out.path().join("x.csv");
    fs::write(&list, format!("path,label\n{},a\n", photos.path().join("red/0.png").display())).unwrap();
    assert!(embed(run(), &list, "x.npy").contains("would be overwritten"));
    assert_eq!(names(out.path()), ["x.csv"]);
}
