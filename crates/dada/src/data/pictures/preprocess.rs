//! What a picture goes through before a network sees it, apart from augmentation.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How a picture is prepared for testing. It travels with the weights: a network is only as good as its pre-processing is right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Preprocess {
    /// The short side after resizing, in pixels.
    pub resize: u32,
    /// The side of the square that is cut from the centre, in pixels; at most `resize`.
    pub crop: u32,
    /// Subtracted from each channel of 0..1 values.
    pub mean: [f64; 3],
    /// Divides each channel after the mean is subtracted.
    pub std: [f64; 3],
    /// Resize the whole picture to `crop` x `crop` and lose its proportions, instead of cutting; `resize` is then not used.
    pub squash: bool,
}

impl Default for Preprocess {
    /// ImageNet's usual test view.
    fn default() -> Self {
        Self { resize: 256, crop: 224, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], squash: false }
    }
}

impl Preprocess {
    /// Refuses what no picture could be prepared with.
    ///
    /// # Errors
    /// [`Error::Config`] for a crop of nothing or larger than the resized picture, and for a standard deviation that is not positive.
    pub fn check(&self) -> Result<()> {
        if self.crop == 0 || self.crop > 4096 {
            return Err(Error::Config(format!("preprocess.crop is {}, expected 1 to 4096 pixels", self.crop)));
        }
        if !self.squash && !(self.crop..=8192).contains(&self.resize) {
            return Err(Error::Config(format!("preprocess.resize is {}, expected the crop, {}, to 8192 pixels", self.resize, self.crop)));
        }
        if !self.std.iter().all(|&std| std > 0.0 && std.is_finite()) || !self.mean.iter().all(|mean| mean.is_finite()) {
            return Err(Error::Config(format!("preprocess: found mean {:?}, std {:?}, expected finite, std above 0", self.mean, self.std)));
        }
        Ok(())
    }
}

/// A part of a picture in pixels; fractions are meant, they say between which pixels to sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// Distance from the left edge.
    pub left: f64,
    /// Distance from the upper edge.
    pub top: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl Region {
    /// All of a picture.
    pub fn whole(picture: &RgbImage) -> Self {
        Self { left: 0.0, top: 0.0, width: f64::from(picture.width()), height: f64::from(picture.height()) }
    }
}

/// The test view: short side to `resize`, centre `crop` x `crop`, in one sampling step.
///
/// # Errors
/// As [`Preprocess::check`], and [`Error::Data`] for an empty picture.
pub fn view(picture: &RgbImage, preprocess: &Preprocess) -> Result<RgbImage> {
    preprocess.check()?;
    let (width, height) = picture.dimensions();
    let crop = f64::from(preprocess.crop);
    let region = if preprocess.squash {
        Region::whole(picture)
    } else {
        let scale = |side: u32| u64::from(preprocess.resize) * u64::from(side) / u64::from(width.min(height).max(1));
        // Resizing first and cutting then would sample at the same places and compute pixels that are thrown away.
        let span = |side: u32| {
            let resized = scale(side) as f64;
            let pixels = f64::from(side) / resized;
            (((resized - crop) / 2.0).round_ties_even() * pixels, crop * pixels)
        };
        let ((left, width), (top, height)) = (span(width), span(height));
        Region { left, top, width, height }
    };
    resample(picture, region, preprocess.crop, preprocess.crop)
}

/// Samples a region of a picture at another size: bilinear, over as many pixels as it shrinks (antialiased).
///
/// # Errors
/// [`Error::Data`] when the picture or the region is empty, or the region leaves the picture.
pub fn resample(picture: &RgbImage, region: Region, width: u32, height: u32) -> Result<RgbImage> {
    let whole = Region::whole(picture);
    if region == whole && (width, height) == picture.dimensions() {
        return Ok(picture.clone());
    }
    let refuse = |problem: String| {
        Error::Data(format!("a picture of {} x {} pixels cannot be resized: {problem}", picture.width(), picture.height()))
    };
    // Written so that a region of NaN, which an empty picture gives, is refused too.
    let inside = region.left >= 0.0 && region.top >= 0.0 && region.left < whole.width && region.top < whole.height;
    if !(inside && region.width > 0.0 && region.height > 0.0) || width == 0 || height == 0 {
        return Err(refuse(format!("found {region:?} and a size of {width} x {height}, expected a part of it and a size above 0")));
    }
    let source =
        ImageRef::new(picture.width(), picture.height(), picture.as_raw(), PixelType::U8x3).map_err(|error| refuse(error.to_string()))?;
    let mut resized = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(
        region.left,
        region.top,
        region.width.min(whole.width - region.left),
        region.height.min(whole.height - region.top),
    );
    Resizer::new().resize(&source, &mut resized, &options).map_err(|error| refuse(error.to_string()))?;
    RgbImage::from_raw(width, height, resized.into_vec()).ok_or_else(|| refuse("the result is too small".to_owned()))
}

/// Writes a picture as `[3, height, width]`: (value / 255 - mean) / std.
///
/// # Panics
/// When `out` does not have 3 x height x width values.
pub fn normalise_into(picture: &RgbImage, mean: [f64; 3], std: [f64; 3], out: &mut [f32]) {
    let plane = picture.width() as usize * picture.height() as usize;
    assert_eq!(out.len(), 3 * plane, "one value for each channel of each pixel");
    if plane == 0 {
        return;
    }
    for (channel, out) in out.chunks_exact_mut(plane).enumerate() {
        let (scale, offset) = ((1.0 / (255.0 * std[channel])) as f32, (mean[channel] / std[channel]) as f32);
        for (value, pixel) in out.iter_mut().zip(picture.as_raw().chunks_exact(3)) {
            *value = f32::from(pixel[channel]) * scale - offset;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use proptest::prelude::*;

    fn gradient(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 7]))
    }

    #[test]
    fn normalising_is_the_formula_in_planes() {
        let (picture, mean, std) = (gradient(5, 3), [0.1, 0.2, 0.3], [0.5, 2.0, 0.25]);
        let mut out = vec![0.0; 45];
        normalise_into(&picture, mean, std, &mut out);
        for (x, y, pixel) in picture.enumerate_pixels() {
            for channel in 0..3 {
                let expected = ((f64::from(pixel[channel]) / 255.0 - mean[channel]) / std[channel]) as f32;
                let found = out[channel * 15 + y as usize * 5 + x as usize];
                assert!((found - expected).abs() < 1e-5, "{found} {expected}");
            }
        }
    }

    #[test]
    fn the_view_is_the_centre() {
        let preprocess = Preprocess { resize: 10, crop: 8, ..Preprocess::default() };
        // Resizing changes nothing here, so the view is a plain cut with a border of 1 and of 6 pixels.
        let picture = RgbImage::from_fn(20, 10, |x, y| Rgb([x as u8, y as u8, 0]));
        let expected = image::imageops::crop_imm(&picture, 6, 1, 8, 8).to_image();
        assert_eq!(view(&picture, &preprocess).unwrap(), expected);
        let whole = Preprocess { crop: 10, ..preprocess };
        assert_eq!(view(&gradient(10, 10), &whole).unwrap(), gradient(10, 10));
    }

    #[test]
    fn one_step_agrees_with_resizing_then_cutting() {
        let picture = gradient(97, 61);
        let resized = resample(&picture, Region { left: 0.0, top: 0.0, width: 97.0, height: 61.0 }, 50, 32).unwrap();
        let expected = image::imageops::crop_imm(&resized, 11, 2, 28, 28).to_image();
        let found = view(&picture, &Preprocess { resize: 32, crop: 28, ..Preprocess::default() }).unwrap();
        let worst = found.as_raw().iter().zip(expected.as_raw()).map(|(&a, &b)| a.abs_diff(b)).max();
        assert!(worst <= Some(1), "{worst:?}");
    }

    #[test]
    fn squashing_keeps_the_corners() {
        let squashed = view(&gradient(64, 16), &Preprocess { crop: 16, squash: true, ..Preprocess::default() }).unwrap();
        assert_eq!(squashed.dimensions(), (16, 16));
        assert!(squashed.get_pixel(0, 0)[0] < 16 && squashed.get_pixel(15, 0)[0] > 235);
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |preprocess: Preprocess| view(&gradient(4, 4), &preprocess).unwrap_err().to_string();
        assert!(refused(Preprocess { crop: 0, ..Preprocess::default() }).contains("crop"));
        assert!(refused(Preprocess { resize: 200, ..Preprocess::default() }).contains("resize"));
        assert!(refused(Preprocess { std: [1.0, 0.0, 1.0], ..Preprocess::default() }).contains("std"));
        assert!(view(&RgbImage::new(0, 4), &Preprocess::default()).is_err());
    }

    proptest! {
        #[test]
        fn every_shape_has_a_view(width in 1u32..90, height in 1u32..90, crop in 1u32..40, more in 0u32..20, squash: bool) {
            let preprocess = Preprocess { resize: crop + more, crop, squash, ..Preprocess::default() };
            prop_assert_eq!(view(&gradient(width, height), &preprocess).unwrap().dimensions(), (crop, crop));
        }
    }
}
