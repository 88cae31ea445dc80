//! What is searched in what: one set in itself, or some of its rows in others.

use std::collections::HashSet;

use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::evaluate::definitions::{Scored, compare_gallery, compare_self};
use crate::evaluate::retrieval::{Retrieval, query_gallery, self_retrieval};
use crate::progress::Progress;
use crate::roles::Roles;
use crate::search::ranking::{Ranks, rank_gallery, rank_self};
use crate::search::{Neighbour, nearest};

/// Embeddings with a class for each, and their roles.
#[derive(Clone, Debug)]
pub struct Task {
    embeddings: Embeddings,
    labels: Vec<usize>,
    roles: Option<Roles>,
}

/// Embeddings with a class for each.
type Labelled = (Embeddings, Vec<usize>);

impl Task {
    /// Without roles every row is searched in all others, itself excluded by index.
    ///
    /// # Errors
    /// Not one label for each row, a role for a row that is not there, and rows that are in both query and gallery: they would find
    /// themselves.
    pub fn new(embeddings: Embeddings, labels: Vec<usize>, roles: Option<Roles>) -> Result<Self> {
        let rows = embeddings.rows();
        if labels.len() != rows {
            return Err(Error::mismatch("labels", labels.len(), format!("{rows}, one for each embedding")));
        }
        if let Some(Roles { query, gallery }) = &roles {
            if let Some(row) = query.iter().chain(gallery).find(|&&row| row >= rows) {
                return Err(Error::mismatch("queries and gallery", format!("row {row}"), format!("less than {rows}")));
            }
            let gallery: HashSet<usize> = gallery.iter().copied().collect();
            let both = query.iter().filter(|row| gallery.contains(row)).count();
            if both > 0 {
                return Err(Error::Data(format!("{both} rows are in both query and gallery, where each would find itself")));
            }
        }
        Ok(Self { embeddings, labels, roles })
    }

    /// The same rows, classes and roles with other embeddings, such as approximate ones.
    ///
    /// # Errors
    /// Another number of rows.
    pub fn with(&self, embeddings: Embeddings) -> Result<Self> {
        Self::new(embeddings, self.labels.clone(), self.roles.clone())
    }

    /// All embeddings.
    pub fn embeddings(&self) -> &Embeddings {
        &self.embeddings
    }

    /// The class of each row.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// Which rows ask and which answer, if not all do both.
    pub fn roles(&self) -> Option<&Roles> {
        self.roles.as_ref()
    }

    /// Rows that are searched for, in the order of results.
    pub fn queries(&self) -> Vec<usize> {
        self.roles.as_ref().map_or_else(|| (0..self.labels.len()).collect(), |roles| roles.query.clone())
    }

    /// Rows that are searched.
    pub fn gallery(&self) -> Vec<usize> {
        self.roles.as_ref().map_or_else(|| (0..self.labels.len()).collect(), |roles| roles.gallery.clone())
    }

    /// Embeddings and classes of the queries and of the gallery, where they are not one set.
    fn sides(&self) -> Result<Option<[Labelled; 2]>> {
        let Some(Roles { query, gallery }) = &self.roles else { return Ok(None) };
        Ok(Some([self.select(query)?, self.select(gallery)?]))
    }

    fn select(&self, rows: &[usize]) -> Result<Labelled> {
        Ok((self.embeddings.select(rows)?, rows.iter().map(|&row| self.labels[row]).collect()))
    }

    /// Scores every query's ranks, in the order of [`Task::queries`]; `Ranks::query` counts in that order too.
    ///
    /// # Errors
    /// As [`rank_self`] and [`rank_gallery`].
    pub fn rank<T: Send>(&self, depth: usize, progress: Progress, score: impl Fn(Ranks) -> T + Sync) -> Result<Vec<T>> {
        match self.sides()? {
            None => rank_self(&self.embeddings, &self.labels, depth, progress, score),
            Some([query, gallery]) => rank_gallery((&query.0, &query.1), (&gallery.0, &gallery.1), depth, progress, score),
        }
    }

    /// The metrics.
    ///
    /// # Errors
    /// As [`self_retrieval`] and [`query_gallery`].
    pub fn retrieval(&self, ks: &[usize], progress: Progress) -> Result<Retrieval> {
        match self.sides()? {
            None => self_retrieval(&self.embeddings, &self.labels, ks, progress),
            Some([query, gallery]) => query_gallery((&query.0, &query.1), (&gallery.0, &gallery.1), ks, progress),
        }
    }

    /// The metrics under all definitions.
    ///
    /// # Errors
    /// As [`compare_self`] and [`compare_gallery`].
    pub fn compare(&self, ks: &[usize], progress: Progress) -> Result<Vec<Scored>> {
        match self.sides()? {
            None => compare_self(&self.embeddings, &self.labels, ks, progress),
            Some([query, gallery]) => compare_gallery((&query.0, &query.1), (&gallery.0, &gallery.1), ks, progress),
        }
    }

    /// The `k` nearest rows of the gallery for each of these rows, none finding itself. Indices are rows of the embeddings.
    ///
    /// # Errors
    /// No row, or one that is not there.
    pub fn nearest(&self, rows: &[usize], k: usize) -> Result<Vec<Vec<Neighbour>>> {
        let queries = self.embeddings.select(rows)?;
        let mut found = match &self.roles {
            None => nearest(&queries, &self.embeddings, k + 1, false)?,
            Some(Roles { gallery, .. }) => {
                let mut found = nearest(&queries, &self.embeddings.select(gallery)?, k + 1, false)?;
                for neighbour in found.iter_mut().flatten() {
                    neighbour.index = gallery[neighbour.index];
                }
                found
            }
        };
        for (row, found) in rows.iter().zip(&mut found) {
            found.retain(|neighbour| neighbour.index != *row);
            found.truncate(k);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::SILENT;

    fn line() -> Embeddings {
        let angle = |row: usize| row as f32 * 0.1;
        Embeddings::new((0..6).flat_map(|row| [angle(row).cos(), angle(row).sin()]).collect(), 6, 2).unwrap()
    }

    #[test]
    fn roles_are_checked_once() {
        let new = |query: &[usize], gallery: &[usize]| {
            let roles = Roles { query: query.to_vec(), gallery: gallery.to_vec() };
            Task::new(line(), vec![0, 0, 0, 1, 1, 1], Some(roles)).map_err(|error| error.to_string())
        };
        assert!(new(&[0], &[6]).unwrap_err().contains("found row 6, expected less than 6"));
        assert!(new(&[0, 2], &[2, 1]).unwrap_err().contains("1 rows are in both"));
        assert!(Task::new(line(), vec![0; 5], None).unwrap_err().to_string().contains("found 5, expected 6"));
        let task = new(&[5, 0], &[4, 1, 2]).unwrap();
        let found: Vec<Vec<usize>> =
            task.nearest(&task.queries(), 2).unwrap().iter().map(|row| row.iter().map(|found| found.index).collect()).collect();
        assert_eq!(found, [[4, 2], [1, 2]]);
        assert_eq!(task.retrieval(&[1], SILENT).unwrap().means.recall, [(1, 1.0)]);
    }

    #[test]
    fn a_row_never_finds_itself() {
        let task = Task::new(line(), vec![0, 0, 0, 1, 1, 1], None).unwrap();
        let found: Vec<usize> = task.nearest(&[0, 5], 9).unwrap().iter().map(Vec::len).collect();
        assert_eq!(found, [5, 5]);
        assert_eq!(task.nearest(&[3], 1).unwrap()[0].len(), 1);
    }
}
