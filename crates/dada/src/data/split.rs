//! Dividing a data set: by class, so that what is measured is how new classes are told apart, or by picture where classes are too few.

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Splits};
use crate::error::{Error, Result};
use crate::random::{Purpose, generator};

/// Fewest classes held out, and left, when a share of the classes is held out. Below that, pictures are held out.
const FEWEST_HELD_OUT: usize = 4;
const FEWEST_LEFT: usize = 8;

/// Folds are one partition for every seed: those of different seeds would overlap, and runs on them would not be independent.
const PARTITION: u64 = 0;

/// What a reader found.
#[derive(Clone, Debug)]
pub enum Parts {
    /// Pictures that nobody divided.
    Whole(Dataset),
    /// Parts that the data set itself names.
    Given {
        /// Training classes.
        train: Dataset,
        /// Validation classes, where there are any.
        validation: Option<Dataset>,
        /// Test classes; may be empty.
        test: Dataset,
    },
}

/// Which training classes validate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum HoldOut {
    /// Those that the data set itself names, or a fifth of them.
    #[default]
    Own,
    /// None.
    Nothing,
    /// The last ones in the data set's order.
    Last {
        /// How many.
        #[serde(default = "few")]
        classes: usize,
    },
    /// Those whose name does not come before this one; names that begin with numbers are ordered by them.
    From {
        /// Such as `071`.
        #[serde(default)]
        class: String,
    },
    /// A random share of them.
    Share {
        /// 0 up to, but without, 1.
        #[serde(default = "fifth")]
        share: f64,
    },
    /// One of several parts of equal size, drawn at random.
    Fold {
        /// Which, from 0.
        #[serde(default)]
        index: usize,
        /// Of how many.
        #[serde(default = "few")]
        count: usize,
    },
}

impl HoldOut {
    /// The share that is asked for, where it is one.
    pub fn share(&self) -> Option<f64> {
        match self {
            Self::Share { share } => Some(*share),
            _ => None,
        }
    }
}

/// The share of classes that is held out where nothing else is asked for.
pub const DEFAULT_SHARE: f64 = 0.2;

fn fifth() -> f64 {
    DEFAULT_SHARE
}

fn few() -> usize {
    5
}

/// What was left and what was held out.
#[derive(Clone, Debug)]
pub struct Divided {
    /// What was left.
    pub kept: Dataset,
    /// What was held out.
    pub held: Dataset,
    /// Whether single pictures were held out because there are too few classes: both parts have the same classes.
    pub by_picture: bool,
}

/// Holds classes out. The same seed always holds out the same, and a fold is the same for every seed.
///
/// # Errors
/// [`Error::Config`] when nothing would be left, nothing held out although it was asked for, or a number makes no sense.
pub fn hold_out(dataset: Dataset, choice: &HoldOut, seed: u64) -> Result<Divided> {
    let count = dataset.classes.len();
    let held: Vec<bool> = match choice {
        HoldOut::Nothing => return Ok(Divided { kept: dataset, held: Dataset::default(), by_picture: false }),
        HoldOut::Own => return hold_out(dataset, &HoldOut::Share { share: DEFAULT_SHARE }, seed),
        HoldOut::Last { classes } => (0..count).map(|class| class + classes >= count).collect(),
        HoldOut::From { class: first } => dataset.classes.iter().map(|class| order(class) >= order(first)).collect(),
        HoldOut::Share { share } => {
            if !(0.0..1.0).contains(share) {
                return Err(Error::Config(format!("a share of {share} cannot be held out, expected 0 up to, but without, 1")));
            }
            let wanted = (share * count as f64).round() as usize;
            if *share > 0.0 && (wanted < FEWEST_HELD_OUT || count - wanted < FEWEST_LEFT) {
                let (kept, held) = hold_pictures_out(dataset, *share, seed);
                return Ok(Divided { kept, held, by_picture: true });
            }
            first_of(&shuffled(count, seed), wanted)
        }
        HoldOut::Fold { index, count: folds } => {
            if *folds < 2 || index >= folds || *folds > count {
                return Err(Error::Config(format!(
                    "fold {index} of {folds}: expected at least 2 folds, a number below theirs, and no more folds than the {count} classes"
                )));
            }
            let mut held = vec![false; count];
            for (place, class) in shuffled(count, PARTITION).into_iter().enumerate() {
                held[class] = place % folds == *index;
            }
            held
        }
    };
    let number = held.iter().filter(|&&held| held).count();
    if number == count || (number == 0 && *choice != HoldOut::Share { share: 0.0 }) {
        return Err(Error::Config(format!("{choice:?} holds {number} of {count} classes out of training, expected some but not all")));
    }
    let (held, kept) = dataset.divided(|class| held[class]);
    Ok(Divided { kept, held, by_picture: false })
}

/// The number a name begins with comes before the name itself: `071` is not before `71.Crow`.
fn order(name: &str) -> (u64, &str) {
    let digits = name.len() - name.trim_start_matches(|character: char| character.is_ascii_digit()).len();
    (name[..digits].parse().unwrap_or(u64::MAX), &name[digits..])
}

fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut generator(seed, Purpose::Split, 0, 0, 0));
    order
}

fn first_of(order: &[usize], number: usize) -> Vec<bool> {
    let mut chosen = vec![false; order.len()];
    for &class in &order[..number] {
        chosen[class] = true;
    }
    chosen
}

/// Holds a share of each class's pictures out, at least two, since a picture alone has no partner to find; a class with fewer than
/// four keeps all.
fn hold_pictures_out(dataset: Dataset, share: f64, seed: u64) -> (Dataset, Dataset) {
    let mut chosen = vec![false; dataset.samples.len()];
    for class in 0..dataset.classes.len() {
        let mut members: Vec<usize> = (0..chosen.len()).filter(|&sample| dataset.samples[sample].label == class).collect();
        members.shuffle(&mut generator(seed, Purpose::Split, 0, 1, class));
        let wanted = if members.len() < 4 { 0 } else { ((share * members.len() as f64).round() as usize).clamp(2, members.len() - 2) };
        for &sample in &members[..wanted] {
            chosen[sample] = true;
        }
    }
    let (mut held, mut kept) = (Vec::new(), Vec::new());
    for (sample, chosen) in dataset.samples.into_iter().zip(chosen) {
        if chosen { held.push(sample) } else { kept.push(sample) }
    }
    (Dataset { classes: dataset.classes.clone(), samples: kept }, Dataset { classes: dataset.classes, samples: held })
}

/// The three parts of what a reader found, and what to tell about them.
///
/// Classes with one picture are left out of training and validation. What has no parts gives `test_share` of its classes for testing
/// first. A validation part that the data set names is used for [`HoldOut::Own`]; otherwise it joins training before the choice.
///
/// # Errors
/// As [`hold_out`].
pub fn divide(parts: Parts, validation: &HoldOut, test_share: f64, seed: u64) -> Result<(Splits, Vec<String>)> {
    let mut notes = Vec::new();
    let mut drop_singletons = |dataset: Dataset, what: &str| {
        let (kept, singletons) = dataset.without_singletons();
        if singletons > 0 {
            notes.push(format!("{singletons} classes with a single picture are left out of {what}."));
        }
        kept
    };
    let (train, given, test) = match parts {
        Parts::Whole(dataset) => {
            let dataset = drop_singletons(dataset, "training, validation and test");
            // Another seed than for validation, so that the two choices do not follow each other.
            let Divided { kept, held, by_picture } = hold_out(dataset, &HoldOut::Share { share: test_share }, seed ^ 0x7e57)?;
            if by_picture {
                notes.push(too_few(&kept, &held, "tested"));
            }
            (kept, None, held)
        }
        Parts::Given { train, validation, test } => {
            let train = drop_singletons(train, "training");
            let validation = validation.map(|validation| drop_singletons(validation, "validation"));
            (train, validation.filter(|validation| !validation.samples.is_empty()), test)
        }
    };
    let (train, held) = match (validation, given) {
        (HoldOut::Own, Some(given)) => (train, given),
        (choice, given) => {
            let whole = given.into_iter().fold(train, Dataset::joined);
            let Divided { kept, held, by_picture } = hold_out(whole, choice, seed)?;
            if by_picture {
                notes.push(too_few(&kept, &held, "validated"));
            }
            (kept, held)
        }
    };
    Ok((Splits { train, validation: held, test }, notes))
}

fn too_few(kept: &Dataset, held: &Dataset, done: &str) -> String {
    if held.samples.is_empty() {
        return format!(
            "{} classes are too few to hold some out, and none has four pictures, of which two could be: nothing is {done}.",
            kept.classes.len()
        );
    }
    format!(
        "{} classes are too few to hold some out: it is {done} on {} pictures of the training classes instead, which says less about new classes.",
        kept.classes.len(),
        held.samples.len()
    )
}

/// All pictures of all parts as one, for evaluating on everything.
pub fn everything(splits: Splits) -> Dataset {
    splits.train.joined(splits.validation).joined(splits.test)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Picture, Pixels, Sample};
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    fn dataset(sizes: &[usize]) -> Dataset {
        let picture = |class: usize, number| Picture {
            class: format!("{:03}.name", class + 1),
            pixels: Pixels::File(PathBuf::new()),
            name: format!("{class}/{number}"),
        };
        Dataset::from_pictures(sizes.iter().enumerate().flat_map(|(class, &size)| (0..size).map(move |number| picture(class, number))))
    }

    fn names(dataset: &Dataset) -> BTreeSet<String> {
        dataset.samples.iter().map(|Sample { name, label, .. }| format!("{} {name}", dataset.classes[*label])).collect()
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_class_crosses(sizes in prop::collection::vec(1usize..9, 2..60), share in 0.05f64..0.6, seed: u64) {
            let whole = dataset(&sizes);
            let Divided { kept, held, by_picture } = hold_out(whole.clone(), &HoldOut::Share { share }, seed).unwrap();
            prop_assert_eq!(kept.samples.len() + held.samples.len(), whole.samples.len());
            prop_assert_eq!(&(&names(&kept) | &names(&held)), &names(&whole));
            if by_picture {
                prop_assert_eq!(&kept.classes, &whole.classes);
                prop_assert!(held.class_sizes().iter().all(|&size| size != 1), "a picture without a partner");
            } else {
                prop_assert!(kept.classes.iter().all(|class| !held.classes.contains(class)));
                prop_assert!(held.classes.len() >= FEWEST_HELD_OUT && kept.classes.len() >= FEWEST_LEFT);
            }
        }

        #[test]
        fn folds_cover_every_class_once_whatever_the_seeds(classes in 2usize..40, folds in 2usize..6, seed: u64) {
            prop_assume!(folds <= classes);
            let whole = dataset(&vec![2; classes]);
            let mut seen = Vec::new();
            for index in 0..folds {
                let Divided { kept, held, .. } = hold_out(whole.clone(), &HoldOut::Fold { index, count: folds }, seed ^ index as u64).unwrap();
                prop_assert_eq!(kept.classes.len() + held.classes.len(), classes);
                prop_assert!(held.classes.len().abs_diff(classes / folds) <= 1);
                seen.extend(held.classes);
            }
            seen.sort();
            prop_assert_eq!(seen, whole.classes);
        }
    }

    #[test]
    fn the_last_classes_and_those_from_a_number() {
        let held = |choice| hold_out(dataset(&[2; 12]), &choice, 0).unwrap().held.classes;
        assert_eq!(held(HoldOut::Last { classes: 2 }), ["011.name", "012.name"]);
        assert_eq!(held(HoldOut::From { class: "011".into() }), ["011.name", "012.name"]);
        assert_eq!(held(HoldOut::From { class: "11".into() }), ["011.name", "012.name"]);
        let refused = |choice| hold_out(dataset(&[2; 12]), &choice, 0).unwrap_err().to_string();
        assert!(refused(HoldOut::Last { classes: 12 }).contains("12 of 12 classes"));
        assert!(refused(HoldOut::From { class: "013".into() }).contains("0 of 12"));
        assert!(refused(HoldOut::Share { share: 1.0 }).contains("share of 1"));
        assert!(refused(HoldOut::Fold { index: 3, count: 3 }).contains("fold 3 of 3"));
    }

    #[test]
    fn five_classes_of_eight_pictures_are_divided_by_picture() {
        let (splits, notes) = divide(Parts::Whole(dataset(&[8; 5])), &HoldOut::Own, 0.2, 0).unwrap();
        let sizes = [&splits.train, &splits.validation, &splits.test].map(|part| (part.classes.len(), part.samples.len()));
        assert_eq!(sizes, [(5, 20), (5, 10), (5, 10)]);
        assert_eq!(notes.len(), 2);
        assert!(notes[1].contains("5 classes are too few") && notes[1].contains("validated on 10 pictures"), "{notes:?}");
        let (splits, notes) = divide(Parts::Whole(dataset(&[2, 3, 1])), &HoldOut::Own, 0.2, 0).unwrap();
        assert_eq!((splits.train.samples.len(), splits.validation.samples.len(), splits.test.samples.len()), (5, 0, 0));
        assert_eq!(notes.len(), 3);
        assert!(notes[0].contains("1 classes with a single picture") && notes[2].ends_with("nothing is validated."), "{notes:?}");
    }

    #[test]
    fn singletons_are_counted_and_given_parts_respected() {
        let parts = || Parts::Given { train: dataset(&[2, 1, 3]), validation: Some(dataset(&[2; 4])), test: dataset(&[1, 2]) };
        let (splits, notes) = divide(parts(), &HoldOut::Own, 0.2, 0).unwrap();
        assert_eq!(splits.train.classes, ["001.name", "003.name"]);
        assert_eq!((splits.validation.classes.len(), splits.test.classes.len()), (4, 2));
        assert_eq!(notes, ["1 classes with a single picture are left out of training."]);
        // Asked for another choice, the given validation classes train too: the names here overlap, so 001 to 004 are left.
        let (splits, _) = divide(parts(), &HoldOut::Last { classes: 1 }, 0.2, 0).unwrap();
        assert_eq!((splits.train.classes.len(), splits.validation.classes.len()), (3, 1));
    }
}
