//! A picture of queries and what was found for them, because people look before they read.

use std::sync::Arc;

use image::{Rgb, RgbImage, imageops};

use crate::error::Result;

/// Queries on a sheet.
pub const QUERIES: usize = 12;
/// Found pictures beside each query.
pub const NEIGHBOURS: usize = 5;

const TILE: u32 = 72;
const FRAME: u32 = 4;
const GAP: u32 = 6;
const CELL: u32 = TILE + 2 * FRAME + GAP;
const COLUMNS: u32 = 2;

const RIGHT: Rgb<u8> = Rgb([34, 160, 84]);
const WRONG: Rgb<u8> = Rgb([214, 60, 50]);
const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const QUERY: Rgb<u8> = Rgb([70, 70, 80]);

/// The first picture of each of [`QUERIES`] classes, spread evenly over all that have a second picture to be found.
pub fn spread(labels: impl Iterator<Item = usize> + Clone) -> Vec<usize> {
    let mut firsts: Vec<(usize, usize, usize)> = Vec::new();
    for (index, label) in labels.enumerate() {
        match firsts.iter_mut().find(|(known, ..)| *known == label) {
            Some((_, _, count)) => *count += 1,
            None => firsts.push((label, index, 1)),
        }
    }
    firsts.retain(|&(.., count)| count > 1);
    let shown = firsts.len().min(QUERIES);
    (0..shown).map(|index| firsts[index * firsts.len() / shown].1).collect()
}

/// Draws one row a query: the query, then what was found, in a green frame where the label is the query's and in a broken red one
/// where it is not.
///
/// # Errors
/// Those of `picture`.
pub fn draw(
    rows: &[(usize, Vec<usize>)],
    label: impl Fn(usize) -> usize,
    picture: impl Fn(usize) -> Result<Arc<RgbImage>>,
) -> Result<RgbImage> {
    let block = CELL * (1 + NEIGHBOURS as u32) + GAP;
    let lines = (rows.len() as u32).div_ceil(COLUMNS);
    let mut sheet = RgbImage::from_pixel(GAP + COLUMNS * (block + 2 * GAP), GAP + lines * CELL, PAPER);
    for (index, (query, found)) in rows.iter().enumerate() {
        let (column, line) = (index as u32 / lines, index as u32 % lines);
        let (left, top) = (GAP + column * (block + 2 * GAP), GAP + line * CELL);
        place(&mut sheet, picture(*query)?.as_ref(), left, top, Frame::Query);
        for (position, &hit) in found.iter().enumerate() {
            let frame = if label(hit) == label(*query) { Frame::Right } else { Frame::Wrong };
            place(&mut sheet, picture(hit)?.as_ref(), left + GAP + CELL * (1 + position as u32), top, frame);
        }
    }
    Ok(sheet)
}

#[derive(Clone, Copy, PartialEq)]
enum Frame {
    Query,
    Right,
    Wrong,
}

fn place(sheet: &mut RgbImage, picture: &RgbImage, left: u32, top: u32, frame: Frame) {
    let side = TILE + 2 * FRAME;
    for y in 0..side {
        for x in 0..side {
            let inside = (FRAME..side - FRAME).contains(&x) && (FRAME..side - FRAME).contains(&y);
            let broken = frame == Frame::Wrong && (x + y) / 8 % 2 == 1;
            let colour = match frame {
                _ if inside || broken => continue,
                Frame::Query => QUERY,
                Frame::Right => RIGHT,
                Frame::Wrong => WRONG,
            };
            sheet.put_pixel(left + x, top + y, colour);
        }
    }
    let scale = f64::from(TILE) / f64::from(picture.width().max(picture.height()));
    let scaled = |length: u32| ((f64::from(length) * scale).round() as u32).clamp(1, TILE);
    let small = imageops::resize(picture, scaled(picture.width()), scaled(picture.height()), imageops::FilterType::CatmullRom);
    let (x, y) = ((TILE - small.width()) / 2, (TILE - small.height()) / 2);
    imageops::replace(sheet, &small, i64::from(left + FRAME + x), i64::from(top + FRAME + y));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_come_from_different_classes_that_have_something_to_find() {
        let labels = (0..100).flat_map(|class| vec![class; if class % 2 == 0 { 1 } else { 3 }]);
        let queries = spread(labels.clone());
        let labels: Vec<usize> = labels.collect();
        let mut classes: Vec<usize> = queries.iter().map(|&query| labels[query]).collect();
        classes.dedup();
        assert_eq!(classes.len(), QUERIES);
        assert!(classes.iter().all(|class| class % 2 == 1));
    }

    #[test]
    fn right_and_wrong_are_framed_in_their_colours() {
        let grey = Arc::new(RgbImage::from_pixel(20, 10, Rgb([128; 3])));
        let sheet = draw(&[(0, vec![1, 2])], |index| [7, 7, 8][index], |_| Ok(grey.clone())).unwrap();
        let colours: Vec<_> =
            (0..3).map(|position| *sheet.get_pixel(GAP + position * CELL + if position > 0 { GAP } else { 0 }, GAP)).collect();
        assert_eq!(colours, [QUERY, RIGHT, WRONG]);
    }
}
