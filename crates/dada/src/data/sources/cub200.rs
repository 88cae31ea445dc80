//! Caltech-UCSD Birds 200 (CUB-200-2011): classes 1 to 100 train, 101 to 200 test.
//!
//! The official list of training pictures is for classification, where classes overlap, and is not used. The root is the unpacked
//! `CUB_200_2011`, its `images`, or any folder of class folders named by the official number, such as `001.Black_footed_Albatross`.

use std::path::Path;

use crate::data::sources::folder::class_folders;
use crate::data::split::Parts;
use crate::data::{Dataset, Picture};
use crate::error::{Error, Result};

/// Reads the class folders and says when there are other numbers of classes and pictures than officially.
///
/// # Errors
/// [`Error::Io`] when a folder cannot be read, [`Error::Format`] for a class folder without a number from 1 to 200, and when there is
/// none at all.
pub fn read(root: &Path) -> Result<(Parts, Vec<String>)> {
    let root =
        ["CUB_200_2011/images", "images"].map(|below| root.join(below)).into_iter().find(|path| path.is_dir()).unwrap_or(root.to_owned());
    numbered(&root, 200, 100, [5_864, 5_924])
}

/// Class folders named `NUMBER.NAME`, the first `train_classes` for training, the others for testing.
///
/// # Errors
/// As [`read`].
pub fn numbered(root: &Path, classes: usize, train_classes: usize, pictures: [usize; 2]) -> Result<(Parts, Vec<String>)> {
    let mut found = Vec::new();
    for picture in class_folders(root)? {
        let number = number(&picture.class).filter(|number| (1..=classes).contains(number)).ok_or_else(|| {
            Error::format(
                root.join(&picture.class),
                format!("expected a folder name that begins with a class number from 1 to {classes} and a dot"),
            )
        })?;
        found.push((number, picture));
    }
    if found.is_empty() {
        return Err(Error::format(root, "found no class folder with pictures, expected such as 001.NAME"));
    }
    // By number and not by name: `12.Car` may stand beside `011.Car`.
    found.sort_by_key(|&(number, _)| number);
    Ok(by_number(found, train_classes, [train_classes, classes - train_classes], pictures))
}

fn number(name: &str) -> Option<usize> {
    name.split_once('.')?.0.parse().ok()
}

/// Divides numbered pictures by class and compares the counts with the official ones.
pub fn by_number(found: Vec<(usize, Picture)>, last_train: usize, classes: [usize; 2], pictures: [usize; 2]) -> (Parts, Vec<String>) {
    let (train, test): (Vec<_>, Vec<_>) = found.into_iter().partition(|&(number, _)| number <= last_train);
    let [train, test] = [train, test].map(|part| Dataset::from_pictures(part.into_iter().map(|(_, picture)| picture)));
    let notes =
        compare(&train, "train", classes[0], pictures[0]).into_iter().chain(compare(&test, "test", classes[1], pictures[1])).collect();
    (Parts::Given { train, validation: None, test }, notes)
}

/// A note when a part has other numbers of classes or pictures than the published protocol.
pub fn compare(part: &Dataset, what: &str, classes: usize, pictures: usize) -> Option<String> {
    let found = (part.classes.len(), part.samples.len());
    (found != (classes, pictures)).then(|| {
        format!(
            "Found {} of {classes} {what} classes, {} of {pictures} {what} pictures: figures do not compare with published ones.",
            found.0, found.1
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::sources::folder::touch;

    #[test]
    fn classes_are_divided_by_their_official_number() {
        let root = tempfile::tempdir().unwrap();
        let files = ["images/001.Albatross/a.jpg", "images/100.Pelican/b.jpg", "images/101.Pelican/c.jpg", "images/200.Yellowthroat/d.jpg"];
        touch(root.path(), &files.map(|file| format!("CUB_200_2011/{file}")).each_ref().map(String::as_str));
        for path in [root.path().to_owned(), root.path().join("CUB_200_2011"), root.path().join("CUB_200_2011/images")] {
            let (Parts::Given { train, validation: None, test }, notes) = read(&path).unwrap() else { panic!("parts are given") };
            assert_eq!(train.classes, ["001.Albatross", "100.Pelican"]);
            assert_eq!(test.classes, ["101.Pelican", "200.Yellowthroat"]);
            assert!(notes[0].starts_with("Found 2 of 100 train classes, 2 of 5864 train pictures"), "{notes:?}");
        }
    }

    #[test]
    fn folders_without_a_number_are_named() {
        let root = tempfile::tempdir().unwrap();
        assert!(read(root.path()).unwrap_err().to_string().contains("no class folder"));
        touch(root.path(), &["001.Albatross/a.jpg", "Crow/a.jpg"]);
        assert!(read(root.path()).unwrap_err().to_string().contains("Crow: expected a folder name"));
        touch(root.path(), &["201.Crow/a.jpg"]);
        assert!(read(root.path()).unwrap_err().to_string().contains("201.Crow"));
    }

    #[test]
    fn complete_parts_need_no_note() {
        let whole = Dataset { classes: vec!["a".into()], samples: Vec::new() };
        assert_eq!(compare(&whole, "train", 1, 0), None);
        assert!(compare(&whole, "train", 1, 1).is_some());
    }
}
