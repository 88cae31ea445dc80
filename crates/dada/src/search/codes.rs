//! Codes: vectors stored in fewer bits, or in fewer dimensions, than 32-bit floating point.

use std::fmt;

use rayon::prelude::*;

use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::search::pca::Pca;

/// How a vector is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 16-bit floating point of IEEE 754: 11 significant bits.
    Half,
    /// bfloat16: 8 significant bits.
    Bfloat,
    /// 8-bit integers with a scale for each vector.
    Int8,
    /// The first principal components of the gallery, as 32-bit floating point.
    Pca(usize),
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Half => formatter.write_str("f16"),
            Self::Bfloat => formatter.write_str("bf16"),
            Self::Int8 => formatter.write_str("int8"),
            Self::Pca(components) => write!(formatter, "pca-{components}"),
        }
    }
}

impl Code {
    /// The code that is displayed as `name`, if one is.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "f16" => Some(Self::Half),
            "bf16" => Some(Self::Bfloat),
            "int8" => Some(Self::Int8),
            _ => name.strip_prefix("pca-")?.parse().ok().filter(|&components| components > 0).map(Self::Pca),
        }
    }

    /// Bytes of a stored vector of `dim` values.
    pub fn bytes(self, dim: usize) -> usize {
        match self {
            Self::Half | Self::Bfloat => 2 * dim,
            // The scale is a 32-bit number.
            Self::Int8 => dim + 4,
            Self::Pca(components) => 4 * components,
        }
    }

    /// What is left of embeddings that are stored so: `[rows, dim]`, or `[rows, components]`. Principal components are those of the rows
    /// of `gallery`.
    ///
    /// # Errors
    /// More components than dimensions, no row in the gallery, and a row of which nothing is left.
    pub fn decoded(self, embeddings: &Embeddings, gallery: &[usize]) -> Result<Embeddings> {
        let (rows, dim) = (embeddings.rows(), embeddings.dim());
        let round: fn(&mut [f32]) = match self {
            Self::Half => |row| row.iter_mut().for_each(|value| *value = to_half(*value)),
            Self::Bfloat => |row| row.iter_mut().for_each(|value| *value = to_bfloat(*value)),
            Self::Int8 => to_int8,
            Self::Pca(components) => {
                if components > dim {
                    return Err(Error::mismatch("components", components, format!("at most {dim}, the dimension of the embeddings")));
                }
                let pca = Pca::fit(embeddings.select(gallery)?.values(), dim)?;
                return Embeddings::new(pca.project(embeddings.values(), components), rows, components);
            }
        };
        let mut values = embeddings.values().to_vec();
        values.par_chunks_exact_mut(dim).for_each(round);
        Embeddings::new(values, rows, dim)
    }
}

/// The nearest number of 11 significant bits, as `f16` has for magnitudes from 2^-14 on; multiples of 2^-24 below. For magnitudes up to
/// 1, which is all that vectors of length one have.
fn to_half(value: f32) -> f32 {
    const STEP: f32 = 1.0 / (1 << 24) as f32;
    if value.abs() >= 1.0 / 16384.0 { drop_bits(value, 13) } else { (value / STEP).round_ties_even() * STEP }
}

/// The nearest number of 8 significant bits.
fn to_bfloat(value: f32) -> f32 {
    drop_bits(value, 16)
}

/// Rounds the last `count` bits of a number away, ties to even.
fn drop_bits(value: f32, count: u32) -> f32 {
    let bits = value.to_bits();
    let rounded = bits + ((1 << (count - 1)) - 1) + (bits >> count & 1);
    f32::from_bits(rounded >> count << count)
}

/// The nearest multiples of a 127th of the largest magnitude.
fn to_int8(row: &mut [f32]) {
    let scale = row.iter().fold(0.0f32, |largest, value| largest.max(value.abs())) / 127.0;
    row.iter_mut().for_each(|value| *value = (*value / scale).round_ties_even() * scale);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};
    use rand::RngExt;

    #[test]
    fn names_are_read_as_they_are_written() {
        for code in [Code::Half, Code::Bfloat, Code::Int8, Code::Pca(64)] {
            assert_eq!(Code::named(&code.to_string()), Some(code));
        }
        assert!(["pca-0", "pca-", "int4", ""].into_iter().all(|wrong| Code::named(wrong).is_none()));
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest_that_their_type_has() {
        // Ties go to the even neighbour: 1 + 2^-11 lies between 1 and 1 + 2^-10.
        assert_eq!((to_half(1.0 + 1.0 / 2048.0), to_half(1.0 + 3.0 / 2048.0)), (1.0, 1.0 + 2.0 / 1024.0));
        assert_eq!((to_bfloat(1.0 + 1.0 / 256.0), to_bfloat(-1.0 - 3.0 / 256.0)), (1.0, -1.0 - 2.0 / 128.0));
        let step = 2f32.powi(-24);
        assert_eq!((to_half(2.4 * step), to_half(0.5 * step), to_half(-1.5 * step)), (2.0 * step, 0.0, -2.0 * step));
        let mut random = generator(1, Purpose::Sample, 0, 0, 0);
        for _ in 0..2000 {
            let value: f32 = random.random_range(-1.0..1.0);
            assert!(
                (to_half(value) - value).abs() <= value.abs() / 2048.0 + step && (to_bfloat(value) - value).abs() <= value.abs() / 256.0
            );
            assert_eq!((to_half(to_half(value)), to_bfloat(to_bfloat(value))), (to_half(value), to_bfloat(value)));
        }
        let mut row = [0.5, -1.0, 0.0039, 0.004];
        to_int8(&mut row);
        assert_eq!(row, [64.0 / 127.0, -1.0, 0.0, 1.0 / 127.0]);
    }

    #[test]
    fn components_keep_the_gallery_s_directions_and_no_more_than_there_are() {
        // The gallery varies along the first two axes alone, the query along the third.
        let values = vec![1.0, 0.2, 0.0, 1.0, -0.2, 0.0, 1.0, 0.1, 0.0, 0.6, 0.0, 0.8];
        let set = Embeddings::new(values, 4, 3).unwrap();
        let decoded = Code::Pca(1).decoded(&set, &[0, 1, 2]).unwrap();
        assert_eq!((decoded.rows(), decoded.dim()), (4, 1));
        assert_eq!(decoded.values()[..2], [1.0, -1.0]);
        assert_eq!(Code::Pca(1).bytes(3), 4);
        assert!(Code::Pca(4).decoded(&set, &[0, 1]).unwrap_err().to_string().contains("at most 3"));
    }
}
