//! DeepFashion In-Shop Clothes Retrieval: 3,997 items train, 3,985 test, where queries are searched in a gallery.
//!
//! Published figures are those of `img.zip` (256 x 256 pixels), not of the high-resolution pictures.

use std::path::Path;

use crate::data::sources::cub200::compare;
use crate::data::split::Parts;
use crate::data::{Dataset, Picture};
use crate::error::{Error, Result};
use crate::formats::text::{at_line, columns, number, read_text};
use crate::roles::Roles;

/// Reads `list_eval_partition.txt`, in the root or its `Eval`; the root holds `img`. Queries come before the gallery in the test part.
///
/// # Errors
/// [`Error::Io`] when the list cannot be read, [`Error::Format`] with the line where it is malformed.
pub fn read(root: &Path) -> Result<(Parts, Roles, Vec<String>)> {
    let lists = ["list_eval_partition.txt", "Eval/list_eval_partition.txt"].map(|name| root.join(name));
    let path = lists.iter().find(|path| path.is_file()).unwrap_or(&lists[0]);
    let text = read_text(path)?;
    let declared = number(path, 1, "the number of pictures", text.lines().next().unwrap_or_default().trim())?;
    let rows = columns::<3>(path, &text, 2)?;
    if rows.len() != declared {
        return Err(Error::format(path, format!("found {} pictures, expected the {declared} that line 1 declares", rows.len())));
    }
    let (mut train, mut query, mut gallery) = (Vec::new(), Vec::new(), Vec::new());
    for (line, [file, item, status]) in rows {
        let part = match status {
            "train" => &mut train,
            "query" => &mut query,
            "gallery" => &mut gallery,
            other => return Err(at_line(path, line, format!("found {other:?}, expected train, query or gallery"))),
        };
        part.push(Picture::below(root, file, item));
    }
    let counts = [train.len(), query.len(), gallery.len()];
    let roles = Roles { query: (0..counts[1]).collect(), gallery: (counts[1]..counts[1] + counts[2]).collect() };
    let (train, test) = (Dataset::from_pictures(train), Dataset::from_pictures(query.into_iter().chain(gallery)));
    let mut notes: Vec<String> = compare(&train, "train", 3_997, 25_882).into_iter().chain(compare(&test, "test", 3_985, 26_830)).collect();
    if counts[1..] != [14_218, 12_612] {
        notes.push(format!("Found {} of 14218 queries, {} of 12612 gallery pictures.", counts[1], counts[2]));
    }
    Ok((Parts::Given { train, validation: None, test }, roles, notes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_list_gives_parts_and_roles() {
        let root = tempfile::tempdir().unwrap();
        let list = root.path().join("Eval/list_eval_partition.txt");
        fs::create_dir_all(list.parent().unwrap()).unwrap();
        let rows = "img/WOMEN/Dresses/id_00000001/02_1_front.jpg     id_00000001 train\n\
                    img/WOMEN/Dresses/id_00000007/01_1_front.jpg     id_00000007 gallery\n\
                    img/WOMEN/Dresses/id_00000007/02_1_front.jpg     id_00000007 query\n";
        let write = |count: &str, rows: &str| fs::write(&list, format!("{count}\nimage_name item_id evaluation_status\n{rows}")).unwrap();
        write("3", rows);
        let (Parts::Given { train, test, .. }, roles, notes) = read(root.path()).unwrap() else { panic!("parts are given") };
        assert_eq!((train.samples.len(), test.classes), (1, vec!["id_00000007".to_owned()]));
        assert_eq!(test.samples[0].name, "img/WOMEN/Dresses/id_00000007/02_1_front.jpg");
        assert_eq!(roles, Roles { query: vec![0], gallery: vec![1] });
        assert_eq!(notes.len(), 3);

        let problem = || read(root.path()).unwrap_err().to_string();
        write("4", rows);
        assert!(problem().contains("found 3 pictures, expected the 4"));
        write("1", "a.jpg id_1 val\n");
        assert!(problem().contains("list_eval_partition.txt:3: found \"val\""));
        write("1", "a.jpg id_1\n");
        assert!(problem().contains("list_eval_partition.txt:3: found 2 columns"));
        write("many", rows);
        assert!(problem().contains("list_eval_partition.txt:1: the number of pictures"));
        fs::remove_file(&list).unwrap();
        assert!(problem().contains("list_eval_partition.txt"));
    }
}
