//! The category-level discriminator: which class is a vector of? And how it is kept affordable for many classes.

use std::collections::BTreeSet;

use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::adversarial::{Discrepancy, DiscriminatorConfig};

/// The `[dada.category]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CategoryConfig {
    /// Weight of the labelling risk L_s for both sides; 0, with `discrepancy_weight` 0, switches the category level off.
    pub weight: f64,
    /// Weight of the discrepancy L_dis, which the discriminator maximises and encoder and proxies minimise.
    pub discrepancy_weight: f64,
    /// How the discrepancy is measured.
    pub discrepancy: Discrepancy,
    /// Epochs, after the warm-ups, over which both weights rise from zero for encoder and proxies.
    pub ramp_epochs: usize,
    /// Rank of the output layer: its matrix `[classes, width]` is a product of `[classes, rank]` and `[rank, width]`. 0 for a full matrix.
    pub rank: usize,
    /// Classes, besides those of the batch, that a pass is about: drawn anew in each. Risk and discrepancy are those of the predictions over
    /// the chosen classes alone. 0 for all classes.
    pub sampled_classes: usize,
    /// Shape of the discriminator: linear by default, whose pull is weaker but steadier than that of hidden layers that still have to learn.
    #[serde(flatten)]
    pub discriminator: DiscriminatorConfig,
}

impl Default for CategoryConfig {
    fn default() -> Self {
        Self {
            weight: 0.01,
            discrepancy_weight: 0.01,
            discrepancy: Discrepancy::NuclearNorm,
            ramp_epochs: 0,
            rank: 0,
            sampled_classes: 0,
            discriminator: DiscriminatorConfig { hidden: vec![], dropout: 0.5, ..Default::default() },
        }
    }
}

impl CategoryConfig {
    pub(super) fn is_on(&self) -> bool {
        self.weight != 0.0 || (self.discrepancy_weight != 0.0 && self.discrepancy != Discrepancy::None)
    }

    /// The classes that a pass is about, ascending, where they are not all: those of `labels` and as many others of `classes` as
    /// `sampled_classes` says.
    pub fn sample_classes(&self, labels: &[usize], classes: usize, generator: &mut ChaCha8Rng) -> Option<Vec<usize>> {
        let present: BTreeSet<usize> = labels.iter().copied().collect();
        if self.sampled_classes == 0 || present.len() + self.sampled_classes >= classes {
            return None;
        }
        let mut sampled = present.clone();
        for index in index::sample(generator, classes - present.len(), self.sampled_classes) {
            // An index among the other classes becomes a class: it moves up by each class of the batch at or below it.
            let mut class = index;
            for &own in &present {
                if own <= class {
                    class += 1;
                }
            }
            sampled.insert(class);
        }
        Some(sampled.into_iter().collect())
    }
}

/// The index of each label among the sampled classes, which are ascending and have all of them; the label itself where no classes are sampled.
pub(super) fn class_indices(labels: &[usize], sampled: Option<&[usize]>) -> Vec<usize> {
    let Some(sampled) = sampled else {
        return labels.to_vec();
    };
    labels.iter().map(|label| sampled.binary_search(label).expect("the classes of the batch are among the sampled ones")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};

    #[test]
    fn a_batch_sees_its_own_classes_and_as_many_others_as_are_asked_for() {
        let config = CategoryConfig { sampled_classes: 3, ..Default::default() };
        let labels = [7, 2, 7, 9, 0];
        let mut seen = BTreeSet::new();
        for row in 0..200 {
            let chosen = config.sample_classes(&labels, 10, &mut generator(0, Purpose::Classes, 0, 0, row)).unwrap();
            assert_eq!(chosen.len(), 7);
            assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]) && *chosen.last().unwrap() < 10);
            let indices = class_indices(&labels, Some(&chosen));
            assert!(indices.iter().zip(labels).all(|(&index, label)| chosen[index] == label));
            seen.extend(chosen);
        }
        assert_eq!(seen.len(), 10, "every class has its turn");
    }

    #[test]
    fn all_classes_take_part_where_none_is_left_out() {
        let draw = |sampled_classes| {
            let config = CategoryConfig { sampled_classes, ..Default::default() };
            config.sample_classes(&[1, 2], 5, &mut generator(0, Purpose::Classes, 0, 0, 0))
        };
        assert_eq!(draw(0), None);
        assert_eq!(draw(3), None);
        assert_eq!(draw(2).unwrap().len(), 4);
        assert_eq!(class_indices(&[4, 0], None), [4, 0]);
    }
}
