//! The embedded data set: 1,230 emoji as up to six vendors draw them, 6,147 pictures of 48 x 48 pixels.
//!
//! A class is one emoji and its samples are the vendors' drawings, so that retrieval means: find what somebody else drew for the
//! same idea. `assets/emoji/build.py` made the files and `assets/emoji/ATTRIBUTION.md` names the artists and their licences.
//!
//! The atlas holds one class after the other in the order of the table, `CLASSES_PER_ROW` to a row of tiles, each with one tile
//! per vendor; the table says which tiles hold a drawing, the others are blank.

use std::collections::HashSet;
use std::io::Cursor;
use std::sync::Arc;

use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, GenericImageView, ImageDecoder};

use crate::data::{Pixels, Sample, Split, Splits};
use crate::error::{Error, Result};

/// Who drew, in the order of the columns of both files.
pub const VENDORS: [&str; 6] = ["noto", "noto-v1", "twemoji", "fluent-emoji-flat", "emojione", "fxemoji"];
/// Height and width of a drawing in pixels.
pub const SIDE: u32 = 48;

const CLASSES_PER_ROW: usize = 14;
// The longest side that a WebP file can state: beyond it nothing is allocated.
const LONGEST_SIDE: usize = 16_383;

const ATLAS_FILE: &str = "assets/emoji/emoji.webp";
const TABLE_FILE: &str = "assets/emoji/classes.csv";
const ATLAS: &[u8] = include_bytes!("../../../assets/emoji/emoji.webp");
const TABLE: &[u8] = include_bytes!("../../../assets/emoji/classes.csv");
const ATLAS_BLAKE3: &str = "53b54ce8d6df572ba3ba6210ddf53ca9ea82ac30b6a09a71fcda7de85dc1d840";
const TABLE_BLAKE3: &str = "08c1932379587cd161bfbce4e01f3fb2587a949c5aa3d9c2f551dd92ee6dcb44";

/// Decodes the embedded pictures: half of the classes train, a sixth validate, a third test.
///
/// Classes are in alphabetical order within each part, samples in the order of class and vendor, named like `owl/twemoji`.
///
/// # Errors
/// [`Error::Format`] that names the file when the embedded bytes are not those that the project ships.
pub fn load() -> Result<Splits> {
    load_verified(ATLAS, TABLE)
}

fn load_verified(atlas: &[u8], table: &[u8]) -> Result<Splits> {
    for (file, bytes, expected) in [(ATLAS_FILE, atlas, ATLAS_BLAKE3), (TABLE_FILE, table, TABLE_BLAKE3)] {
        let found = blake3::hash(bytes).to_hex();
        if found.as_str() != expected {
            return Err(Error::format(file, format!("corrupted: its blake3 checksum is {found}, expected {expected}")));
        }
    }
    let table = std::str::from_utf8(table).map_err(|error| Error::format(TABLE_FILE, error.to_string()))?;
    decode(atlas, table)
}

/// The pictures of a pack whose origin nobody vouches for.
fn decode(atlas: &[u8], table: &str) -> Result<Splits> {
    let rows = read_table(table)?;
    let atlas = read_atlas(atlas, rows.len())?;
    let mut splits = Splits::default();
    for (index, row) in rows.into_iter().enumerate() {
        let part = splits.part_mut(row.split);
        let label = part.classes.len();
        for (column, vendor) in VENDORS.iter().enumerate().filter(|&(column, _)| row.drawn[column]) {
            let x = (index % CLASSES_PER_ROW * VENDORS.len() + column) as u32 * SIDE;
            let y = (index / CLASSES_PER_ROW) as u32 * SIDE;
            let tile = atlas.view(x, y, SIDE, SIDE).to_image();
            let name = format!("{}/{vendor}", row.name);
            part.samples.push(Sample { pixels: Pixels::Memory(Arc::new(tile)), label, name });
        }
        part.classes.push(row.name);
    }
    Ok(splits)
}

struct Row {
    name: String,
    split: Split,
    drawn: [bool; VENDORS.len()],
}

fn read_table(table: &str) -> Result<Vec<Row>> {
    let header = format!("name,split,{}", VENDORS.join(","));
    let mut lines = table.lines();
    let found = lines.next().unwrap_or_default();
    if found != header {
        return Err(Error::format(format!("{TABLE_FILE}:1"), format!("the header is `{found}`, expected `{header}`")));
    }
    let mut names = HashSet::new();
    lines
        .enumerate()
        .map(|(index, line)| {
            let wrong = |problem| Error::format(format!("{TABLE_FILE}:{}", index + 2), problem);
            let row = read_row(line).map_err(wrong)?;
            if !names.insert(row.name.clone()) {
                return Err(wrong(format!("class `{}` appears twice", row.name)));
            }
            Ok(row)
        })
        .collect()
}

fn read_row(line: &str) -> Result<Row, String> {
    let fields: Vec<&str> = line.split(',').collect();
    let [name, split, marks @ ..] = fields.as_slice() else {
        return Err(format!("`{line}` is not a row of {} columns", VENDORS.len() + 2));
    };
    if name.is_empty() || marks.len() != VENDORS.len() {
        return Err(format!("found class `{name}` with {} columns, expected a name and {} columns", fields.len(), VENDORS.len() + 2));
    }
    let split = split.parse().map_err(|_| format!("split `{split}`, expected `train`, `validation` or `test`"))?;
    let mut drawn = [false; VENDORS.len()];
    for (drawn, mark) in drawn.iter_mut().zip(marks) {
        *drawn = match *mark {
            "0" => false,
            "1" => true,
            other => return Err(format!("`{other}` in a vendor's column, expected 0 or 1")),
        };
    }
    if drawn.iter().filter(|&&drawn| drawn).count() < 2 {
        return Err(format!("class `{name}` has fewer than two drawings: there is nothing to retrieve"));
    }
    Ok(Row { name: (*name).to_owned(), split, drawn })
}

fn read_atlas(bytes: &[u8], classes: usize) -> Result<image::RgbImage> {
    let rows = classes.div_ceil(CLASSES_PER_ROW);
    if classes == 0 || rows * SIDE as usize > LONGEST_SIDE {
        return Err(Error::format(
            TABLE_FILE,
            format!("{classes} classes, expected at least one and an atlas at most {LONGEST_SIDE} pixels high"),
        ));
    }
    let expected = ((CLASSES_PER_ROW * VENDORS.len()) as u32 * SIDE, rows as u32 * SIDE);
    let broken = |error: image::ImageError| Error::format(ATLAS_FILE, error.to_string());
    let decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(broken)?;
    let found = decoder.dimensions();
    if found != expected {
        let problem = format!("{} x {} pixels, expected {} x {} for {classes} classes", found.0, found.1, expected.0, expected.1);
        return Err(Error::format(ATLAS_FILE, problem));
    }
    Ok(DynamicImage::from_decoder(decoder).map_err(broken)?.into_rgb8())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> &'static str {
        std::str::from_utf8(TABLE).unwrap()
    }

    fn message<T>(result: Result<T>) -> String {
        result.err().expect("bad bytes were accepted").to_string()
    }

    #[test]
    fn every_part_has_its_classes_and_pictures() {
        let Splits { train, validation, test } = load().unwrap();
        let sizes = [&train, &validation, &test].map(|part| (part.classes.len(), part.samples.len()));
        assert_eq!(sizes, [(615, 3048), (205, 1044), (410, 2055)]);

        let names: HashSet<&String> = [&train, &validation, &test].into_iter().flat_map(|part| &part.classes).collect();
        assert_eq!(names.len(), 1230, "a class is in two parts");

        let mut per_vendor = [0; VENDORS.len()];
        for part in [&train, &validation, &test] {
            assert!(part.classes.is_sorted());
            let mut per_class = vec![0; part.classes.len()];
            for sample in &part.samples {
                per_class[sample.label] += 1;
                let (class, vendor) = sample.name.split_once('/').unwrap();
                assert_eq!(class, part.classes[sample.label]);
                per_vendor[VENDORS.iter().position(|&known| known == vendor).unwrap()] += 1;
            }
            assert!(per_class.iter().all(|count| (3..=6).contains(count)));
        }
        assert_eq!(per_vendor, [1229, 1169, 1218, 1169, 1129, 233]);
    }

    #[test]
    fn every_picture_shows_something_and_no_two_are_the_same() {
        let Splits { train, validation, test } = load().unwrap();
        let mut seen = HashSet::new();
        for sample in [train, validation, test].into_iter().flat_map(|part| part.samples) {
            let Pixels::Memory(picture) = &sample.pixels else { panic!("{} is not in memory", sample.name) };
            assert_eq!(picture.dimensions(), (SIDE, SIDE));
            let ink = picture.iter().map(|&value| u32::from(255 - value)).sum::<u32>() as f64 / picture.len() as f64;
            assert!(ink > 0.7, "{} is blank: {ink}", sample.name);
            assert!(seen.insert(blake3::hash(picture)), "{} is a copy", sample.name);
        }
    }

    #[test]
    fn a_tile_is_the_drawing_that_its_name_says() {
        let splits = load().unwrap();
        let mean = |name: &str| {
            let parts = [&splits.train, &splits.validation, &splits.test];
            let sample = parts.into_iter().flat_map(|part| &part.samples).find(|sample| sample.name == name).unwrap();
            let Pixels::Memory(picture) = &sample.pixels else { panic!("{name} is not in memory") };
            [0, 1, 2].map(|channel| picture.pixels().map(|pixel| f64::from(pixel[channel])).sum::<f64>() / f64::from(SIDE * SIDE))
        };
        for vendor in &VENDORS[..4] {
            let [red, green, blue] = mean(&format!("red-heart/{vendor}"));
            assert!(red > green + 20.0 && red > blue + 20.0, "{vendor}'s red heart is {red} {green} {blue}");
            let [red, green, blue] = mean(&format!("blue-heart/{vendor}"));
            assert!(blue > red + 20.0 && blue > green, "{vendor}'s blue heart is {red} {green} {blue}");
        }
    }

    #[test]
    fn the_attribution_states_the_checksums() {
        let attribution = include_str!("../../../assets/emoji/ATTRIBUTION.md");
        assert!(attribution.contains(ATLAS_BLAKE3) && attribution.contains(TABLE_BLAKE3));
    }

    #[test]
    fn one_changed_byte_is_noticed_and_the_file_named() {
        let mut atlas = ATLAS.to_vec();
        atlas[2_000_000] ^= 1;
        let error = message(load_verified(&atlas, TABLE));
        assert!(error.contains(ATLAS_FILE) && error.contains("checksum"), "{error}");
        let table = table().replacen("train", "tests", 1);
        let error = message(load_verified(ATLAS, table.as_bytes()));
        assert!(error.contains(TABLE_FILE) && error.contains("checksum"), "{error}");
    }

    #[test]
    fn a_broken_atlas_is_an_error_that_names_it() {
        for atlas in [&[][..], b"not a picture", &ATLAS[..ATLAS.len() / 2]] {
            let error = message(decode(atlas, table()));
            assert!(error.contains(ATLAS_FILE), "{error}");
        }
        let fewer: String = table().lines().take(1 + 700).flat_map(|line| [line, "\n"]).collect();
        let error = message(decode(ATLAS, &fewer));
        assert!(error.contains("4032 x 4224 pixels, expected 4032 x 2400 for 700 classes"), "{error}");
    }

    #[test]
    fn a_broken_table_is_an_error_that_names_the_line() {
        let good = format!("name,split,{}\n", VENDORS.join(","));
        let cases = [
            (String::new(), "classes.csv:1: the header is ``"),
            (table().replacen("noto-v1", "noto-v2", 1), "classes.csv:1: the header"),
            (good.clone(), "0 classes"),
            (format!("{good}owl\n"), "classes.csv:2: `owl`"),
            (format!("{good}owl,train,1,1,1\n"), "5 columns"),
            (format!("{good},train,1,1,1,1,1,1\n"), "expected a name"),
            (format!("{good}owl,trial,1,1,1,1,1,1\n"), "split `trial`"),
            (format!("{good}owl,train,1,1,1,1,1,2\n"), "`2` in a vendor's column"),
            (format!("{good}owl,train,0,0,0,0,0,1\n"), "fewer than two drawings"),
            (format!("{good}owl,train,1,1,1,1,1,1\nowl,test,1,1,1,1,1,1\n"), "classes.csv:3: class `owl` appears twice"),
        ];
        for (table, expected) in cases {
            let error = message(decode(ATLAS, &table));
            assert!(error.contains(TABLE_FILE) && error.contains(expected), "{error}");
        }
    }
}
