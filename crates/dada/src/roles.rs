//! Queries and gallery: which rows of a set are searched for, and which are searched.

/// Rows by their role in a search. A set without roles is searched in itself: every row in all others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Rows that are searched for, in the order of results.
    pub query: Vec<usize>,
    /// Rows that are searched.
    pub gallery: Vec<usize>,
}

impl Roles {
    /// Roles from two flags for each row: whether it is a query, and whether it is in the gallery. Nothing where every row is both, as in
    /// a set that is searched in itself.
    pub fn from_flags(flags: impl IntoIterator<Item = (bool, bool)>) -> Option<Self> {
        let mut roles = Self::default();
        let mut rows = 0;
        for (is_query, is_gallery) in flags {
            if is_query {
                roles.query.push(rows);
            }
            if is_gallery {
                roles.gallery.push(rows);
            }
            rows += 1;
        }
        let is_every_row_both = roles.query.len() == rows && roles.gallery.len() == rows;
        (!is_every_row_both).then_some(roles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_rows_and_a_set_without_a_difference_has_no_roles() {
        let found = Roles::from_flags([(true, false), (false, false), (true, true), (false, true)]);
        assert_eq!(found, Some(Roles { query: vec![0, 2], gallery: vec![2, 3] }));
        assert_eq!(Roles::from_flags([(true, true); 3]), None);
        assert_eq!(Roles::from_flags([]), None);
        assert_eq!(Roles::from_flags([(true, true), (true, false)]), Some(Roles { query: vec![0, 1], gallery: vec![0] }));
    }
}
