//! Pictures turned and slanted about their centre, as no two hands write alike.

use image::RgbImage;

/// The picture turned clockwise by `degrees` and then slanted: a pixel moves to the right by `slope` times its height above the centre.
/// The size stays; what comes in from outside repeats the nearest pixel of the border, so that paper stays paper. Bilinear.
pub fn slant(picture: &RgbImage, degrees: f32, slope: f32) -> RgbImage {
    let (width, height) = picture.dimensions();
    if width == 0 || height == 0 {
        return picture.clone();
    }
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (centre_x, centre_y) = ((width - 1) as f32 / 2.0, (height - 1) as f32 / 2.0);
    let row_bytes = 3 * width as usize;
    let source = picture.as_raw();
    let mut changed = RgbImage::new(width, height);
    for (y, out) in changed.chunks_exact_mut(row_bytes).enumerate() {
        let y = y as f32 - centre_y;
        for (x, pixel) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            // Backwards: where a pixel of the result comes from.
            let x = x as f32 - centre_x + slope * y;
            let (left, across) = between(centre_x + cos * x + sin * y, width);
            let (top, down) = between(centre_y - sin * x + cos * y, height);
            let (right, bottom) = ((left + 1).min(width as usize - 1), (top + 1).min(height as usize - 1));
            let corners = [(top, left), (top, right), (bottom, left), (bottom, right)].map(|(row, column)| row * row_bytes + 3 * column);
            *pixel = std::array::from_fn(|channel| {
                let [a, b, c, d] = corners.map(|corner| f32::from(source[corner + channel]));
                let (above, below) = (a + (b - a) * across, c + (d - c) * across);
                (above + (below - above) * down + 0.5) as u8
            });
        }
    }
    changed
}

/// The last pixel at or before a coordinate within `0..length`, and how far beyond it the coordinate lies.
fn between(coordinate: f32, length: u32) -> (usize, f32) {
    let inside = coordinate.clamp(0.0, (length - 1) as f32);
    (inside as usize, inside - inside.floor())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use image::imageops::{rotate90, rotate180, rotate270};
    use proptest::prelude::*;

    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([(x * 37 + y * 11) as u8, (x * y) as u8, (255 - y * 5) as u8]))
    }

    #[test]
    fn quarters_are_exact_and_clockwise() {
        for side in [8, 9] {
            let picture = picture(side, side);
            assert_eq!(slant(&picture, 0.0, 0.0), picture);
            let near = |degrees: f32, expected: RgbImage| {
                let found = slant(&picture, degrees, 0.0);
                let worst = found.as_raw().iter().zip(expected.as_raw()).map(|(&a, &b)| a.abs_diff(b)).max();
                assert!(worst <= Some(1), "{degrees}: {worst:?}");
            };
            near(90.0, rotate90(&picture));
            near(180.0, rotate180(&picture));
            near(-90.0, rotate270(&picture));
        }
    }

    #[test]
    fn an_upright_stroke_leans_to_the_right_and_paper_stays_paper() {
        let stroke = RgbImage::from_fn(9, 9, |x, _| Rgb([if x == 4 { 0 } else { 255 }; 3]));
        let leaning = slant(&stroke, 0.0, 1.0);
        let expected = RgbImage::from_fn(9, 9, |x, y| Rgb([if x == 8 - y { 0 } else { 255 }; 3]));
        assert_eq!(leaning, expected);
        let paper = RgbImage::from_pixel(20, 10, Rgb([250, 240, 200]));
        assert_eq!(slant(&paper, 33.0, 0.4), paper);
    }

    proptest! {
        #[test]
        fn every_picture_keeps_its_size(width in 0u32..30, height in 0u32..30, degrees in -180f32..180.0, slope in -1f32..1.0) {
            prop_assert_eq!(slant(&picture(width, height), degrees, slope).dimensions(), (width, height));
        }
    }
}
