//! Pictures kept decoded in memory, for files so large that decoding them each epoch would be the slowest part of training.
//!
//! A photo of 12 million pixels takes a hundred times longer to decode than the network takes to look at its crop of 224 x 224.

use std::sync::Arc;

use rayon::prelude::*;

use super::preprocess::{Region, resample};
use super::{Dataset, Pixels, Sample};
use crate::error::Result;

/// How many pictures are decoded before the budget is looked at again.
const CHUNK: usize = 64;

/// The short side that a kept picture needs so that the smallest random crop, `least_scale` of the area, still has `size` pixels a side.
pub fn short_side(size: u32, least_scale: f32) -> u32 {
    (f64::from(size) / f64::from(least_scale.clamp(1e-4, 1.0)).sqrt()).ceil() as u32
}

/// Decodes pictures in order until `budget` bytes are used up, shrunk so that the short side is at most `short_side`; returns how many
/// are in memory. Which ones depends on the files and the arguments alone.
///
/// A shrunk picture is not sampled exactly as its file would be: runs that are compared have to use the same budget.
///
/// # Errors
/// That of the first picture that cannot be read.
pub fn keep_in_memory(dataset: &mut Dataset, budget: usize, short_side: u32) -> Result<usize> {
    let mut used = 0;
    for chunk in dataset.samples.chunks_mut(CHUNK) {
        let decoded: Vec<_> = chunk.par_iter().map(|sample| kept(sample, short_side)).collect::<Result<_>>()?;
        for (sample, picture) in chunk.iter_mut().zip(decoded) {
            used += picture.as_raw().len();
            if used > budget {
                return Ok(in_memory(dataset));
            }
            sample.pixels = Pixels::Memory(picture);
        }
    }
    Ok(in_memory(dataset))
}

fn in_memory(dataset: &Dataset) -> usize {
    dataset.samples.iter().filter(|sample| matches!(sample.pixels, Pixels::Memory(_))).count()
}

fn kept(sample: &Sample, short_side: u32) -> Result<Arc<image::RgbImage>> {
    let picture = sample.picture()?;
    let (width, height) = picture.dimensions();
    let short = width.min(height);
    if short <= short_side.max(1) {
        return Ok(picture);
    }
    let scaled = |side: u32| (u64::from(side) * u64::from(short_side.max(1)) / u64::from(short)) as u32;
    let whole = Region { left: 0.0, top: 0.0, width: f64::from(width), height: f64::from(height) };
    resample(&picture, whole, scaled(width), scaled(height)).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Picture;
    use image::RgbImage;

    #[test]
    fn the_budget_holds_and_pictures_stay_what_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let files = (0..5).map(|number| {
            let name = format!("{number}.png");
            RgbImage::from_pixel(40, 20, image::Rgb([number; 3])).save(folder.path().join(&name)).unwrap();
            Picture::below(folder.path(), &name, "class")
        });
        let files = Dataset::from_pictures(files);
        let sizes = |budget, short_side| {
            let mut dataset = files.clone();
            let count = keep_in_memory(&mut dataset, budget, short_side).unwrap();
            let value = dataset.samples[1].picture().unwrap();
            assert_eq!(value.get_pixel(3, 3)[0], 1);
            (count, value.dimensions())
        };
        assert_eq!(sizes(usize::MAX, 20), (5, (40, 20)));
        assert_eq!(sizes(usize::MAX, 10), (5, (20, 10)));
        assert_eq!(sizes(3 * 2400, 20), (3, (40, 20)));
        assert_eq!(sizes(2399, 20), (0, (40, 20)));
    }

    #[test]
    fn the_smallest_crop_decides_the_size() {
        assert_eq!((short_side(224, 1.0), short_side(224, 0.25), short_side(224, 0.08)), (224, 448, 792));
    }

    #[test]
    fn a_picture_that_cannot_be_read_is_named() {
        let mut dataset = Dataset::from_pictures([Picture::below(std::path::Path::new("/nowhere"), "x.png", "class")]);
        assert!(keep_in_memory(&mut dataset, 10, 10).unwrap_err().to_string().contains("/nowhere/x.png"));
    }
}
