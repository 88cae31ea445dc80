//! Changes of colour, in place, as Pillow and torchvision define them.

use image::{Rgb, RgbImage};

/// The usual weights of ITU-R BT.601 for how bright red, green and blue look.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    ((u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471 + 0x8000) >> 16) as u8
}

/// Goes from `from` (factor 0) through `to` (factor 1) and beyond.
pub fn blend(from: f32, to: u8, factor: f32) -> u8 {
    // The cast keeps within 0 and 255 and cuts fractions off, which takes a fraction of the time of `round`.
    (from + (f32::from(to) - from) * factor + 0.5) as u8
}

/// Multiplies every channel; 0 is black, 1 changes nothing.
pub fn brightness(picture: &mut RgbImage, factor: f32) {
    let table: [u8; 256] = std::array::from_fn(|value| blend(0.0, value as u8, factor));
    map_channels(picture, &[table; 3]);
}

/// Moves every channel away from the picture's mean brightness; 0 is grey, 1 changes nothing.
pub fn contrast(picture: &mut RgbImage, factor: f32) {
    let total: u64 = picture.pixels().map(|pixel| u64::from(luma(pixel.0))).sum();
    let mean = (total as f32 / (picture.width() * picture.height()).max(1) as f32).round();
    let table: [u8; 256] = std::array::from_fn(|value| blend(mean, value as u8, factor));
    map_channels(picture, &[table; 3]);
}

/// Moves every pixel away from its own grey; 0 is a grey picture, 1 changes nothing.
pub fn saturation(picture: &mut RgbImage, factor: f32) {
    for Rgb(pixel) in picture.pixels_mut() {
        let grey = f32::from(luma(*pixel));
        *pixel = pixel.map(|channel| blend(grey, channel, factor));
    }
}

/// Turns the colour circle by `turns`; whole turns change nothing.
pub fn hue(picture: &mut RgbImage, turns: f32) {
    for Rgb(pixel) in picture.pixels_mut() {
        let [red, green, blue] = pixel.map(f32::from);
        let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
        let chroma = most - least;
        if chroma == 0.0 {
            continue;
        }
        // Sixths of a turn, 0 at red.
        let angle = if most == red {
            (green - blue) / chroma
        } else if most == green {
            (blue - red) / chroma + 2.0
        } else {
            (red - green) / chroma + 4.0
        };
        let turned = (angle + turns * 6.0).rem_euclid(6.0);
        *pixel = [5.0, 3.0, 1.0].map(|phase| {
            let distance: f32 = (phase + turned) % 6.0;
            (most - chroma * distance.min(4.0 - distance).clamp(0.0, 1.0)).round() as u8
        });
    }
}

/// Replaces each value of each channel by the table's.
pub fn map_channels(picture: &mut RgbImage, tables: &[[u8; 256]; 3]) {
    for Rgb(pixel) in picture.pixels_mut() {
        *pixel = std::array::from_fn(|channel| tables[channel][usize::from(pixel[channel])]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(pixels: &[[u8; 3]], change: impl Fn(&mut RgbImage)) -> Vec<[u8; 3]> {
        let mut picture = RgbImage::from_fn(pixels.len() as u32, 1, |x, _| Rgb(pixels[x as usize]));
        change(&mut picture);
        picture.pixels().map(|pixel| pixel.0).collect()
    }

    const COLOURS: [[u8; 3]; 4] = [[200, 30, 90], [10, 250, 130], [128, 128, 128], [0, 4, 255]];

    #[test]
    fn factor_one_and_whole_turns_change_nothing() {
        for change in [brightness, contrast, saturation, hue] {
            assert_eq!(changed(&COLOURS, |picture| change(picture, 1.0)), COLOURS);
        }
    }

    #[test]
    fn factor_zero_is_black_grey_and_colourless() {
        assert_eq!(changed(&COLOURS, |picture| brightness(picture, 0.0)), [[0; 3]; 4]);
        assert_eq!(changed(&[[0; 3], [100; 3]], |picture| contrast(picture, 0.0)), [[50; 3]; 2]);
        // 0.299 * 200 + 0.587 * 30 + 0.114 * 90 = 87.7
        assert_eq!(changed(&COLOURS[..1], |picture| saturation(picture, 0.0)), [[88; 3]]);
    }

    #[test]
    fn factors_multiply_and_clip() {
        assert_eq!(changed(&[[100, 200, 10]], |picture| brightness(picture, 1.5)), [[150, 255, 15]]);
        assert_eq!(changed(&[[0; 3], [100; 3]], |picture| contrast(picture, 0.5)), [[25; 3], [75; 3]]);
    }

    #[test]
    fn a_third_of_a_turn_moves_red_to_green_to_blue() {
        let third = |colour| changed(&[colour], |picture| hue(picture, 1.0 / 3.0))[0];
        assert_eq!(third([255, 0, 0]), [0, 255, 0]);
        assert_eq!(third([0, 255, 0]), [0, 0, 255]);
        assert_eq!(third([200, 50, 100]), [100, 200, 50]);
        assert_eq!(third([77; 3]), [77; 3]);
    }
}
