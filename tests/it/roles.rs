//! Queries and gallery: where a data set names them, a query is searched in the gallery alone.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::tiny::{printed, run, train};

const RED: [u8; 3] = [220, 30, 30];
const BLUE: [u8; 3] = [20, 40, 230];

/// Item, colour and part of each picture. The queries of an item look like each other and like the other item's gallery.
const TEST: [(&str, [u8; 3], &str); 6] = [
    ("id_00000007", RED, "query"),
    ("id_00000007", RED, "query"),
    ("id_00000008", BLUE, "query"),
    ("id_00000008", BLUE, "query"),
    ("id_00000007", BLUE, "gallery"),
    ("id_00000008", RED, "gallery"),
];

/// In-Shop's official layout: `img/…/item/NN_V_view.jpg` (here PNG) and `Eval/list_eval_partition.txt`. Five training items of four pictures.
fn tree(root: &Path) {
    let train = (1..=5u8).flat_map(|item| (0..4u8).map(move |_| (format!("id_0000000{item}"), [item * 50, 250 - item * 40, 90], "train")));
    let test = TEST.iter().map(|&(item, colour, part)| (item.to_owned(), colour, part));
    let mut rows = String::new();
    let pictures: Vec<_> = train.chain(test).collect();
    for (number, (item, colour, part)) in pictures.iter().enumerate() {
        let name = format!("img/WOMEN/Dresses/{item}/{number:02}_1_front.png");
        let path = root.join(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let pixel = |x: u32, y: u32| Rgb(colour.map(|value: u8| value.saturating_add((x * 3 + y + number as u32) as u8 % 7)));
        RgbImage::from_fn(20, 24, pixel).save(&path).unwrap();
        writeln!(rows, "{name}     {item} {part}").unwrap();
    }
    fs::create_dir_all(root.join("Eval")).unwrap();
    let list = format!("{}\nimage_name item_id evaluation_status\n{rows}", pictures.len());
    fs::write(root.join("Eval/list_eval_partition.txt"), list).unwrap();
}

fn measured(words: &[&str]) -> [Option<f64>; 2] {
    let found: Value = serde_json::from_str(&printed(&[&["evaluate"], words, &["--json"]].concat())).unwrap();
    [found["queries"].as_f64(), found["recall@1"].as_f64()]
}

#[test]
fn in_shop_searches_its_gallery_in_training_and_evaluation() {
    let root = tempfile::tempdir().unwrap();
    tree(root.path());
    let folder = root.path().join("run");
    let path = format!("data.path={}", root.path().display());
    train(&folder, &["data.source=inshop", &path, "sampler.batch_size=6"]);

    let metrics: Value = serde_json::from_slice(&fs::read(folder.join("metrics.json")).unwrap()).unwrap();
    assert_eq!((metrics["measured_on"].as_str(), metrics["test"]["recall@1"].as_f64()), (Some("test"), Some(0.0)), "{metrics}");
    let run = folder.to_str().unwrap();
    assert_eq!(measured(&[run]), [Some(4.0), Some(0.0)]);
    assert_eq!(measured(&[run, "--data", &format!("inshop:{}", root.path().display())]), [Some(4.0), Some(0.0)]);
    // Without roles each picture finds its twin, or the other item's gallery.
    let [queries, recall] = measured(&[run, "--data", &format!("folder:{}", root.path().join("img/WOMEN/Dresses").display())]);
    assert!(queries == Some(26.0) && recall > Some(0.5), "{queries:?} {recall:?}");
}

#[test]
fn a_list_names_queries_and_gallery() {
    let root = tempfile::tempdir().unwrap();
    tree(root.path());
    let list = fs::read_to_string(root.path().join("Eval/list_eval_partition.txt")).unwrap();
    let rows: Vec<Vec<&str>> = list.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
    let model = run().to_str().unwrap();
    let measured = |name: &str, header: &str, row: &dyn Fn(&[&str]) -> Option<String>| {
        let lines: String = rows.iter().filter_map(|row_of| row(row_of)).collect();
        fs::write(root.path().join(name), format!("{header}\n{lines}")).unwrap();
        measured(&[model, "--data", &format!("csv:{}", root.path().join(name).display())])
    };
    let roles = |row: &[&str]| format!("{},{}", row[2] == "query", row[2] == "gallery");
    let divided = measured("parts.csv", "path,label,split,is_query,is_gallery", &|row| {
        let part = if row[2] == "train" { "train" } else { "test" };
        Some(format!("{},{},{part},{}\n", row[0], row[1], roles(row)))
    });
    let whole = measured("whole.csv", "path,label,is_query,is_gallery", &|row| {
        (row[2] != "train").then(|| format!("{},{},{}\n", row[0], row[1], roles(row)))
    });
    assert_eq!((divided, whole), ([Some(4.0), Some(0.0)], [Some(4.0), Some(0.0)]));
}
