//! Counter-based randomness: a draw depends on what it is for, never on what was drawn before.
//!
//! A generator is made where it is needed from (seed, purpose, epoch, step, row) and thrown away. Nothing about randomness is
//! ever saved, a resumed run draws what an uninterrupted one would have drawn, and the number of threads cannot matter.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a generator is for. Two purposes never share a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Initial weights; `row` counts the parameters.
    Initialise = 1,
    /// Which pictures make up a batch.
    Sample = 2,
    /// How a picture is cropped, flipped and coloured.
    Augment = 3,
    /// Mixing coefficients of samples and proxies.
    DomainMix = 4,
    /// Mixing coefficients of samples of one class.
    ClassMix = 5,
    /// Dropout masks.
    Dropout = 6,
    /// How classes or pictures are divided into splits and folds.
    Split = 7,
    /// Starting points and restarts of k-means.
    Cluster = 8,
    /// Resampling for intervals.
    Bootstrap = 9,
    /// Projections and halves with which samples and proxies are compared.
    Probe = 11,
    /// Which classes a category discriminator judges besides those of a batch.
    Classes = 10,
}

/// The generator for one purpose at one place of a run.
pub fn generator(seed: u64, purpose: Purpose, epoch: usize, step: usize, row: usize) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, purpose as u64, epoch as u64, step as u64]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let mut generator = ChaCha8Rng::from_seed(key);
    generator.set_stream(row as u64);
    generator
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn every_coordinate_changes_the_stream_and_nothing_else_does() {
        let draw = |seed, purpose, epoch, step, row| generator(seed, purpose, epoch, step, row).next_u64();
        let base = draw(1, Purpose::Sample, 2, 3, 4);
        assert_eq!(base, draw(1, Purpose::Sample, 2, 3, 4));
        let others = [
            draw(0, Purpose::Sample, 2, 3, 4),
            draw(1, Purpose::Augment, 2, 3, 4),
            draw(1, Purpose::Sample, 0, 3, 4),
            draw(1, Purpose::Sample, 2, 0, 4),
            draw(1, Purpose::Sample, 2, 3, 0),
        ];
        assert!(others.iter().all(|&other| other != base));
    }
}
