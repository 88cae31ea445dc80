//! One folder for each class, as people sort pictures.
//!
//! Either the class folders lie directly in the root, or in `train`, `validation` (or `val`) and `test` below it.

use std::fs;
use std::path::Path;

use crate::data::split::Parts;
use crate::data::{Dataset, Picture, Pixels};
use crate::error::{AtPath, Error, Result};

const EXTENSIONS: [&str; 6] = ["jpg", "jpeg", "png", "webp", "gif", "jfif"];

/// Reads a tree of class folders; `given` says whether it has folders for the parts.
///
/// # Errors
/// [`Error::Io`] when a folder cannot be read, [`Error::Format`] when there is no class folder with pictures.
pub fn read(root: &Path) -> Result<Parts> {
    let part = |names: &[&str]| names.iter().map(|name| root.join(name)).find(|path| path.is_dir());
    let Some(train) = part(&["train"]) else {
        let pictures = class_folders(root)?;
        if pictures.is_empty() {
            return Err(Error::format(root, "found no folder with pictures, expected one folder for each class"));
        }
        return Ok(Parts::Whole(Dataset::from_pictures(pictures)));
    };
    let read = |path: Option<std::path::PathBuf>| -> Result<Option<Dataset>> {
        path.map(|path| class_folders(&path).map(Dataset::from_pictures)).transpose()
    };
    let train = Dataset::from_pictures(class_folders(&train)?);
    if train.samples.is_empty() {
        return Err(Error::format(root.join("train"), "found no folder with pictures, expected one folder for each class"));
    }
    Ok(Parts::Given { train, validation: read(part(&["validation", "val", "valid"]))?, test: read(part(&["test"]))?.unwrap_or_default() })
}

/// The pictures of every folder in `root`, and of the folders below those; folders and files in the order of their names.
///
/// # Errors
/// [`Error::Io`] when a folder cannot be read.
pub fn class_folders(root: &Path) -> Result<Vec<Picture>> {
    let mut pictures = Vec::new();
    for class in sorted_entries(root)? {
        let folder = root.join(&class);
        if folder.is_dir() {
            collect(&folder, &class, &class, &mut pictures)?;
        }
    }
    Ok(pictures)
}

fn collect(folder: &Path, name: &str, class: &str, pictures: &mut Vec<Picture>) -> Result<()> {
    for entry in sorted_entries(folder)? {
        let (path, name) = (folder.join(&entry), format!("{name}/{entry}"));
        if path.is_dir() {
            // A link to a folder above would go round for ever.
            if !path.is_symlink() {
                collect(&path, &name, class, pictures)?;
            }
        } else if is_picture(&path) {
            pictures.push(Picture { class: class.to_owned(), pixels: Pixels::File(path), name });
        }
    }
    Ok(())
}

/// Whether a file is meant to be a picture that can be read. Its content is looked at when it is decoded.
pub fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// The names in a folder in order, hidden ones left out.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be read, [`Error::Format`] for a name that is not Unicode.
pub fn sorted_entries(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).at(folder)? {
        let name = entry.at(folder)?.file_name();
        let name = name.into_string().map_err(|name| Error::format(folder.join(name), "the name is not Unicode: rename it"))?;
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Makes empty files, with the folders that they need, for the tests of the readers.
#[cfg(test)]
pub fn touch(root: &Path, files: &[&str]) {
    for file in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, []).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_folders_and_other_files_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        touch(
            root.path(),
            &["cat/b.JPG", "cat/a.png", "cat/more/c.webp", "dog/x.jpeg", "dog/notes.txt", ".cache/y.png", "top.png", "empty/.k"],
        );
        let Parts::Whole(dataset) = read(root.path()).unwrap() else { panic!("no parts were given") };
        assert_eq!(dataset.classes, ["cat", "dog"]);
        let names: Vec<_> = dataset.samples.iter().map(|sample| (sample.label, sample.name.as_str())).collect();
        assert_eq!(names, [(0, "cat/a.png"), (0, "cat/b.JPG"), (0, "cat/more/c.webp"), (1, "dog/x.jpeg")]);
    }

    #[test]
    fn given_parts_are_kept() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), &["train/a/1.png", "val/b/1.png", "test/c/1.png", "test/d/1.png"]);
        let Parts::Given { train, validation, test } = read(root.path()).unwrap() else { panic!("parts were given") };
        assert_eq!((train.classes, validation.unwrap().classes), (vec!["a".to_owned()], vec!["b".to_owned()]));
        assert_eq!(test.classes, ["c", "d"]);
    }

    #[test]
    fn a_folder_without_classes_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), &["picture.png"]);
        assert!(read(root.path()).unwrap_err().to_string().contains("one folder for each class"));
        touch(root.path(), &["train/x.png"]);
        assert!(read(root.path()).unwrap_err().to_string().contains("train: found no folder"));
        assert!(read(&root.path().join("missing")).unwrap_err().to_string().contains("missing"));
    }
}
