//! Pictures inside a page: small, as JPEG in base64.

use image::codecs::jpeg::JpegEncoder;
use image::{RgbImage, imageops};

use crate::report::widgets::html::{Html, escape};

/// Sides of a thumbnail at most, in pixels; it is shown at two thirds of that, sharp on dense screens.
const SIDE: u32 = 144;
const QUALITY: u8 = 80;

/// What a picture's frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It was asked for.
    Query,
    /// It was rightly found.
    Right,
    /// It was wrongly found.
    Wrong,
    /// Nothing.
    Plain,
}

impl Mark {
    fn class(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Right => "right",
            Self::Wrong => "wrong",
            Self::Plain => "plain",
        }
    }

    fn spoken(self) -> &'static str {
        match self {
            Self::Query => "query: ",
            Self::Right => "right: ",
            Self::Wrong => "wrong: ",
            Self::Plain => "",
        }
    }
}

/// A small picture with its name.
#[derive(Clone, Debug)]
pub struct Thumbnail {
    caption: String,
    /// What is shown under the pointer.
    name: String,
    address: Option<String>,
}

impl Thumbnail {
    /// A small copy of a picture.
    pub fn new(picture: &RgbImage, caption: &str) -> Self {
        let longer = picture.width().max(picture.height()).max(1);
        let scaled = |length: u32| (u64::from(length) * u64::from(SIDE) / u64::from(longer)).clamp(1, u64::from(SIDE)) as u32;
        let small = if longer > SIDE {
            imageops::resize(picture, scaled(picture.width()), scaled(picture.height()), imageops::FilterType::CatmullRom)
        } else {
            picture.clone()
        };
        let mut bytes = Vec::new();
        let encoded = JpegEncoder::new_with_quality(&mut bytes, QUALITY).encode_image(&small);
        // A picture without pixels cannot be encoded.
        let address = encoded.is_ok().then(|| format!("data:image/jpeg;base64,{}", base64(&bytes)));
        Self { caption: caption.to_owned(), name: caption.to_owned(), address }
    }

    /// A place for a picture that is not there: its name alone.
    pub fn missing(caption: &str) -> Self {
        Self { caption: caption.to_owned(), name: caption.to_owned(), address: None }
    }

    /// The same picture with a longer name under the pointer, such as its path.
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }
}

/// Pictures in a row.
pub fn strip(pictures: &[(Mark, Thumbnail)]) -> Html {
    let cell = |(mark, picture): &(Mark, Thumbnail)| {
        let (class, caption, name) = (mark.class(), escape(&picture.caption), escape(&picture.name));
        let spoken = format!("{}{caption}", mark.spoken());
        let shown = match &picture.address {
            Some(address) => format!("<img src=\"{address}\" alt=\"{spoken}\" title=\"{name}\">"),
            None => format!("<span class=\"absent\" title=\"{name}\"></span>"),
        };
        format!("<li class=\"{class}\">{shown}<span>{caption}</span></li>\n")
    };
    Html(format!("<ul class=\"strip\">\n{}</ul>\n", pictures.iter().map(cell).collect::<String>()))
}

/// A PNG file as it is.
pub fn sheet(png: &[u8], caption: &str) -> Html {
    let caption = escape(caption);
    Html(format!(
        "<figure><figcaption>{caption}</figcaption><img class=\"sheet\" src=\"data:image/png;base64,{}\" alt=\"{caption}\"></figure>\n",
        base64(png)
    ))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().enumerate().fold(0u32, |bits, (at, &byte)| bits | u32::from(byte) << (16 - 8 * at));
        for at in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn base64_agrees_with_the_examples_of_its_standard() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }

    #[test]
    fn thumbnails_are_small_and_keep_their_shape() {
        let made = Thumbnail::new(&RgbImage::from_pixel(600, 300, Rgb([9, 90, 200])), "a & b");
        let address = made.address.clone().unwrap();
        assert!(address.starts_with("data:image/jpeg;base64,/9j/") && address.len() < 8000);
        assert!(strip(&[(Mark::Wrong, made)]).markup().contains("alt=\"wrong: a &amp; b\""));
        for (width, height) in [(0, 0), (1, 5000), (3, 2)] {
            let made = Thumbnail::new(&RgbImage::new(width, height), "x");
            assert_eq!(made.address.is_some(), width > 0, "{width} x {height}");
        }
    }
}
