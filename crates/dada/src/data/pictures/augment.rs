//! Random changes to a training picture: learned policy, turn and slant, crop, flip, colour.
//!
//! The definitions, and so the meaning of every number, are torchvision's. All randomness comes from the generator in the arguments.

use image::RgbImage;
use image::imageops::flip_horizontal_in_place;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::data::pictures::auto_augment;
use crate::data::pictures::color;
use crate::data::pictures::preprocess::{Preprocess, Region, resample};
use crate::data::pictures::slant::slant;
use crate::error::{Error, Result};

/// How much a training picture is changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Least and most share of the picture's area that is cut out; `[1, 1]` cuts as little as the proportions allow.
    pub crop_scale: [f64; 2],
    /// Least and most width / height of what is cut out.
    pub crop_ratio: [f64; 2],
    /// The whole picture is turned by ± this about its centre, in degrees; at most 180.
    pub rotation: f64,
    /// The whole picture is slanted by ± this, in pixels to the side for each pixel up; at most 1.
    pub shear: f64,
    /// Mirror every other picture. Off where left and right mean something, as in letters.
    pub flip: bool,
    /// Brightness is multiplied by 1 ± this.
    pub brightness: f64,
    /// Contrast is multiplied by 1 ± this.
    pub contrast: f64,
    /// Saturation is multiplied by 1 ± this.
    pub saturation: f64,
    /// Hue is turned by ± this, in turns; at most 0.5.
    pub hue: f64,
    /// A learned list of changes to the whole picture, before anything is cut out of it.
    pub policy: Policy,
}

/// A learned augmentation policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// No learned changes.
    #[default]
    None,
    /// AutoAugment's policy for ImageNet (Cubuk et al., CVPR 2019, table 9).
    ImageNet,
}

/// Times the side of a view that a picture's short side may have when the whole of it is changed: a crop of 8 % at 3:4 still has
/// the view's size, and a photograph of many millions of pixels does not take a policy longer than its decoder.
const LARGEST: u32 = 4;

impl Default for AugmentConfig {
    fn default() -> Self {
        Self {
            crop_scale: [0.08, 1.0],
            crop_ratio: [3.0 / 4.0, 4.0 / 3.0],
            rotation: 0.0,
            shear: 0.0,
            flip: true,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
            policy: Policy::None,
        }
    }
}

impl AugmentConfig {
    /// Refuses ranges that are empty or leave what a picture can be.
    ///
    /// # Errors
    /// [`Error::Config`] that names the key.
    pub fn check(&self) -> Result<()> {
        let refuse =
            |key: &str, found: String, expected: &str| Err(Error::Config(format!("augment.{key} is {found}, expected {expected}")));
        let [least, most] = self.crop_scale;
        if !(0.0 < least && least <= most && most <= 1.0) {
            return refuse("crop_scale", format!("{:?}", self.crop_scale), "two shares above 0, in order, at most 1");
        }
        let [least, most] = self.crop_ratio;
        if !(0.01 <= least && least <= most && most <= 100.0) {
            return refuse("crop_ratio", format!("{:?}", self.crop_ratio), "two ratios, in order, between 0.01 and 100");
        }
        if !(0.0..=180.0).contains(&self.rotation) {
            return refuse("rotation", self.rotation.to_string(), "0 to 180 degrees");
        }
        if !(0.0..=1.0).contains(&self.shear) {
            return refuse("shear", self.shear.to_string(), "0 to 1");
        }
        for (key, value) in [("brightness", self.brightness), ("contrast", self.contrast), ("saturation", self.saturation)] {
            if !(0.0..=10.0).contains(&value) {
                return refuse(key, value.to_string(), "0 to 10");
            }
        }
        if !(0.0..=0.5).contains(&self.hue) {
            return refuse("hue", self.hue.to_string(), "0 to 0.5");
        }
        Ok(())
    }
}

/// One random view of a picture, as large as the test view, `crop` x `crop` pixels. Where the test view squashes the whole picture, the
/// random part is cut out of the squashed picture: objects keep the proportions in which they will be seen.
///
/// A learned policy comes first, as in its paper: it sees the whole picture, and so do turn and slant. What follows the crop sees the
/// view's pixels whatever the camera gave.
///
/// # Errors
/// As [`AugmentConfig::check`], and [`Error::Data`] for an empty picture.
pub fn augment(picture: &RgbImage, preprocess: &Preprocess, config: &AugmentConfig, rng: &mut ChaCha8Rng) -> Result<RgbImage> {
    config.check()?;
    let size = preprocess.crop;
    let slants = config.rotation > 0.0 || config.shear > 0.0;
    let changed;
    let picture = if slants || config.policy != Policy::None {
        let mut whole = at_most(picture, LARGEST.saturating_mul(size))?;
        if config.policy == Policy::ImageNet {
            auto_augment::apply(&mut whole, rng);
        }
        if slants {
            let (degrees, slope) = (between([-config.rotation, config.rotation], rng), between([-config.shear, config.shear], rng));
            whole = slant(&whole, degrees as f32, slope as f32);
        }
        changed = whole;
        &changed
    } else {
        picture
    };
    let region = if preprocess.squash {
        let (width, height) = picture.dimensions();
        let side = width.max(height);
        let [across, down] = [width, height].map(|length| f64::from(length) / f64::from(side.max(1)));
        let Region { left, top, width, height } = random_region((side, side), config, rng);
        Region { left: left * across, top: top * down, width: width * across, height: height * down }
    } else {
        random_region(picture.dimensions(), config, rng)
    };
    let mut view = resample(picture, region, size, size)?;
    if config.flip && rng.random_bool(0.5) {
        flip_horizontal_in_place(&mut view);
    }
    jitter(&mut view, config, rng);
    Ok(view)
}

/// A copy, shrunk where its short side has more than `side` pixels.
fn at_most(picture: &RgbImage, side: u32) -> Result<RgbImage> {
    let (width, height) = picture.dimensions();
    let short = width.min(height);
    if short <= side {
        return Ok(picture.clone());
    }
    let scaled = |length: u32| (u64::from(length) * u64::from(side) / u64::from(short)) as u32;
    resample(picture, Region::whole(picture), scaled(width), scaled(height))
}

/// What RandomResizedCrop cuts out: ten tries at a random area and shape, then the largest centred part of an allowed shape.
fn random_region((width, height): (u32, u32), config: &AugmentConfig, rng: &mut ChaCha8Rng) -> Region {
    let (width, height) = (f64::from(width), f64::from(height));
    let [least, most] = config.crop_ratio;
    for _ in 0..10 {
        let area = width * height * between(config.crop_scale, rng);
        let ratio = between([least.ln(), most.ln()], rng).exp();
        let (crop_width, crop_height) = ((area * ratio).sqrt().round_ties_even(), (area / ratio).sqrt().round_ties_even());
        if (1.0..=width).contains(&crop_width) && (1.0..=height).contains(&crop_height) {
            let mut offset = |room: f64| f64::from(rng.random_range(0..=room as u32));
            let (top, left) = (offset(height - crop_height), offset(width - crop_width));
            return Region { left, top, width: crop_width, height: crop_height };
        }
    }
    let crop_width = if width / height > most { (height * most).round_ties_even() } else { width };
    let crop_height = if width / height < least { (width / least).round_ties_even() } else { height };
    let (crop_width, crop_height) = (crop_width.clamp(1.0, width.max(1.0)), crop_height.clamp(1.0, height.max(1.0)));
    Region {
        left: ((width - crop_width) / 2.0).floor(),
        top: ((height - crop_height) / 2.0).floor(),
        width: crop_width,
        height: crop_height,
    }
}

/// ColorJitter: the four changes in random order.
fn jitter(picture: &mut RgbImage, config: &AugmentConfig, rng: &mut ChaCha8Rng) {
    if config.brightness == 0.0 && config.contrast == 0.0 && config.saturation == 0.0 && config.hue == 0.0 {
        return;
    }
    let mut order = [0, 1, 2, 3];
    order.shuffle(rng);
    let mut factor = |strength: f64| between([(1.0 - strength).max(0.0), 1.0 + strength], rng) as f32;
    let (brightness, contrast, saturation) = (factor(config.brightness), factor(config.contrast), factor(config.saturation));
    let hue = between([-config.hue, config.hue], rng) as f32;
    for change in order {
        match change {
            0 if config.brightness > 0.0 => color::brightness(picture, brightness),
            1 if config.contrast > 0.0 => color::contrast(picture, contrast),
            2 if config.saturation > 0.0 => color::saturation(picture, saturation),
            3 if config.hue > 0.0 => color::hue(picture, hue),
            _ => {}
        }
    }
}

fn between([least, most]: [f64; 2], rng: &mut ChaCha8Rng) -> f64 {
    least + (most - least) * rng.random::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};
    use image::Rgb;
    use proptest::prelude::*;

    fn gradient(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 7]))
    }

    fn square(side: u32) -> Preprocess {
        Preprocess { crop: side, ..Preprocess::default() }
    }

    fn rng(row: usize) -> ChaCha8Rng {
        generator(3, Purpose::Augment, 0, 0, row)
    }

    proptest! {
        #[test]
        fn regions_stay_inside_and_keep_their_promises(width in 1u32..200, height in 1u32..200, row in 0usize..1000) {
            let config = AugmentConfig { crop_scale: [0.2, 0.9], ..AugmentConfig::default() };
            let Region { left, top, width: w, height: h } = random_region((width, height), &config, &mut rng(row));
            prop_assert!(left >= 0.0 && top >= 0.0 && w >= 1.0 && h >= 1.0);
            prop_assert!(left + w <= f64::from(width) && top + h <= f64::from(height));
            if width.min(height) > 60 && width.max(height) < 80 {
                let share = w * h / f64::from(width * height);
                prop_assert!((0.17..0.93).contains(&share), "share {}", share);
                prop_assert!((0.70..1.40).contains(&(w / h)), "ratio {}", w / h);
            }
        }

        #[test]
        fn every_picture_has_a_view(width in 1u32..50, height in 1u32..50, row in 0usize..100, imagenet: bool) {
            let policy = if imagenet { Policy::ImageNet } else { Policy::None };
            let config = AugmentConfig { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1, policy, ..AugmentConfig::default() };
            prop_assert_eq!(augment(&gradient(width, height), &square(16), &config, &mut rng(row)).unwrap().dimensions(), (16, 16));
        }
    }

    #[test]
    fn long_pictures_fall_back_to_an_allowed_shape_in_the_centre() {
        let config = AugmentConfig { crop_scale: [1.0, 1.0], ..AugmentConfig::default() };
        let region = random_region((400, 30), &config, &mut rng(0));
        assert_eq!(region, Region { left: 180.0, top: 0.0, width: 40.0, height: 30.0 });
        let region = random_region((30, 400), &config, &mut rng(0));
        assert_eq!(region, Region { left: 0.0, top: 180.0, width: 30.0, height: 40.0 });
    }

    #[test]
    fn a_squashed_picture_is_cut_as_its_test_view_shows_it() {
        let config = AugmentConfig { crop_scale: [0.3, 0.6], ..AugmentConfig::default() };
        let wide = gradient(64, 16);
        let tall = image::imageops::resize(&wide, 64, 64, image::imageops::FilterType::Triangle);
        let squashing = Preprocess { squash: true, ..square(8) };
        for row in 0..20 {
            let view = |picture, preprocess: &Preprocess| augment(picture, preprocess, &config, &mut rng(row)).unwrap();
            let (squashed, expected) = (view(&wide, &squashing), view(&tall, &square(8)));
            let apart = squashed.iter().zip(expected.iter()).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(apart < Some(12), "{apart:?}");
        }
    }

    #[test]
    fn half_of_the_pictures_are_mirrored_and_none_when_told() {
        let whole = AugmentConfig { crop_scale: [1.0, 1.0], crop_ratio: [1.0, 1.0], ..AugmentConfig::default() };
        let picture = gradient(12, 12);
        let mirrored = |flip| {
            let config = AugmentConfig { flip, ..whole.clone() };
            (0..400).filter(|&row| augment(&picture, &square(12), &config, &mut rng(row)).unwrap() != picture).count()
        };
        assert_eq!(mirrored(false), 0);
        assert!((150..250).contains(&mirrored(true)));
    }

    #[test]
    fn each_strength_changes_the_picture_and_the_same_draw_is_the_same() {
        let still = AugmentConfig { crop_scale: [1.0, 1.0], crop_ratio: [1.0, 1.0], flip: false, ..AugmentConfig::default() };
        let picture = gradient(12, 12);
        for config in [
            AugmentConfig { brightness: 0.5, ..still.clone() },
            AugmentConfig { contrast: 0.5, ..still.clone() },
            AugmentConfig { saturation: 0.5, ..still.clone() },
            AugmentConfig { hue: 0.3, ..still.clone() },
            AugmentConfig { rotation: 15.0, ..still.clone() },
            AugmentConfig { shear: 0.3, ..still.clone() },
        ] {
            let view = |row| augment(&picture, &square(12), &config, &mut rng(row)).unwrap();
            assert_ne!(view(0), picture);
            assert_ne!(view(0), view(1));
            assert_eq!(view(0), view(0));
        }
        assert_eq!(augment(&picture, &square(12), &still, &mut rng(0)).unwrap(), picture);
    }

    #[test]
    fn a_policy_sees_the_whole_picture() {
        let picture = gradient(64, 48);
        let config = AugmentConfig { policy: Policy::ImageNet, flip: false, ..AugmentConfig::default() };
        let mut same = 0;
        for row in 0..50 {
            let mut draws = rng(row);
            let mut whole = picture.clone();
            auto_augment::apply(&mut whole, &mut draws);
            let cut = augment(&whole, &square(16), &AugmentConfig { policy: Policy::None, ..config.clone() }, &mut draws).unwrap();
            same += usize::from(augment(&picture, &square(16), &config, &mut rng(row)).unwrap() == cut);
        }
        assert_eq!(same, 50);
        assert_eq!(at_most(&gradient(600, 300), 64).unwrap().dimensions(), (128, 64));
        assert_eq!(at_most(&gradient(60, 70), 64).unwrap(), gradient(60, 70));
    }

    #[test]
    #[ignore = "a measurement: milliseconds a picture"]
    fn time_of_a_policy() {
        for (width, height) in [(500, 375), (4000, 3000)] {
            let picture = gradient(width, height);
            for policy in [Policy::None, Policy::ImageNet] {
                let config = AugmentConfig { policy, ..AugmentConfig::default() };
                let start = std::time::Instant::now();
                (0..200).for_each(|row| drop(augment(&picture, &square(224), &config, &mut rng(row)).unwrap()));
                println!("{width} x {height} {policy:?}: {:.2} ms", start.elapsed().as_secs_f64() * 5.0);
            }
        }
    }

    #[test]
    fn nonsense_is_refused_by_key() {
        let refused = |config: AugmentConfig| config.check().unwrap_err().to_string();
        assert!(refused(AugmentConfig { crop_scale: [0.5, 0.2], ..AugmentConfig::default() }).contains("crop_scale"));
        assert!(refused(AugmentConfig { crop_ratio: [0.0, 1.0], ..AugmentConfig::default() }).contains("crop_ratio"));
        assert!(refused(AugmentConfig { rotation: 181.0, ..AugmentConfig::default() }).contains("rotation"));
        assert!(refused(AugmentConfig { shear: -0.1, ..AugmentConfig::default() }).contains("shear"));
        assert!(refused(AugmentConfig { contrast: -0.1, ..AugmentConfig::default() }).contains("contrast"));
        assert!(refused(AugmentConfig { hue: f64::NAN, ..AugmentConfig::default() }).contains("hue"));
        assert!(augment(&RgbImage::new(0, 0), &square(8), &AugmentConfig::default(), &mut rng(0)).is_err());
    }
}
