//! Omniglot: handwritten characters of 50 alphabets, 20 drawings each. A class is a character.
//!
//! `images_background` (30 alphabets, 964 characters) trains; its last 10 alphabets validate unless something else is asked for.
//! `images_evaluation` (20 alphabets, 659 characters) tests, where it is there.

use std::path::Path;

use crate::data::sources::cub200::compare;
use crate::data::sources::folder::{is_picture, sorted_entries};
use crate::data::split::Parts;
use crate::data::{Dataset, Picture};
use crate::error::{Error, Result};

const VALIDATION_ALPHABETS: usize = 10;

/// Reads both folders below the root.
///
/// # Errors
/// [`Error::Io`] when a folder cannot be read, [`Error::Format`] for one that holds no alphabets, or too few to hold some out.
pub fn read(root: &Path) -> Result<(Parts, Vec<String>)> {
    let background = root.join("images_background");
    let whole = read_alphabets(&background)?;
    let mut alphabets: Vec<String> = whole.classes.iter().map(|class| alphabet(class).to_owned()).collect();
    alphabets.dedup();
    if alphabets.len() <= VALIDATION_ALPHABETS {
        return Err(Error::format(background, format!("found {} alphabets, expected more than {VALIDATION_ALPHABETS}", alphabets.len())));
    }
    let mut notes: Vec<String> = compare(&whole, "background", 964, 19_280).into_iter().collect();
    let held_out = &alphabets[alphabets.len() - VALIDATION_ALPHABETS..];
    let validates: Vec<bool> = whole.classes.iter().map(|class| held_out.iter().any(|held| held == alphabet(class))).collect();
    let (validation, train) = whole.divided(|class| validates[class]);
    let evaluation = root.join("images_evaluation");
    let test = if evaluation.is_dir() { read_alphabets(&evaluation)? } else { Dataset::default() };
    notes.extend(compare(&test, "test", 659, 13_180));
    Ok((Parts::Given { train, validation: Some(validation), test }, notes))
}

fn alphabet(class: &str) -> &str {
    class.split_once('/').map_or(class, |(alphabet, _)| alphabet)
}

fn read_alphabets(root: &Path) -> Result<Dataset> {
    let mut pictures = Vec::new();
    for alphabet in sorted_entries(root)? {
        let alphabet_folder = root.join(&alphabet);
        if !alphabet_folder.is_dir() {
            continue;
        }
        for character in sorted_entries(&alphabet_folder)? {
            let (folder, class) = (alphabet_folder.join(&character), format!("{alphabet}/{character}"));
            if !folder.is_dir() {
                let expected = "expected ALPHABET/CHARACTER/PICTURE.png";
                return Err(Error::format(folder, format!("found a file among the characters, {expected}")));
            }
            let files = sorted_entries(&folder)?.into_iter().filter(|file| is_picture(Path::new(file)));
            pictures.extend(files.map(|file| Picture::below(root, &format!("{class}/{file}"), class.clone())));
        }
    }
    if pictures.is_empty() {
        return Err(Error::format(root, "found no pictures, expected ALPHABET/CHARACTER/PICTURE.png"));
    }
    Ok(Dataset::from_pictures(pictures))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::sources::folder::touch;

    #[test]
    fn the_last_ten_alphabets_validate() {
        let root = tempfile::tempdir().unwrap();
        let files: Vec<String> =
            (0..12).map(|alphabet| format!("images_background/Alphabet_{alphabet:02}/character01/0001_01.png")).collect();
        touch(root.path(), &files.iter().map(String::as_str).collect::<Vec<_>>());
        touch(root.path(), &["images_background/Alphabet_11/character02/0002_01.png", "images_evaluation/Z/character01/0003_01.png"]);
        let (Parts::Given { train, validation: Some(validation), test }, notes) = read(root.path()).unwrap() else {
            panic!("parts are given")
        };
        assert_eq!(train.classes, ["Alphabet_00/character01", "Alphabet_01/character01"]);
        assert_eq!((validation.classes.len(), validation.classes.last().unwrap().as_str()), (11, "Alphabet_11/character02"));
        assert_eq!(test.classes, ["Z/character01"]);
        assert!(notes[0].starts_with("Found 13 of 964 background classes"));
    }

    #[test]
    fn other_layouts_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let problem = || read(root.path()).unwrap_err().to_string();
        assert!(problem().contains("images_background"));
        touch(root.path(), &["images_background/Greek/character01/1.png"]);
        assert!(problem().contains("found 1 alphabets"));
        touch(root.path(), &["images_background/Latin/1.png"]);
        assert!(problem().contains("Latin/1.png: found a file among the characters"));
    }
}
