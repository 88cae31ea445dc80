//! Which pictures make up the batches of an epoch: m pictures of each of B / m classes.

use rand::RngExt;
use rand::seq::{SliceRandom, index};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::random::{Purpose, generator};

/// How batches are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplerConfig {
    /// Pictures in a batch; a multiple of `images_per_class`.
    pub batch_size: usize,
    /// Pictures of each class in a batch, at least 2 for losses that compare pictures of one class.
    pub images_per_class: usize,
    /// Draw classes and pictures with replacement, as DADA's authors do. A class drawn twice gives the batch twice its pictures.
    pub replacement: bool,
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self { batch_size: 128, images_per_class: 2, replacement: false }
    }
}

impl SamplerConfig {
    /// # Errors
    /// [`Error::Config`] when the batch size is no positive multiple of the pictures of each class.
    pub fn check(&self) -> Result<()> {
        let Self { batch_size, images_per_class, .. } = *self;
        if images_per_class > 0 && batch_size > 0 && batch_size % images_per_class == 0 {
            return Ok(());
        }
        Err(Error::Config(format!(
            "sampler.batch_size is {batch_size}, expected a positive multiple of sampler.images_per_class, {images_per_class}"
        )))
    }

    /// Batches in an epoch of so many pictures: as many as they fill, at least one.
    pub fn steps(&self, pictures: usize) -> usize {
        (pictures / self.batch_size).max(1)
    }
}

/// The batches of one epoch as indices into `labels`, [`SamplerConfig::steps`] of them.
///
/// A batch lists the pictures of one class next to each other. Without replacement no class comes twice in a batch, every class comes
/// equally often over the epoch (give or take one), and no picture comes twice in a batch unless its class has fewer than
/// `images_per_class`. The result depends on the arguments alone; each batch has a generator of its own.
///
/// # Errors
/// [`Error::Config`] when the batch size is no positive multiple of `images_per_class`, [`Error::Data`] when there is no picture or,
/// without replacement, there are fewer classes than a batch needs.
pub fn epoch_batches(labels: &[usize], config: &SamplerConfig, seed: u64, epoch: usize) -> Result<Vec<Vec<usize>>> {
    let SamplerConfig { batch_size, images_per_class, replacement } = *config;
    config.check()?;
    let members = members_by_class(labels);
    let classes_per_batch = batch_size / images_per_class;
    if members.is_empty() {
        return Err(Error::Data("there is no picture to draw batches from".to_owned()));
    }
    if !replacement && members.len() < classes_per_batch {
        return Err(Error::Data(format!(
            "a batch of {batch_size} with {images_per_class} pictures a class needs {classes_per_batch} classes, found {}: \
             sampler.batch_size can be at most {}",
            members.len(),
            members.len() * images_per_class
        )));
    }
    let mut deck = Deck::new(members.len());
    let mut batches = Vec::new();
    for step in 0..config.steps(labels.len()) {
        let mut rng = generator(seed, Purpose::Sample, epoch, step, 0);
        let classes: Vec<usize> = if replacement {
            (0..classes_per_batch).map(|_| rng.random_range(0..members.len())).collect()
        } else {
            deck.deal(classes_per_batch, &mut rng)
        };
        let mut batch = Vec::with_capacity(batch_size);
        for class in classes {
            batch.extend(draw(&members[class], images_per_class, replacement, &mut rng));
        }
        batches.push(batch);
    }
    Ok(batches)
}

/// The pictures of each class that has any.
fn members_by_class(labels: &[usize]) -> Vec<Vec<usize>> {
    let mut members = std::collections::BTreeMap::<usize, Vec<usize>>::new();
    for (picture, &label) in labels.iter().enumerate() {
        members.entry(label).or_default().push(picture);
    }
    members.into_values().collect()
}

fn draw(members: &[usize], count: usize, replacement: bool, rng: &mut ChaCha8Rng) -> Vec<usize> {
    if replacement {
        return (0..count).map(|_| members[rng.random_range(0..members.len())]).collect();
    }
    // A class with too few pictures gives all of them before any comes again.
    let mut drawn = Vec::with_capacity(count);
    while drawn.len() < count {
        let wanted = (count - drawn.len()).min(members.len());
        drawn.extend(index::sample(rng, members.len(), wanted).into_iter().map(|chosen| members[chosen]));
    }
    drawn
}

/// Classes in a shuffled order that starts again when it is used up.
struct Deck {
    classes: usize,
    rest: Vec<usize>,
}

impl Deck {
    fn new(classes: usize) -> Self {
        Self { classes, rest: Vec::new() }
    }

    /// `count` different classes; at most `self.classes`.
    fn deal(&mut self, count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let mut dealt = self.rest.split_off(self.rest.len().saturating_sub(count));
        if dealt.len() < count {
            let mut fresh: Vec<usize> = (0..self.classes).collect();
            fresh.shuffle(rng);
            // What this batch has already goes to the far end of the new order, so that it waits for its next turn.
            let (had, others): (Vec<_>, Vec<_>) = fresh.into_iter().partition(|class| dealt.contains(class));
            self.rest = [had, others].concat();
            dealt.extend(self.rest.split_off(self.rest.len() - (count - dealt.len())));
        }
        dealt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn labels(sizes: &[usize]) -> Vec<usize> {
        sizes.iter().enumerate().flat_map(|(label, &size)| std::iter::repeat_n(label, size)).collect()
    }

    proptest! {
        #[test]
        fn without_replacement_classes_are_distinct_and_even(
            sizes in prop::collection::vec(1usize..9, 1..20), per_class in 1usize..4, share in 1usize..20, seed: u64, epoch in 0usize..3,
        ) {
            let labels = labels(&sizes);
            let classes = share.min(sizes.len());
            let config = SamplerConfig { batch_size: classes * per_class, images_per_class: per_class, replacement: false };
            let batches = epoch_batches(&labels, &config, seed, epoch).unwrap();
            prop_assert_eq!(batches.len(), (labels.len() / config.batch_size).max(1));
            let mut seen = vec![0usize; sizes.len()];
            for batch in &batches {
                prop_assert_eq!(batch.len(), config.batch_size);
                let mut of_class = BTreeMap::<usize, BTreeSet<usize>>::new();
                for rows in batch.chunks(per_class) {
                    let label = labels[rows[0]];
                    prop_assert!(rows.iter().all(|&row| labels[row] == label));
                    prop_assert!(of_class.insert(label, rows.iter().copied().collect()).is_none(), "a class came twice");
                    prop_assert_eq!(of_class[&label].len(), per_class.min(sizes[label]));
                    seen[label] += 1;
                }
            }
            let (least, most) = (seen.iter().min().unwrap(), seen.iter().max().unwrap());
            prop_assert!(most - least <= 1, "classes came {} to {} times", least, most);
        }

        #[test]
        fn with_replacement_batches_are_groups_of_one_class(sizes in prop::collection::vec(1usize..6, 1..6), seed: u64) {
            let labels = labels(&sizes);
            let config = SamplerConfig { batch_size: 12, images_per_class: 3, replacement: true };
            for batch in epoch_batches(&labels, &config, seed, 0).unwrap() {
                prop_assert_eq!(batch.len(), 12);
                prop_assert!(batch.chunks(3).all(|rows| rows.iter().all(|&row| labels[row] == labels[rows[0]])));
            }
        }
    }

    #[test]
    fn the_same_arguments_draw_the_same_and_others_do_not() {
        let labels = labels(&[8; 30]);
        for replacement in [false, true] {
            let config = SamplerConfig { batch_size: 20, images_per_class: 2, replacement };
            let draw = |seed, epoch| epoch_batches(&labels, &config, seed, epoch).unwrap();
            assert_eq!(draw(1, 2), draw(1, 2));
            assert_ne!(draw(1, 2), draw(1, 3));
            assert_ne!(draw(1, 2), draw(2, 2));
            assert_ne!(draw(1, 2)[0], draw(1, 2)[1]);
        }
    }

    #[test]
    fn with_replacement_repeats_happen() {
        let batches =
            epoch_batches(&labels(&[10; 10]), &SamplerConfig { batch_size: 20, images_per_class: 2, replacement: true }, 0, 0).unwrap();
        let repeats = |batch: &Vec<usize>| batch.len() - batch.iter().collect::<BTreeSet<_>>().len();
        assert!(batches.iter().map(repeats).sum::<usize>() > 0);
    }

    #[test]
    fn impossible_batches_are_refused() {
        let refused = |batch_size, images_per_class, replacement, labels: &[usize]| {
            epoch_batches(labels, &SamplerConfig { batch_size, images_per_class, replacement }, 0, 0).unwrap_err().to_string()
        };
        assert!(refused(9, 2, false, &[0, 0, 1, 1]).contains("batch_size is 9"));
        assert!(refused(0, 2, false, &[0, 0, 1, 1]).contains("batch_size is 0"));
        assert!(refused(8, 0, false, &[0, 0, 1, 1]).contains("images_per_class, 0"));
        assert!(refused(8, 2, false, &[0, 0, 1, 1]).contains("at most 4"));
        assert!(refused(8, 2, true, &[]).contains("no picture"));
    }
}
