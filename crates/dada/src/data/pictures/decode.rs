//! Picture files as people have them, turned into 8-bit RGB.
//!
//! A file from outside is not trusted: its length, its format and its dimensions are looked at before anything is allocated, and a
//! decoder that panics on a malformed file counts as a malformed file.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Rgb, RgbImage};

use crate::error::{Error, Result};
use crate::formats::file::read_bounded;

/// The most pixels that a picture may have: the largest phone cameras give 108 million.
pub const MAX_PIXELS: u64 = 120_000_000;
/// The most bytes that a picture file may have.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
// The largest picture with four 16-bit channels, and as much again for a decoder's own buffers.
const MAX_DECODER_BYTES: u64 = 16 * MAX_PIXELS;

/// Reads a JPEG, PNG, WebP or GIF file as upright 8-bit RGB: EXIF orientation applied, transparency on white, the first frame.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Format`] when it is no such picture, truncated, or larger than
/// [`MAX_PIXELS`] or [`MAX_FILE_BYTES`].
pub fn decode(path: &Path) -> Result<RgbImage> {
    decode_bytes(&read_bounded(path, MAX_FILE_BYTES)?, path)
}

/// As [`decode`], from bytes in memory; `name` is what errors call them.
///
/// # Errors
/// As [`decode`], without those of the operating system.
pub fn decode_bytes(bytes: &[u8], name: &Path) -> Result<RgbImage> {
    let refuse = |problem: String| Error::format(name, problem);
    let format = recognise(bytes).map_err(refuse)?;
    if format == ImageFormat::Jpeg && !jpeg_is_complete(bytes) {
        return Err(refuse("truncated: found the end of the file before the end of the JPEG picture".to_owned()));
    }
    catch_unwind(AssertUnwindSafe(|| decode_as(bytes, format)))
        .unwrap_or_else(|_| Err("malformed: the decoder gave up on it".to_owned()))
        .map_err(refuse)
}

fn decode_as(bytes: &[u8], format: ImageFormat) -> Result<RgbImage, String> {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(describe)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(format!("found a picture of {width} x {height} pixels"));
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!(
            "found {width} x {height} pixels, at most {} million are read: make the picture smaller",
            MAX_PIXELS / 1_000_000
        ));
    }
    // Orientation is an optional extra: a picture with damaged metadata is shown as it is stored.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(describe)?;
    picture.apply_orientation(orientation);
    Ok(if picture.color().has_alpha() { on_white(&picture) } else { picture.into_rgb8() })
}

fn describe(error: ImageError) -> String {
    match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "truncated: found the end of the file before the end of the picture".to_owned()
        }
        error => format!("not a readable picture: {error}"),
    }
}

/// Tells formats apart by their first bytes, since names lie.
fn recognise(bytes: &[u8]) -> Result<ImageFormat, String> {
    let convert = "convert it to JPEG or PNG first, for instance with `magick IN OUT.jpg`";
    match bytes {
        [] => Err("found an empty file, expected a picture".to_owned()),
        [0xff, 0xd8, 0xff, ..] => Ok(ImageFormat::Jpeg),
        [0x89, b'P', b'N', b'G', ..] => Ok(ImageFormat::Png),
        [b'G', b'I', b'F', b'8', ..] => Ok(ImageFormat::Gif),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(ImageFormat::WebP),
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', ..] => Err(format!("found an AVIF picture, which is not read: {convert}")),
        [_, _, _, _, b'f', b't', b'y', b'p', b'h' | b'm', ..] => {
            Err(format!("found a HEIC picture, which is not read: {convert}, or set the phone's camera to \"most compatible\""))
        }
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Err(format!("found a TIFF picture, which is not read: {convert}")),
        [b'B', b'M', ..] => Err(format!("found a BMP picture, which is not read: {convert}")),
        _ => Err("not a picture: expected JPEG, PNG, WebP or GIF".to_owned()),
    }
}

/// Whether the picture's own end marker is there. The decoder fills what is missing with grey and says nothing, and a thumbnail in
/// the metadata may hold an end marker too, so the segments are walked.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    let mut at = 2;
    while at + 1 < bytes.len() {
        // Between segments and within entropy-coded data alike, everything up to the next real marker is skipped.
        if bytes[at] != 0xff {
            at += 1;
            continue;
        }
        match bytes[at + 1] {
            0xff => at += 1,
            0x00 | 0x01 | 0xd0..=0xd8 => at += 2,
            0xd9 => return true,
            _ => match bytes.get(at + 2..at + 4) {
                Some(length) => at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]])),
                None => return false,
            },
        }
    }
    false
}

fn on_white(picture: &DynamicImage) -> RgbImage {
    let picture = picture.to_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0.map(u32::from);
        Rgb([red, green, blue].map(|channel| ((channel * alpha + 255 * (255 - alpha) + 127) / 255) as u8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, ImageEncoder, Luma, LumaA, Rgba};

    // Pure red; Pillow: Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save("cmyk.jpg", quality=90)
    const CMYK_JPEG: &[u8] = include_bytes!("../../../../../tests/fixtures/cmyk.jpg");

    fn encode(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn read(bytes: &[u8]) -> Result<RgbImage> {
        decode_bytes(bytes, Path::new("picture"))
    }

    fn problem(bytes: &[u8]) -> String {
        read(bytes).unwrap_err().to_string()
    }

    fn gradient(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7) as u8, (y * 5) as u8, 90]))
    }

    #[test]
    fn every_colour_type_becomes_rgb() {
        let png = |picture: DynamicImage| *read(&encode(picture, ImageFormat::Png)).unwrap().get_pixel(0, 0);
        assert_eq!(png(ImageBuffer::from_pixel(2, 2, Luma([40u8])).into()), Rgb([40; 3]));
        assert_eq!(png(ImageBuffer::from_pixel(2, 2, Luma([40u16 * 257])).into()), Rgb([40; 3]));
        assert_eq!(png(ImageBuffer::from_pixel(2, 2, Rgb([257u16, 514, 65535])).into()), Rgb([1, 2, 255]));
        assert_eq!(png(ImageBuffer::from_pixel(2, 2, Rgba([10u8, 20, 30, 0])).into()), Rgb([255; 3]));
        assert_eq!(png(ImageBuffer::from_pixel(2, 2, Rgba([0u8, 100, 255, 128])).into()), Rgb([127, 177, 255]));
        assert_eq!(png(ImageBuffer::from_pixel(2, 2, LumaA([0u8, 255])).into()), Rgb([0; 3]));
    }

    #[test]
    fn palettes_and_cmyk_are_read() {
        let picture = RgbImage::from_pixel(3, 2, Rgb([250, 10, 20]));
        let gif = read(&encode(picture, ImageFormat::Gif)).unwrap();
        assert_eq!((gif.dimensions(), *gif.get_pixel(1, 1)), ((3, 2), Rgb([250, 10, 20])));
        assert_eq!(read(CMYK_JPEG).map(|picture| picture.dimensions()).unwrap(), (8, 8));
        let Rgb([red, green, blue]) = *read(CMYK_JPEG).unwrap().get_pixel(4, 4);
        assert!(red > 200 && green < 60 && blue < 60, "found {red} {green} {blue}, expected red");
    }

    #[test]
    fn orientation_is_applied() {
        let mut bytes = Vec::new();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
        // Big-endian TIFF header, one entry: orientation (0x112), SHORT, one value, 6 = turn by 90 degrees clockwise.
        encoder.set_exif_metadata(b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec()).unwrap();
        let half = RgbImage::from_fn(32, 16, |x, _| if x < 16 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) });
        encoder.encode_image(&half).unwrap();
        let upright = read(&bytes).unwrap();
        assert_eq!(upright.dimensions(), (16, 32));
        assert!(upright.get_pixel(8, 2)[0] > 200 && upright.get_pixel(8, 30)[2] > 200);
    }

    #[test]
    fn a_picture_cut_anywhere_is_an_error() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif] {
            let bytes = encode(gradient(40, 30), format);
            assert_eq!(read(&bytes).unwrap().dimensions(), (40, 30));
            for kept in [0, 1, 3, 15, bytes.len() / 3, bytes.len() / 2, bytes.len() * 9 / 10] {
                assert!(read(&bytes[..kept]).is_err(), "{format:?} cut after {kept} of {} bytes was read", bytes.len());
            }
        }
        let jpeg = encode(gradient(40, 30), ImageFormat::Jpeg);
        assert!(problem(&jpeg[..jpeg.len() - 40]).contains("truncated"));
    }

    #[test]
    fn a_bomb_is_refused_by_its_header() {
        // A valid header of 12,000 x 12,000 pixels and no data: reaching the data would be another error.
        let mut bytes = Vec::new();
        image::codecs::png::PngEncoder::new(&mut bytes).write_image(&[0; 3], 1, 1, image::ExtendedColorType::Rgb8).unwrap();
        bytes[16..20].copy_from_slice(&12_000u32.to_be_bytes());
        bytes[20..24].copy_from_slice(&12_000u32.to_be_bytes());
        let checksum = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
        let problem = problem(&bytes);
        assert!(problem.contains("12000 x 12000 pixels"), "{problem}");
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
        })
    }

    #[test]
    fn what_is_not_read_says_what_to_do() {
        assert!(problem(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").contains("HEIC picture, which is not read: convert it to JPEG"));
        assert!(problem(b"II*\0\x08\0\0\0").contains("TIFF"));
        assert!(problem(b"\0\0\0\x18ftypavif\0\0\0\0").contains("AVIF"));
        assert!(problem(b"hello").contains("expected JPEG, PNG, WebP or GIF"));
        assert!(problem(b"").contains("empty file"));
    }

    #[test]
    fn folders_and_missing_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(decode(folder.path()).unwrap_err().to_string().contains("folder"));
        let missing = folder.path().join("missing.jpg");
        assert!(decode(&missing).unwrap_err().to_string().contains("missing.jpg"));
    }
}
