//! The program, and one tiny run of it that the tests of the command line share.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use image::{Rgb, RgbImage};
use tempfile::TempDir;

/// Runs `dada` with these words.
pub fn dada<S: AsRef<std::ffi::OsStr>>(words: &[S]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dada")).args(words).output().unwrap()
}

/// What a successful `dada` printed.
pub fn printed<S: AsRef<std::ffi::OsStr>>(words: &[S]) -> String {
    let output = dada(words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The one line in which a `dada` that has to fail says why.
pub fn refused<S: AsRef<std::ffi::OsStr>>(words: &[S]) -> String {
    let output = dada(words);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stderr).unwrap();
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    errors[0].to_owned()
}

/// The folder of a run of one epoch on the embedded emoji, at 16 pixels.
pub fn run() -> &'static Path {
    static RUN: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, folder) = RUN.get_or_init(|| {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("run");
        train(&folder, &[]);
        (root, folder)
    });
    folder
}

/// Trains a tiny network for one epoch into `folder`, with more settings.
pub fn train(folder: &Path, more: &[&str]) {
    let settings = [
        "train.epochs=1",
        "preprocess.crop=16",
        "preprocess.resize=16",
        "encoder.dim=16",
        "encoder.backbone.stem=8",
        "encoder.backbone.channels=[8]",
    ];
    let folder = folder.to_str().unwrap();
    let settings = settings.iter().chain(more).flat_map(|setting| ["--set", setting]);
    printed(&["train", "--out", folder].into_iter().chain(settings).collect::<Vec<_>>());
}

/// Six pictures in two class folders, red and blue, and a text file that is named as a picture if `damaged`.
pub fn pictures(damaged: bool) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (class, colour) in [("red", [220, 30, 30]), ("blue", [20, 40, 230])] {
        std::fs::create_dir(root.path().join(class)).unwrap();
        for number in 0..3u8 {
            let pixel = |x: u32, y: u32| Rgb(colour.map(|value: u8| value.saturating_add(number * 3 + (x + y) as u8 % 5)));
            RgbImage::from_fn(20, 24, pixel).save(root.path().join(class).join(format!("{number}.png"))).unwrap();
        }
    }
    if damaged {
        std::fs::write(root.path().join("blue/1b.jpg"), "no picture").unwrap();
    }
    root
}
