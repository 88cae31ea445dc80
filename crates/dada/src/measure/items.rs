//! Whether several models, or files of embeddings, are of the same items.

use std::path::Path;

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::roles::Roles;

/// What is ranked, whoever embedded it.
pub struct Items<'a> {
    /// What each item is called.
    pub names: Vec<&'a str>,
    /// The class of each.
    pub classes: Vec<&'a str>,
    /// Which of them are queries and which the gallery, where they differ.
    pub roles: Option<&'a Roles>,
}

impl<'a> Items<'a> {
    /// The pictures of a data set.
    pub fn of_dataset(dataset: &'a Dataset, roles: Option<&'a Roles>) -> Self {
        Self {
            names: dataset.samples.iter().map(|sample| sample.name.as_str()).collect(),
            classes: dataset.samples.iter().map(|sample| dataset.classes[sample.label].as_str()).collect(),
            roles,
        }
    }

    fn describe(&self, row: usize) -> String {
        format!("{:?} of class {:?}", self.names[row], self.classes[row])
    }
}

/// Refuses to put figures of several models side by side unless all of them had the same items to rank, in the same order.
///
/// # Errors
/// [`Error::Format`] that names the second path and says what differs from the first.
pub fn check_same((first, wanted): (&Path, &Items), (other, found): (&Path, &Items)) -> Result<()> {
    let first = first.display();
    if found.names.len() != wanted.names.len() {
        let problem = format!("found {} items to measure, expected {}, as {first} has", found.names.len(), wanted.names.len());
        return Err(Error::format(other, problem));
    }
    for row in 0..found.names.len() {
        if (found.names[row], found.classes[row]) != (wanted.names[row], wanted.classes[row]) {
            let problem = format!("found item {row} to be {}, expected {}, as {first} has", found.describe(row), wanted.describe(row));
            return Err(Error::format(other, problem));
        }
    }
    if found.roles != wanted.roles {
        return Err(Error::format(other, format!("found other queries or another gallery than {first} has")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let items = |names: [&'static str; 2], roles| Items { names: names.to_vec(), classes: vec!["a", "b"], roles };
        let wanted = items(["x", "y"], None);
        let problem = |found: &Items| check_same((Path::new("one"), &wanted), (Path::new("two"), found)).unwrap_err().to_string();
        assert!(check_same((Path::new("one"), &wanted), (Path::new("two"), &items(["x", "y"], None))).is_ok());
        assert_eq!(
            problem(&items(["x", "z"], None)),
            "two: found item 1 to be \"z\" of class \"b\", expected \"y\" of class \"b\", as one has"
        );
        let roles = Roles { query: vec![0], gallery: vec![1] };
        assert_eq!(problem(&items(["x", "y"], Some(&roles))), "two: found other queries or another gallery than one has");
        let short = Items { names: vec!["x"], classes: vec!["a"], roles: None };
        assert_eq!(problem(&short), "two: found 1 items to measure, expected 2, as one has");
    }
}
