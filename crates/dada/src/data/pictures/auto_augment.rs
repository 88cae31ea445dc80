//! AutoAugment's policy for ImageNet: Cubuk et al., "AutoAugment: Learning Augmentation Policies from Data", CVPR 2019, table 9.
//!
//! A sub-policy is two operations, each with a probability and a magnitude between 0 and 9. One of 25 is drawn for each picture.
//! Pixels that a rotation or a shear brings in from outside are grey.

use image::{Rgb, RgbImage};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::data::pictures::color;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    ShearX,
    Rotate,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
    Invert,
}
use Operation::{AutoContrast, Color, Contrast, Equalize, Invert, Posterize, Rotate, Sharpness, ShearX, Solarize};

/// Operation, probability in tenths, magnitude.
type Step = (Operation, u32, u8);

const SUB_POLICIES: [[Step; 2]; 25] = [
    [(Posterize, 4, 8), (Rotate, 6, 9)],
    [(Solarize, 6, 5), (AutoContrast, 6, 5)],
    [(Equalize, 8, 8), (Equalize, 6, 3)],
    [(Posterize, 6, 7), (Posterize, 6, 6)],
    [(Equalize, 4, 7), (Solarize, 2, 4)],
    [(Equalize, 4, 4), (Rotate, 8, 8)],
    [(Solarize, 6, 3), (Equalize, 6, 7)],
    [(Posterize, 8, 5), (Equalize, 10, 2)],
    [(Rotate, 2, 3), (Solarize, 6, 8)],
    [(Equalize, 6, 8), (Posterize, 4, 6)],
    [(Rotate, 8, 8), (Color, 4, 0)],
    [(Rotate, 4, 9), (Equalize, 6, 2)],
    [(Equalize, 0, 7), (Equalize, 8, 8)],
    [(Invert, 6, 4), (Equalize, 10, 8)],
    [(Color, 6, 4), (Contrast, 10, 8)],
    [(Rotate, 8, 8), (Color, 10, 2)],
    [(Color, 8, 8), (Solarize, 8, 7)],
    [(Sharpness, 4, 7), (Invert, 6, 8)],
    [(ShearX, 6, 5), (Equalize, 10, 9)],
    [(Color, 4, 0), (Equalize, 6, 3)],
    [(Equalize, 4, 7), (Solarize, 2, 4)],
    [(Solarize, 6, 5), (AutoContrast, 6, 5)],
    [(Invert, 6, 4), (Equalize, 10, 8)],
    [(Color, 6, 4), (Contrast, 10, 8)],
    [(Equalize, 8, 8), (Equalize, 6, 3)],
];

const OUTSIDE: Rgb<u8> = Rgb([128; 3]);

/// Applies one random sub-policy in place.
pub fn apply(picture: &mut RgbImage, rng: &mut ChaCha8Rng) {
    let steps = SUB_POLICIES[rng.random_range(0..SUB_POLICIES.len())];
    for (operation, tenths, magnitude) in steps {
        let (happens, mirrored) = (rng.random_range(0..10) < tenths, rng.random_bool(0.5));
        if happens {
            run(picture, operation, magnitude, mirrored);
        }
    }
}

/// Magnitudes 0 to 9 span the paper's ranges (its table 6) evenly; `negative` mirrors those that have a sign.
fn run(picture: &mut RgbImage, operation: Operation, magnitude: u8, negative: bool) {
    let share = f32::from(magnitude) / 9.0;
    let signed = if negative { -share } else { share };
    match operation {
        ShearX => shear_x(picture, 0.3 * signed),
        Rotate => rotate(picture, 30.0 * signed),
        Color => color::saturation(picture, 1.0 + 0.9 * signed),
        Contrast => color::contrast(picture, 1.0 + 0.9 * signed),
        Sharpness => sharpness(picture, 1.0 + 0.9 * signed),
        Posterize => map(picture, |value| value & (0xff << (share * 4.0).round() as u8)),
        Solarize => map(picture, |value| if f32::from(value) >= 255.0 * (1.0 - share) { 255 - value } else { value }),
        Invert => map(picture, |value| 255 - value),
        AutoContrast => auto_contrast(picture),
        Equalize => equalize(picture),
    }
}

fn map(picture: &mut RgbImage, change: impl Fn(u8) -> u8) {
    color::map_channels(picture, &[std::array::from_fn(|value| change(value as u8)); 3]);
}

/// Takes each pixel from where `source` says, the nearest one, or grey outside.
fn warp(picture: &mut RgbImage, source: impl Fn(f32, f32) -> (f32, f32)) {
    let before = picture.clone();
    let (width, height) = (before.width() as f32, before.height() as f32);
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let (from_x, from_y) = source(x as f32 + 0.5 - width / 2.0, y as f32 + 0.5 - height / 2.0);
        let (from_x, from_y) = (from_x + width / 2.0, from_y + height / 2.0);
        let inside = (0.0..width).contains(&from_x) && (0.0..height).contains(&from_y);
        *pixel = if inside { *before.get_pixel(from_x as u32, from_y as u32) } else { OUTSIDE };
    }
}

fn shear_x(picture: &mut RgbImage, slope: f32) {
    warp(picture, |x, y| (x + slope * y, y));
}

fn rotate(picture: &mut RgbImage, degrees: f32) {
    let (sin, cos) = degrees.to_radians().sin_cos();
    warp(picture, |x, y| (cos * x - sin * y, sin * x + cos * y));
}

/// Stretches each channel to 0..255.
fn auto_contrast(picture: &mut RgbImage) {
    let mut ends = [(255, 0); 3];
    for pixel in picture.pixels() {
        ends = std::array::from_fn(|channel| (pixel[channel].min(ends[channel].0), pixel[channel].max(ends[channel].1)));
    }
    let tables = ends.map(|(least, most)| {
        std::array::from_fn(|value| match most.saturating_sub(least) {
            0 => value as u8,
            range => ((value as f32 - f32::from(least)) * 255.0 / f32::from(range)).clamp(0.0, 255.0) as u8,
        })
    });
    color::map_channels(picture, &tables);
}

/// Makes the values of each channel about equally frequent, with the histogram's last occupied bin left out of the step as Pillow
/// does.
fn equalize(picture: &mut RgbImage) {
    let mut histograms = [[0u32; 256]; 3];
    for pixel in picture.pixels() {
        (0..3).for_each(|channel| histograms[channel][usize::from(pixel[channel])] += 1);
    }
    let tables = histograms.map(|histogram| {
        let last = histogram.iter().rev().copied().find(|&count| count > 0).unwrap_or(0);
        let step = (histogram.iter().sum::<u32>() - last) / 255;
        let mut below = step / 2;
        std::array::from_fn(|value| match step {
            0 => value as u8,
            step => {
                let equalized = (below / step).min(255) as u8;
                below += histogram[value];
                equalized
            }
        })
    });
    color::map_channels(picture, &tables);
}

/// Moves away from a picture smoothed by [1 1 1; 1 5 1; 1 1 1] / 13; the border stays.
fn sharpness(picture: &mut RgbImage, factor: f32) {
    let before = picture.clone();
    let row_bytes = 3 * before.width() as usize;
    if before.width() < 3 || before.height() < 3 {
        return;
    }
    for (above, out) in picture.chunks_exact_mut(row_bytes).skip(1).take(before.height() as usize - 2).enumerate() {
        let rows: [&[u8]; 3] = std::array::from_fn(|row| &before.as_raw()[(above + row) * row_bytes..][..row_bytes]);
        for at in 3..row_bytes - 3 {
            let near: u16 = rows.iter().flat_map(|row| [row[at - 3], row[at], row[at + 3]]).map(u16::from).sum();
            let here = rows[1][at];
            let smooth = (near + 4 * u16::from(here) + 6) / 13;
            out[at] = color::blend(f32::from(smooth), here, factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};

    fn gradient() -> RgbImage {
        RgbImage::from_fn(17, 17, |x, y| Rgb([50 + 8 * x as u8, 200 - 7 * y as u8, (x * y) as u8]))
    }

    fn after(operation: Operation, magnitude: u8, negative: bool) -> RgbImage {
        let mut picture = gradient();
        run(&mut picture, operation, magnitude, negative);
        picture
    }

    #[test]
    fn magnitude_zero_changes_nothing_where_it_has_a_strength() {
        for operation in [ShearX, Rotate, Color, Contrast, Sharpness, Posterize] {
            assert_eq!(after(operation, 0, false), gradient(), "{operation:?}");
        }
        for operation in [ShearX, Rotate, Color, Contrast, Sharpness] {
            assert_ne!(after(operation, 9, false), gradient(), "{operation:?}");
            assert_ne!(after(operation, 9, false), after(operation, 9, true), "{operation:?}");
        }
    }

    #[test]
    fn values_are_mapped_as_the_paper_says() {
        let mapped = |operation, magnitude, value: u8| {
            let mut picture = RgbImage::from_pixel(2, 2, Rgb([value; 3]));
            run(&mut picture, operation, magnitude, false);
            picture.get_pixel(1, 1)[0]
        };
        assert_eq!(mapped(Posterize, 9, 0b1011_1111), 0b1011_0000);
        assert_eq!((mapped(Solarize, 9, 3), mapped(Solarize, 5, 100), mapped(Solarize, 5, 150)), (252, 100, 105));
        assert_eq!(mapped(Invert, 4, 55), 200);
    }

    #[test]
    fn auto_contrast_and_equalize_reach_both_ends() {
        let stretched = after(AutoContrast, 0, false);
        let reds: Vec<u8> = stretched.pixels().map(|pixel| pixel[0]).collect();
        assert_eq!((reds.iter().min(), reds.iter().max()), (Some(&0), Some(&255)));
        // 17 equally frequent values become equally spaced ones; the whole-number step ends one value early.
        let reds: Vec<u8> = (0..17).map(|x| after(Equalize, 0, false).get_pixel(x, 3)[0]).collect();
        assert_eq!(reds, (0..17).map(|x| (17 * x).min(255) as u8).collect::<Vec<_>>());
        let mut flat = RgbImage::from_pixel(30, 30, Rgb([9, 9, 9]));
        equalize(&mut flat);
        auto_contrast(&mut flat);
        assert_eq!(flat, RgbImage::from_pixel(30, 30, Rgb([9, 9, 9])));
    }

    #[test]
    fn rotation_turns_about_the_centre() {
        let mut dot = RgbImage::new(17, 17);
        dot.put_pixel(16, 8, Rgb([255; 3]));
        let centre = *gradient().get_pixel(8, 8);
        assert_eq!(*after(Rotate, 9, false).get_pixel(8, 8), centre);
        rotate(&mut dot, 90.0);
        assert_eq!(*dot.get_pixel(8, 0), Rgb([255; 3]), "anticlockwise");
        assert_eq!(*after(Rotate, 9, false).get_pixel(0, 0), OUTSIDE);
    }

    #[test]
    fn sub_policies_are_drawn_with_the_generator() {
        let view = |row| {
            let mut picture = gradient();
            apply(&mut picture, &mut generator(0, Purpose::Augment, 0, 0, row));
            picture
        };
        assert_eq!(view(5), view(5));
        let different = (0..50).map(view).collect::<Vec<_>>().iter().filter(|&picture| *picture != gradient()).count();
        assert!((30..50).contains(&different), "{different} of 50 changed");
    }
}
