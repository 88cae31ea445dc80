//! Stanford Online Products: 11,318 products train, 11,316 test, as `Ebay_train.txt` and `Ebay_test.txt` list them.

use std::path::Path;

use crate::data::sources::cub200::compare;
use crate::data::split::Parts;
use crate::data::{Dataset, Picture};
use crate::error::Result;
use crate::formats::text::{at_line, columns, number, read_text};

const HEADER: &str = "image_id class_id super_class_id path";

/// Reads both lists; the root is the unpacked `Stanford_Online_Products`.
///
/// # Errors
/// [`crate::Error::Io`] when a list cannot be read, [`crate::Error::Format`] with the line for one that is malformed.
pub fn read(root: &Path) -> Result<(Parts, Vec<String>)> {
    let train = read_list(root, "Ebay_train.txt")?;
    let test = read_list(root, "Ebay_test.txt")?;
    let notes = compare(&train, "train", 11_318, 59_551).into_iter().chain(compare(&test, "test", 11_316, 60_502)).collect();
    Ok((Parts::Given { train, validation: None, test }, notes))
}

fn read_list(root: &Path, name: &str) -> Result<Dataset> {
    let path = root.join(name);
    let text = read_text(&path)?;
    let header = text.lines().next().unwrap_or_default();
    if header.split_whitespace().ne(HEADER.split_whitespace()) {
        return Err(at_line(&path, 1, format!("found {header:?}, expected the header {HEADER:?}")));
    }
    let mut pictures = Vec::new();
    for (line, [_, class, super_class, file]) in columns::<4>(&path, &text, 1)? {
        number(&path, line, "class_id", class)?;
        number(&path, line, "super_class_id", super_class)?;
        pictures.push(Picture::below(root, file, class));
    }
    Ok(Dataset::from_pictures(pictures))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn lists_are_read_and_problems_name_the_line() {
        let root = tempfile::tempdir().unwrap();
        let write = |name, rows: &str| fs::write(root.path().join(name), format!("{HEADER}\n{rows}")).unwrap();
        write("Ebay_train.txt", "1 1 1 bicycle_final/1_0.JPG\n2 1 1 bicycle_final/1_1.JPG\n3 2 1 bicycle_final/2_0.JPG\n");
        write("Ebay_test.txt", "4 11319 1 toaster_final/9_0.JPG\n");
        let (Parts::Given { train, test, .. }, notes) = read(root.path()).unwrap() else { panic!("parts are given") };
        assert_eq!((train.classes.len(), train.class_sizes()), (2, vec![2, 1]));
        assert_eq!((test.samples[0].name.as_str(), test.classes[0].as_str()), ("toaster_final/9_0.JPG", "11319"));
        assert!(notes[1].starts_with("Found 1 of 11316 test classes"));

        write("Ebay_test.txt", "4 11319 1\n");
        assert!(read(root.path()).unwrap_err().to_string().contains("Ebay_test.txt:2: found 3 columns"));
        write("Ebay_test.txt", "4 x 1 a.JPG\n");
        assert!(read(root.path()).unwrap_err().to_string().contains("Ebay_test.txt:2: class_id"));
        fs::write(root.path().join("Ebay_test.txt"), "a b\n").unwrap();
        assert!(read(root.path()).unwrap_err().to_string().contains("Ebay_test.txt:1: found \"a b\""));
        fs::remove_file(root.path().join("Ebay_test.txt")).unwrap();
        assert!(read(root.path()).unwrap_err().to_string().contains("Ebay_test.txt"));
    }
}
