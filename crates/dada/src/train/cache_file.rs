//! What the frozen part of a network made of pictures, kept in a file for the next run.
//!
//! A file is named after a checksum of everything its content depends on, so that it is either the right one or not there. What is
//! hashed is a JSON text with a version and a name for every value. The file holds `DADAFEAT`, the version, the number of axes, each
//! axis, the BLAKE3 of the values, and the values as little-endian float32.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::data::pictures::augment::AugmentConfig;
use crate::data::pictures::preprocess::Preprocess;
use crate::data::{Dataset, Pixels};
use crate::error::{AtPath, Error, Result};
use crate::formats::NamedTensors;
use crate::formats::file::{Partial, map_bounded, user_cache};
use crate::model::backbones::BackboneConfig;
use crate::model::encoder::{Boundary, Pooling};

const MAGIC: &[u8; 8] = b"DADAFEAT";
/// Of the layout of a file, and of what its key says. It rises whenever the same key would stand for other values.
const VERSION: u32 = 4;
const CHECKSUM: usize = 32;
/// The longest file that is read.
const MAX_BYTES: u64 = 64 << 30;

/// Rows of one shape: pooled features, tokens or maps.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Of one row: `[features]`, `[tokens, width]` or `[channels, height, width]`.
    pub shape: Vec<usize>,
    /// Row after row.
    pub values: Vec<f32>,
}

impl Rows {
    /// Values in a row.
    pub fn width(&self) -> usize {
        self.shape.iter().product()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.values.len() / self.width().max(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// One row.
    pub fn row(&self, index: usize) -> &[f32] {
        let width = self.width();
        &self.values[index * width..][..width]
    }
}

/// Everything that decides what is in a cache file, apart from the pictures.
#[derive(Clone, Debug, Serialize)]
pub struct FeatureRecipe<'a> {
    /// BLAKE3 of the network's weights.
    pub weights: String,
    /// The network.
    pub backbone: &'a BackboneConfig,
    /// How its map becomes one vector.
    pub pooling: Pooling,
    /// Where the part ends whose values are kept.
    pub boundary: Boundary,
    /// What every picture goes through.
    pub preprocess: &'a Preprocess,
    /// Augmented views of each picture, and how they are varied; the test view where there are none.
    pub augmented: Option<(usize, &'a AugmentConfig)>,
}

/// BLAKE3 of weights: names, shapes and values.
pub fn checksum_of_weights(tensors: &NamedTensors) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, data) in tensors {
        hasher.update(format!("{name} {:?} {:?};", data.shape(), data.dtype()).as_bytes());
        hasher.update(data.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// What a file's name is the checksum of, as JSON.
#[derive(Serialize)]
struct Key<'a> {
    version: u32,
    #[serde(flatten)]
    recipe: &'a FeatureRecipe<'a>,
    pictures: Vec<PictureKey<'a>>,
}

#[derive(Serialize)]
struct PictureKey<'a> {
    name: &'a str,
    pixels: PixelsKey<'a>,
}

/// A picture file is known by its name, size and time of change, a picture in memory by its content.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum PixelsKey<'a> {
    File {
        /// The bytes of the path, which need not be text.
        path: &'a [u8],
        bytes: u64,
        /// Since 1970.
        changed: Duration,
    },
    Bytes {
        blake3: String,
    },
    Memory {
        width: u32,
        height: u32,
        blake3: String,
    },
    Turned {
        quarters: u8,
        of: Box<PixelsKey<'a>>,
    },
}

/// The checksum that names the file for these pictures of a data set.
///
/// # Errors
/// When a file is gone.
pub fn key(recipe: &FeatureRecipe, dataset: &Dataset, pictures: &[usize]) -> Result<String> {
    let text = key_text(recipe, dataset, pictures)?;
    Ok(blake3::hash(text.as_bytes()).to_hex().to_string())
}

fn key_text(recipe: &FeatureRecipe, dataset: &Dataset, pictures: &[usize]) -> Result<String> {
    let mut keys = Vec::with_capacity(pictures.len());
    for &picture in pictures {
        let sample = &dataset.samples[picture];
        keys.push(PictureKey { name: &sample.name, pixels: pixels_key(&sample.pixels)? });
    }
    let key = Key { version: VERSION, recipe, pictures: keys };
    Ok(serde_json::to_string(&key).expect("a key has string keys and text for names"))
}

fn pixels_key(pixels: &Pixels) -> Result<PixelsKey<'_>> {
    Ok(match pixels {
        Pixels::File(path) => {
            let about = fs::metadata(path).at(path)?;
            let changed = about.modified().at(path)?.duration_since(UNIX_EPOCH).unwrap_or_default();
            PixelsKey::File { path: path.as_os_str().as_encoded_bytes(), bytes: about.len(), changed }
        }
        Pixels::Bytes { bytes, .. } => PixelsKey::Bytes { blake3: blake3::hash(bytes).to_hex().to_string() },
        Pixels::Memory(picture) => PixelsKey::Memory {
            width: picture.width(),
            height: picture.height(),
            blake3: blake3::hash(picture.as_raw()).to_hex().to_string(),
        },
        Pixels::Turned(pixels, quarters) => PixelsKey::Turned { quarters: *quarters, of: Box::new(pixels_key(pixels)?) },
    })
}

/// The folder for caches: `configured`, or by default `dada/features` in the user's own cache folder.
///
/// # Errors
/// When there is no home folder.
pub fn folder(configured: &Path) -> Result<PathBuf> {
    if !configured.as_os_str().is_empty() {
        return Ok(configured.to_owned());
    }
    let caches = user_cache().ok_or_else(|| Error::Config("no home folder to keep features in: set train.cache".to_owned()))?;
    Ok(caches.join("dada").join("features"))
}

/// Reads a cache file of `count` rows; nothing if there is none.
///
/// # Errors
/// When the file cannot be read, or is not what was written.
pub fn read(path: &Path, count: usize) -> Result<Option<Rows>> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = map_bounded(path, MAX_BYTES)?;
    let broken = |problem: &str| Error::format(path, problem);
    let mut rest = bytes.strip_prefix(MAGIC).ok_or_else(|| broken("not a file of features"))?;
    let mut number = || -> Result<usize> {
        let (head, tail) = rest.split_at_checked(4).ok_or_else(|| broken("the header is cut off"))?;
        rest = tail;
        Ok(u32::from_le_bytes(head.try_into().expect("four bytes were split off")) as usize)
    };
    if number()? != VERSION as usize {
        return Err(broken("written by another version"));
    }
    let axes = number()?;
    if !(1..=3).contains(&axes) {
        return Err(broken("a row has one to three axes"));
    }
    let shape = (0..axes).map(|_| number()).collect::<Result<Vec<usize>>>()?;
    let (checksum, values) = rest.split_at_checked(CHECKSUM).ok_or_else(|| broken("the header is cut off"))?;
    let expected = shape.iter().try_fold(4 * count, |product, axis| product.checked_mul(*axis));
    if expected != Some(values.len()) {
        return Err(broken(&format!("found {} bytes, expected {count} rows of shape {shape:?}", values.len())));
    }
    if blake3::hash(values).as_bytes() != checksum {
        return Err(broken("the checksum is not that of the values"));
    }
    let values = values.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("chunks of four")));
    Ok(Some(Rows { shape, values: values.collect() }))
}

/// Writes a cache file, whole or not at all.
///
/// # Errors
/// When the folder cannot be written to.
pub fn write(path: &Path, rows: &Rows) -> Result<()> {
    let folder = path.parent().expect("a cache file lies in a folder");
    fs::create_dir_all(folder).at(folder)?;
    let values: Vec<u8> = rows.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut file = Partial::create(path)?;
    let numbers = [VERSION as usize, rows.shape.len()].into_iter().chain(rows.shape.iter().copied());
    let header: Vec<u8> = numbers.flat_map(|number| (number as u32).to_le_bytes()).collect();
    for part in [&MAGIC[..], &header, blake3::hash(&values).as_bytes(), &values] {
        file.append(part)?;
    }
    file.keep()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Sample;
    use std::sync::Arc;

    fn rows() -> Rows {
        Rows { shape: vec![2, 1, 3], values: (0..24).map(|i| i as f32 * 0.5 - 3.0).collect() }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("x.features");
        assert_eq!(read(&path, 4).unwrap(), None);
        write(&path, &rows()).unwrap();
        assert_eq!(read(&path, 4).unwrap().unwrap(), rows());
        assert_eq!(rows().row(1), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
        let good = fs::read(&path).unwrap();
        let refused = |bytes: &[u8], count: usize| {
            fs::write(&path, bytes).unwrap();
            read(&path, count).unwrap_err().to_string()
        };
        assert!(refused(&good, 5).contains("expected 5 rows of shape [2, 1, 3]"));
        assert!(refused(&good[..good.len() - 1], 4).contains("bytes"));
        assert!(refused(&good[..14], 4).contains("cut off"));
        assert!(refused(b"something else", 4).contains("not a file of features"));
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert!(refused(&flipped, 4).contains("checksum"));
        let mut huge = good.clone();
        huge[16..28].fill(0xff);
        assert!(refused(&huge, 4).contains("expected 4 rows"));
        // 32 GiB that take no room on the disk, and would take it in memory.
        fs::write(&path, &good).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(1 << 35).unwrap();
        assert!(read(&path, 4).unwrap_err().to_string().contains("bytes, expected 4 rows"));
    }

    #[test]
    fn the_key_is_a_text_that_only_a_new_version_changes() {
        let picture = Pixels::Memory(Arc::new(image::RgbImage::from_pixel(2, 1, image::Rgb([7; 3]))));
        let turned = Pixels::Turned(Box::new(picture), 3);
        let dataset = Dataset { classes: vec!["c".to_owned()], samples: vec![Sample { pixels: turned, label: 0, name: "a".to_owned() }] };
        let recipe = FeatureRecipe {
            weights: "w".to_owned(),
            backbone: &BackboneConfig::VitSmallPatch16(Default::default()),
            pooling: Pooling::Cls,
            boundary: Boundary::Stage(2),
            preprocess: &Preprocess::default(),
            augmented: Some((3, &AugmentConfig::default())),
        };
        let augment = serde_json::to_string(&AugmentConfig::default()).unwrap();
        let content = blake3::hash(&[7; 6]).to_hex();
        let wanted = [
            r#"{"version":4,"weights":"w","backbone":{"name":"vit_small_patch16_224"},"pooling":"cls","boundary":{"Stage":2},"#,
            r#""preprocess":{"resize":256,"crop":224,"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225],"squash":false},"#,
            &format!(r#""augmented":[3,{augment}],"#),
            r#""pictures":[{"name":"a","pixels":{"turned":{"quarters":3,"of":{"memory":{"width":2,"height":1,"#,
            &format!(r#""blake3":"{content}"}}}}}}}}}}]}}"#),
        ]
        .concat();
        assert_eq!(key_text(&recipe, &dataset, &[0]).unwrap(), wanted);
        assert_eq!(key(&recipe, &dataset, &[0]).unwrap(), blake3::hash(wanted.as_bytes()).to_hex().to_string());
    }

    #[test]
    fn the_key_follows_everything_the_content_depends_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        fs::write(&path, "one").unwrap();
        let sample = |pixels| Sample { pixels, label: 0, name: "a".to_owned() };
        let memory = |value: u8| Dataset {
            classes: vec!["c".to_owned()],
            samples: vec![sample(Pixels::Memory(Arc::new(image::RgbImage::from_pixel(2, 2, image::Rgb([value; 3])))))],
        };
        let file = Dataset { classes: vec!["c".to_owned()], samples: vec![sample(Pixels::File(path.clone()))] };
        let preprocess = Preprocess::default();
        let augment = AugmentConfig::default();
        let (vit, convnet) = (BackboneConfig::VitSmallPatch16(Default::default()), BackboneConfig::ConvNet(Default::default()));
        let recipe = FeatureRecipe {
            weights: "w".to_owned(),
            backbone: &vit,
            pooling: Pooling::Avg,
            boundary: Boundary::Stage(2),
            preprocess: &preprocess,
            augmented: Some((1, &augment)),
        };
        let key = |recipe: &FeatureRecipe, dataset: &Dataset| super::key(recipe, dataset, &[0]);
        let base = key(&recipe, &memory(1)).unwrap();
        assert_eq!(base, key(&recipe.clone(), &memory(1)).unwrap());
        let squashed = Preprocess { squash: true, ..preprocess.clone() };
        let unflipped = AugmentConfig { flip: false, ..augment.clone() };
        let others = [
            key(&recipe, &memory(2)),
            key(&recipe, &file),
            key(&FeatureRecipe { weights: "v".to_owned(), ..recipe.clone() }, &memory(1)),
            key(&FeatureRecipe { backbone: &convnet, ..recipe.clone() }, &memory(1)),
            key(&FeatureRecipe { pooling: Pooling::Max, ..recipe.clone() }, &memory(1)),
            key(&FeatureRecipe { boundary: Boundary::Stage(3), ..recipe.clone() }, &memory(1)),
            key(&FeatureRecipe { boundary: Boundary::Pooled, ..recipe.clone() }, &memory(1)),
            key(&FeatureRecipe { augmented: Some((2, &augment)), ..recipe.clone() }, &memory(1)),
            key(&FeatureRecipe { augmented: None, ..recipe.clone() }, &memory(1)),
            super::key(&recipe, &memory(1), &[]),
            key(&FeatureRecipe { preprocess: &squashed, ..recipe.clone() }, &memory(1)),
            key(&FeatureRecipe { augmented: Some((1, &unflipped)), ..recipe.clone() }, &memory(1)),
        ];
        assert!(others.into_iter().all(|other| other.unwrap() != base));
        let before = key(&recipe, &file).unwrap();
        fs::write(&path, "longer").unwrap();
        assert_ne!(key(&recipe, &file).unwrap(), before);
        fs::remove_file(&path).unwrap();
        assert!(key(&recipe, &file).unwrap_err().to_string().contains("a.png"));
    }
}
