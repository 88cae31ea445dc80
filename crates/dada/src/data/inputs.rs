//! Pictures that somebody names on the command line: files, folders and lists.

use std::path::{Path, PathBuf};

use crate::data::sources::folder::{is_picture, sorted_entries};
use crate::data::sources::list::read_rows;
use crate::error::{Error, Result};

/// A picture that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its file.
    pub path: PathBuf,
    /// Its class; empty where none is known.
    pub label: String,
}

/// The pictures of `paths`, in order.
///
/// A folder gives all pictures in it and below, by name, and the folder directly in it names their class; where parts (`train`, `test`,
/// …) come first, the folder in the part does. A `.csv` file is a list of pictures with labels. Any other file is a picture.
///
/// # Errors
/// When a folder or list cannot be read, and when there is no picture.
pub fn collect(paths: &[PathBuf]) -> Result<Vec<Input>> {
    let mut found = Vec::new();
    for path in paths {
        let is_list = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        if path.is_dir() {
            let before = found.len();
            let parts = path.join("train").is_dir();
            walk(path, usize::from(parts), "", &mut found)?;
            if found.len() == before {
                return Err(Error::format(path, "found no picture in this folder or below"));
            }
        } else if is_list {
            let root = path.parent().unwrap_or(Path::new(""));
            found.extend(read_rows(path)?.into_iter().map(|row| Input { path: root.join(row.path), label: row.label }));
        } else {
            found.push(Input { path: path.clone(), label: String::new() });
        }
    }
    if found.is_empty() {
        return Err(Error::Data("no picture was named".to_owned()));
    }
    Ok(found)
}

/// `above` folders have to be entered before one names a class.
fn walk(folder: &Path, above: usize, class: &str, found: &mut Vec<Input>) -> Result<()> {
    for name in sorted_entries(folder)? {
        let path = folder.join(&name);
        if path.is_dir() {
            // A link to a folder above would go round for ever.
            if !path.is_symlink() {
                let class = if above > 0 || !class.is_empty() { class } else { &name };
                walk(&path, above.saturating_sub(1), class, found)?;
            }
        } else if is_picture(&path) {
            found.push(Input { path, label: class.to_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::sources::folder::touch;

    fn found(root: &Path, names: &[&str]) -> Vec<(String, String)> {
        let inputs = collect(&names.iter().map(|name| root.join(name)).collect::<Vec<_>>()).unwrap();
        let relative = |path: PathBuf| path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        inputs.into_iter().map(|input| (relative(input.path), input.label)).collect()
    }

    fn wanted(rows: &[(&str, &str)]) -> Vec<(String, String)> {
        rows.iter().map(|(path, label)| (path.to_string(), label.to_string())).collect()
    }

    #[test]
    fn folders_name_classes_and_order_is_kept() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), &["in/b/2.png", "in/b/deep/1.jpg", "in/a/1.png", "in/top.png", "in/a/notes.txt", "in/.git/x.png", "one.png"]);
        std::fs::write(root.path().join("list.csv"), "path,label\nin/top.png,hat\n").unwrap();
        assert_eq!(
            found(root.path(), &["one.png", "list.csv", "in"]),
            wanted(&[
                ("one.png", ""),
                ("in/top.png", "hat"),
                ("in/a/1.png", "a"),
                ("in/b/2.png", "b"),
                ("in/b/deep/1.jpg", "b"),
                ("in/top.png", "")
            ])
        );
        touch(root.path(), &["parts/train/a/1.png", "parts/test/b/1.png"]);
        assert_eq!(found(root.path(), &["parts"]), wanted(&[("parts/test/b/1.png", "b"), ("parts/train/a/1.png", "a")]));
    }

    #[test]
    fn nothing_to_embed_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert!(collect(&[root.path().to_owned()]).unwrap_err().to_string().contains("found no picture"));
        assert!(collect(&[]).is_err());
        assert!(collect(&[root.path().join("none.csv")]).is_err());
    }
}
