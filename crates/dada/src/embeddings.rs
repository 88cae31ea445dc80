//! Embeddings that are known to be sound: finite, of length one, as many as they say.

use rayon::prelude::*;

use crate::error::{Error, Result};

/// Row-major embeddings `[rows, dim]`, each row scaled to Euclidean length 1 so that a dot product is a cosine similarity.
#[derive(Clone, Debug)]
pub struct Embeddings {
    rows: usize,
    dim: usize,
    values: Vec<f32>,
}

impl Embeddings {
    /// Checks `values` (`[rows, dim]`, row-major) and scales every row to length 1 in place.
    ///
    /// # Errors
    /// No rows or no columns; a length other than `rows * dim`; more than `u32::MAX` rows; and, naming the first such row,
    /// a NaN, an infinity, or a row of zeros, which has no direction.
    pub fn new(mut values: Vec<f32>, rows: usize, dim: usize) -> Result<Self> {
        if rows == 0 || dim == 0 {
            return Err(Error::Data(format!("embeddings [{rows}, {dim}] are empty")));
        }
        if rows.checked_mul(dim) != Some(values.len()) {
            return Err(Error::mismatch("embeddings", format!("{} values", values.len()), format!("{rows} rows of {dim}")));
        }
        if u32::try_from(rows).is_err() {
            return Err(Error::mismatch("embeddings", format!("{rows} rows"), format!("at most {}", u32::MAX)));
        }
        let bad = values.par_chunks_exact_mut(dim).enumerate().filter_map(|(row, values)| Some((row, normalise(values).err()?)));
        match bad.min_by_key(|&(row, _)| row) {
            Some((row, problem)) => Err(Error::Data(format!("row {row} of the embeddings {problem}"))),
            None => Ok(Self { rows, dim, values }),
        }
    }

    /// Number of embeddings.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Their dimension.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values, row-major, `[rows, dim]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// One embedding, `[dim]`.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dim..][..self.dim]
    }

    /// The embeddings with these indices, in this order: queries or gallery picked from one dump.
    ///
    /// # Errors
    /// No index, or one beyond the last row.
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        if let Some(&index) = indices.iter().find(|&&index| index >= self.rows) {
            return Err(Error::mismatch("row index", index, format!("less than {}", self.rows)));
        }
        if indices.is_empty() {
            return Err(Error::Data("no row was selected from the embeddings".into()));
        }
        let values = indices.iter().flat_map(|&index| self.row(index)).copied().collect();
        Ok(Self { rows: indices.len(), dim: self.dim, values })
    }

    /// Several models' embeddings of the same rows as those of one model: each row's side by side, `[rows, sum of dims]`, and scaled to
    /// length 1 again. The cosine of two rows is then the mean of their cosines under each model, whatever its dimension (Musgrave et
    /// al., "A Metric Learning Reality Check", 2020, section 4: "concatenated").
    ///
    /// # Errors
    /// No embeddings, and other numbers of rows than the first ones have.
    pub fn concatenate(parts: &[&Self]) -> Result<Self> {
        let rows = parts.first().map_or(0, |first| first.rows);
        if let Some(other) = parts.iter().find(|part| part.rows != rows) {
            return Err(Error::mismatch("embeddings to concatenate", format!("{} rows", other.rows), format!("{rows}, as the first have")));
        }
        let values = (0..rows).flat_map(|row| parts.iter().flat_map(move |part| part.row(row))).copied().collect();
        Self::new(values, rows, parts.iter().map(|part| part.dim).sum())
    }
}

/// Scales a row to Euclidean length 1.
///
/// # Errors
/// What is wrong with a row that is not finite or has no direction.
pub(crate) fn normalise(row: &mut [f32]) -> Result<(), String> {
    if let Some((column, value)) = row.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        return Err(format!("has {value} in column {column}"));
    }
    // In double precision no float32 row overflows or vanishes.
    let norm = row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
    if norm == 0.0 {
        return Err("is all zeros: it has no direction".into());
    }
    for value in row {
        *value = (f64::from(*value) / norm) as f32;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(values: Vec<f32>, rows: usize, dim: usize) -> String {
        Embeddings::new(values, rows, dim).unwrap_err().to_string()
    }

    #[test]
    fn rows_have_length_one_whatever_their_magnitude() {
        let made = Embeddings::new(vec![3e30, 4e30, 3e-40, 4e-40, 0.0, -2.0], 3, 2).unwrap();
        for (row, wanted) in [[0.6, 0.8], [0.6, 0.8], [0.0, -1.0]].iter().enumerate() {
            assert!(made.row(row).iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-4), "{:?}", made.row(row));
        }
    }

    #[test]
    fn every_kind_of_bad_input_has_its_own_message() {
        assert_eq!(problem(vec![], 0, 3), "data: embeddings [0, 3] are empty");
        assert_eq!(problem(vec![], 2, 0), "data: embeddings [2, 0] are empty");
        assert_eq!(problem(vec![1.0; 5], 2, 3), "embeddings: found 5 values, expected 2 rows of 3");
        assert_eq!(problem(vec![1.0; 5], usize::MAX, 3), format!("embeddings: found 5 values, expected {} rows of 3", usize::MAX));
        assert_eq!(problem(vec![1.0, 1.0, 1.0, f32::NAN, f32::NAN, 1.0], 3, 2), "data: row 1 of the embeddings has NaN in column 1");
        assert_eq!(problem(vec![1.0, f32::INFINITY], 1, 2), "data: row 0 of the embeddings has inf in column 1");
        assert_eq!(problem(vec![1.0, 1.0, 0.0, -0.0], 2, 2), "data: row 1 of the embeddings is all zeros: it has no direction");
    }

    #[test]
    fn selection_keeps_order_and_refuses_what_is_not_there() {
        let made = Embeddings::new(vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.0], 3, 2).unwrap();
        assert_eq!(made.select(&[2, 0, 2]).unwrap().values(), [-1.0, 0.0, 1.0, 0.0, -1.0, 0.0]);
        assert_eq!(made.select(&[3]).unwrap_err().to_string(), "row index: found 3, expected less than 3");
        assert!(made.select(&[]).is_err());
    }

    #[test]
    fn concatenated_rows_have_the_mean_of_their_cosines() {
        let wave = |rows: usize, dim: usize, turn: f32| {
            Embeddings::new((0..rows * dim).map(|at| (at as f32 * turn).sin() + 0.3).collect(), rows, dim).unwrap()
        };
        // Of other dimensions, so that a model's share must not grow with its dimension.
        let parts = [wave(7, 2, 0.7), wave(7, 9, 1.3), wave(7, 4, 2.9)];
        let joined = Embeddings::concatenate(&parts.each_ref()).unwrap();
        assert_eq!((joined.rows(), joined.dim()), (7, 15));
        let cosine = |of: &Embeddings, a: usize, b: usize| {
            let mut sum = 0.0;
            for column in 0..of.dim() {
                sum += f64::from(of.row(a)[column]) * f64::from(of.row(b)[column]);
            }
            sum
        };
        for a in 0..7 {
            for b in 0..7 {
                let wanted = parts.iter().map(|part| cosine(part, a, b)).sum::<f64>() / 3.0;
                assert!((cosine(&joined, a, b) - wanted).abs() < 1e-6, "{a} {b}: {} {wanted}", cosine(&joined, a, b));
            }
        }
        let error = Embeddings::concatenate(&[&parts[0], &wave(6, 2, 0.7)]).unwrap_err().to_string();
        assert_eq!(error, "embeddings to concatenate: found 6 rows, expected 7, as the first have");
        assert!(Embeddings::concatenate(&[]).is_err());
    }
}
