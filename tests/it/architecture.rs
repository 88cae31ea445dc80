//! The import directions of `ARCHITECTURE.md`.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// No file of `room` mentions a module of `forbidden`.
fn assert_apart(room: &str, forbidden: &[&str]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folder = source.join(room);
    let files = if folder.is_dir() { sources(&folder) } else { vec![folder.with_extension("rs")] };
    assert!(!files.is_empty());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for name in forbidden {
            assert!(!text.contains(name), "{} mentions {name}", file.display());
        }
    }
}

#[test]
fn a_loss_knows_nothing_of_the_adversarial_part() {
    assert_apart("loss", &["crate::adversarial", "crate::train"]);
}

#[test]
fn evaluation_knows_nothing_of_training() {
    assert_apart("evaluate", &["crate::loss", "crate::adversarial", "crate::train", "burn::"]);
}

#[test]
fn pages_know_nothing_of_what_they_show() {
    assert_apart("page", &["crate::loss", "crate::adversarial", "crate::train", "crate::evaluate", "crate::data", "burn::"]);
}

#[test]
fn only_the_command_line_prints() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let may_print = |file: &Path| file.starts_with(source.join("cli")) || file.ends_with("main.rs") || file.ends_with("tests.rs");
    for file in sources(&source).into_iter().filter(|file| !may_print(file)) {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for word in ["println!(", "print!(", "anyhow"] {
            assert!(!code.contains(word), "{} has {word}", file.display());
        }
    }
}
