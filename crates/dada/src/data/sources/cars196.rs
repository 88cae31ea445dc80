//! Stanford Cars (CARS196): classes 1 to 98 train, 99 to 196 test, of all 16,185 pictures.
//!
//! The official halves are for classification, where classes overlap, and are put together. Three layouts are read: class folders
//! named by number (`001.NAME`); class folders named by name, below `train` and `test`, with `names.csv` that lists the names in the
//! official order; and the annotations in MATLAB files, `cars_annos.mat` or `cars_train_annos.mat` with
//! `cars_test_annos_withlabels.mat`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::data::sources::cub200::{by_number, numbered};
use crate::data::sources::folder::{class_folders, sorted_entries};
use crate::data::split::Parts;
use crate::data::{Picture, Pixels};
use crate::error::{Error, Result};
use crate::formats::mat::{self, Value};
use crate::formats::text::read_text;

const CLASSES: usize = 196;
const TRAIN_CLASSES: usize = 98;
const PICTURES: [usize; 2] = [8_054, 8_131];

/// Reads whichever layout is there.
///
/// # Errors
/// [`Error::Io`] when a file cannot be read, [`Error::Format`] for a malformed file, a class that is not one of the 196, or no layout.
pub fn read(root: &Path) -> Result<(Parts, Vec<String>)> {
    let find =
        |name: &str| ["", "devkit", "car_devkit/devkit"].iter().map(|folder| root.join(folder).join(name)).find(|path| path.is_file());
    let pictures = if let Some(annotations) = find("cars_annos.mat") {
        annotated(&annotations, root)?
    } else if let Some(train) = find("cars_train_annos.mat") {
        let test = find("cars_test_annos_withlabels.mat").ok_or_else(|| {
            Error::format(
                root,
                "found cars_train_annos.mat, expected cars_test_annos_withlabels.mat too: half of the pictures of every class are there",
            )
        })?;
        let mut pictures = annotated(&train, &picture_folder(root, "cars_train")?)?;
        pictures.extend(annotated(&test, &picture_folder(root, "cars_test")?)?);
        pictures
    } else if root.join("train").is_dir() || root.join("car_data").is_dir() {
        by_name(root)?
    } else {
        return numbered(root, CLASSES, TRAIN_CLASSES, PICTURES);
    };
    Ok(by_number(pictures, TRAIN_CLASSES, [TRAIN_CLASSES, CLASSES - TRAIN_CLASSES], PICTURES))
}

/// The hub copies of the data set put the folder into one of the same name.
fn picture_folder(root: &Path, name: &str) -> Result<PathBuf> {
    let candidates = [root.join(name).join(name), root.join(name)];
    candidates
        .into_iter()
        .find(|path| path.is_dir())
        .ok_or_else(|| Error::format(root.join(name), "found no folder, expected the pictures"))
}

fn annotated(path: &Path, pictures: &Path) -> Result<Vec<(usize, Picture)>> {
    let variables = mat::read(path)?;
    let Some(Value::Records(records)) = variables.get("annotations") else {
        let names: Vec<&str> = variables.keys().map(String::as_str).collect();
        return Err(Error::format(path, format!("found the variables {}, expected records called annotations", names.join(", "))));
    };
    let mut found = Vec::with_capacity(records.len());
    for (row, record) in records.iter().enumerate() {
        found.push(annotation(record, pictures).map_err(|problem| Error::format(path, format!("annotation {}: {problem}", row + 1)))?);
    }
    // In the order of the classes, so that the last classes are those with the largest numbers.
    found.sort_by_key(|&(class, _)| class);
    Ok(found)
}

fn annotation(record: &BTreeMap<String, Value>, pictures: &Path) -> Result<(usize, Picture), String> {
    let class = match record.get("class") {
        Some(Value::Numbers(class)) if class.len() == 1 && (1.0..=CLASSES as f64).contains(&class[0]) => class[0] as usize,
        other => return Err(format!("class is {other:?}, expected a number from 1 to {CLASSES}")),
    };
    let file = match record.get("fname").or_else(|| record.get("relative_im_path")) {
        Some(Value::Text(file)) if Path::new(file).is_relative() && !file.contains("..") => file,
        other => return Err(format!("fname is {other:?}, expected the path of a picture")),
    };
    Ok((class, Picture::below(pictures, file, format!("{class:03}"))))
}

/// Folders with the names of the classes, which are numbered in `names.csv`.
fn by_name(root: &Path) -> Result<Vec<(usize, Picture)>> {
    let data = [root.join("car_data/car_data"), root.join("car_data"), root.to_owned()];
    let data = data.iter().find(|path| path.join("train").is_dir()).ok_or_else(|| Error::format(root, "found no folder `train`"))?;
    let names = root.join("names.csv");
    if !names.is_file() {
        return Err(Error::format(
            names,
            "not found: it lists the class names in the official order, which decides what trains and what tests",
        ));
    }
    // Folder names cannot hold the slash of one class, and spellings of spaces differ.
    let plain = |name: &str| name.chars().filter(|character| character.is_alphanumeric()).collect::<String>();
    let numbers: HashMap<String, usize> =
        read_text(&names)?.lines().filter(|line| !line.trim().is_empty()).enumerate().map(|(row, name)| (plain(name), row + 1)).collect();
    if numbers.len() != CLASSES {
        return Err(Error::format(names, format!("found {} different names, expected {CLASSES}", numbers.len())));
    }
    let mut found = Vec::new();
    for half in sorted_entries(data)?.into_iter().filter(|half| ["train", "test"].contains(&half.as_str())) {
        for Picture { class, pixels, name } in class_folders(&data.join(&half))? {
            let number = *numbers
                .get(&plain(&class))
                .ok_or_else(|| Error::format(data.join(&half).join(&class), "a class that names.csv does not list"))?;
            let pixels: Pixels = pixels;
            found.push((number, Picture { class: format!("{number:03}.{class}"), pixels, name: format!("{half}/{name}") }));
        }
    }
    found.sort_by_key(|&(class, _)| class);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::sources::folder::touch;
    use crate::formats::mat::write;
    use std::fs;

    fn classes(root: &Path) -> (Vec<String>, Vec<String>) {
        let (Parts::Given { train, test, .. }, _) = read(root).unwrap() else { panic!("parts are given") };
        (train.classes, test.classes)
    }

    fn annotations(field: &str, rows: &[(u8, &str)]) -> Vec<u8> {
        let records: Vec<_> = rows.iter().map(|&(class, file)| vec![write::number(class), write::text(file)]).collect();
        write::file("annotations", &["class", field], &records, true)
    }

    #[test]
    fn numbered_folders() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), &["098.Dodge/1.jpg", "099.Dodge/2.jpg", "001.AM_General/3.jpg"]);
        assert_eq!(classes(root.path()), (vec!["001.AM_General".into(), "098.Dodge".into()], vec!["099.Dodge".into()]));
    }

    #[test]
    fn annotations_of_both_kinds() {
        let root = tempfile::tempdir().unwrap();
        let train = root.path().join("devkit/cars_train_annos.mat");
        touch(root.path(), &["devkit/cars_train_annos.mat", "cars_train/00001.jpg", "cars_test/00001.jpg"]);
        fs::write(&train, annotations("fname", &[(14, "00001.jpg"), (3, "00002.jpg")])).unwrap();
        assert!(read(root.path()).unwrap_err().to_string().contains("cars_test_annos_withlabels.mat"));
        fs::write(root.path().join("devkit/cars_test_annos_withlabels.mat"), annotations("fname", &[(181, "00001.jpg"), (3, "00007.jpg")]))
            .unwrap();
        assert_eq!(classes(root.path()), (vec!["003".into(), "014".into()], vec!["181".into()]));
        fs::write(root.path().join("cars_annos.mat"), annotations("relative_im_path", &[(99, "car_ims/000001.jpg")])).unwrap();
        assert_eq!(classes(root.path()), (vec![], vec!["099".into()]));
        fs::write(root.path().join("cars_annos.mat"), annotations("relative_im_path", &[(9, "a.jpg"), (197, "b.jpg")])).unwrap();
        assert!(read(root.path()).unwrap_err().to_string().contains("cars_annos.mat: annotation 2: class is"));
        fs::write(root.path().join("cars_annos.mat"), annotations("fname", &[(9, "../../etc/passwd")])).unwrap();
        assert!(read(root.path()).unwrap_err().to_string().contains("annotation 1: fname"));
        fs::write(root.path().join("cars_annos.mat"), write::file("other", &["class"], &[vec![write::number(1)]], false)).unwrap();
        assert!(read(root.path()).unwrap_err().to_string().contains("found the variables other"));
    }

    #[test]
    fn named_folders_need_the_official_order() {
        let root = tempfile::tempdir().unwrap();
        touch(
            root.path(),
            &[
                "car_data/car_data/train/Zebra C-V 2012/1.jpg",
                "car_data/car_data/test/Zebra C-V 2012/2.jpg",
                "car_data/car_data/test/Car 100/3.jpg",
            ],
        );
        assert!(read(root.path()).unwrap_err().to_string().contains("names.csv: not found"));
        let names: Vec<String> =
            (1..=196).map(|number| if number == 5 { "Zebra C/V 2012".into() } else { format!("Car {number}") }).collect();
        fs::write(root.path().join("names.csv"), names.join("\n")).unwrap();
        assert_eq!(classes(root.path()), (vec!["005.Zebra C-V 2012".into()], vec!["100.Car 100".into()]));
        touch(root.path(), &["car_data/car_data/train/Tram/1.jpg"]);
        assert!(read(root.path()).unwrap_err().to_string().contains("Tram: a class that names.csv does not list"));
    }
}
