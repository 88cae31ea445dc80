//! Batches of normalised pictures, prepared ahead on threads of their own.
//!
//! Thread t of T prepares batches t, t + T, t + 2T, … and hands them over through a channel of its own that holds one batch. The
//! consumer asks the channels in turn, so batches come in order, the number prepared ahead is bounded by 2T, and a batch is the same
//! whoever prepared it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use image::RgbImage;

use crate::data::pictures::augment::{AugmentConfig, augment};
use crate::data::pictures::preprocess::{Preprocess, normalise_into, view};
use crate::data::{Dataset, Sample};
use crate::error::{Error, Result};
use crate::random::{Purpose, generator};

/// Pictures ready for a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `[rows, 3, size, size]`, normalised.
    pub pixels: Vec<f32>,
    /// The class of each row.
    pub labels: Vec<usize>,
    /// Which sample of the data set each row is.
    pub indices: Vec<usize>,
}

/// How training pictures are varied and where in a run that happens.
#[derive(Clone, Debug)]
pub struct Training {
    /// What the test view is made by.
    pub preprocess: Preprocess,
    /// What is varied.
    pub augment: AugmentConfig,
    /// The run's seed.
    pub seed: u64,
    /// Zero-based epoch.
    pub epoch: usize,
}

/// Seed of the views that are kept: the same for every run, which can therefore share them.
const KEPT: u64 = 0;

#[derive(Clone, Debug)]
enum View {
    Augmented(Training),
    Test(Preprocess),
    /// The test view in batches numbered 0, an augmented view in others; it depends on the picture's name and this number alone.
    Kept(Training, Vec<usize>),
}

/// An iterator over batches that are prepared ahead. Dropping it stops its threads, at the latest after the picture in hand.
pub struct Loader {
    // `None` once the loader is being dropped: closed channels tell the threads that nobody waits.
    channels: Option<Vec<Receiver<Result<Batch>>>>,
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    next: usize,
    remaining: usize,
}

impl Loader {
    /// Augmented training batches from `batches[first_step]` on; batch i of the epoch is varied as step i, also after a resumption.
    pub fn train(dataset: Arc<Dataset>, batches: Vec<Vec<usize>>, first_step: usize, training: Training, threads: usize) -> Self {
        Self::start(dataset, batches, first_step, View::Augmented(training), threads)
    }

    /// The test view of every sample in order; the last batch may be short.
    pub fn evaluate(dataset: Arc<Dataset>, preprocess: Preprocess, batch_size: usize, threads: usize) -> Self {
        let indices: Vec<usize> = (0..dataset.samples.len()).collect();
        let batches = indices.chunks(batch_size.max(1)).map(<[usize]>::to_vec).collect();
        Self::start(dataset, batches, 0, View::Test(preprocess), threads)
    }

    /// Batches of one view each, given with its number: 0 is the test view, others are augmented views, which are the same in every
    /// batch and for every seed of `training`.
    pub fn views(dataset: Arc<Dataset>, batches: Vec<(usize, Vec<usize>)>, training: Training, threads: usize) -> Self {
        let (views, batches) = batches.into_iter().unzip();
        Self::start(dataset, batches, 0, View::Kept(training, views), threads)
    }

    fn start(dataset: Arc<Dataset>, batches: Vec<Vec<usize>>, first_step: usize, view: View, threads: usize) -> Self {
        let remaining = batches.len().saturating_sub(first_step);
        let threads = threads.clamp(1, remaining.max(1));
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new((dataset, batches, view));
        let (senders, channels): (Vec<_>, Vec<_>) = (0..threads).map(|_| bounded(1)).unzip();
        let threads = senders.into_iter().enumerate().map(|(thread, sender)| {
            let (shared, stop) = (shared.clone(), stop.clone());
            let steps = (first_step + thread..first_step + remaining).step_by(threads);
            thread::spawn(move || prepare_all(&shared.0, &shared.1, &shared.2, steps, &sender, &stop))
        });
        Self { threads: threads.collect(), channels: Some(channels), stop, next: 0, remaining }
    }
}

fn prepare_all(
    dataset: &Dataset,
    batches: &[Vec<usize>],
    view: &View,
    steps: impl Iterator<Item = usize>,
    sender: &Sender<Result<Batch>>,
    stop: &AtomicBool,
) {
    for step in steps {
        let Some(batch) = prepare(dataset, &batches[step], view, step, stop).transpose() else { return };
        let failed = batch.is_err();
        if sender.send(batch).is_err() || failed {
            return;
        }
    }
}

/// One batch, or nothing when told to stop.
fn prepare(dataset: &Dataset, indices: &[usize], view: &View, step: usize, stop: &AtomicBool) -> Result<Option<Batch>> {
    let (View::Test(preprocess) | View::Augmented(Training { preprocess, .. }) | View::Kept(Training { preprocess, .. }, _)) = view;
    let size = preprocess.crop as usize;
    let row_values = 3 * size * size;
    let mut pixels = vec![0.0; indices.len() * row_values];
    let mut labels = Vec::with_capacity(indices.len());
    for (row, (&index, out)) in indices.iter().zip(pixels.chunks_exact_mut(row_values.max(1))).enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let sample = dataset.samples.get(index).ok_or_else(|| {
            Error::mismatch("a batch's sample", format!("number {index}"), format!("less than the {} there are", dataset.samples.len()))
        })?;
        write_row(sample, view, step, row, out)?;
        labels.push(sample.label);
    }
    Ok(Some(Batch { pixels, labels, indices: indices.to_vec() }))
}

fn write_row(sample: &Sample, view_kind: &View, step: usize, row: usize, out: &mut [f32]) -> Result<()> {
    let picture: &RgbImage = &*sample.picture()?;
    let augmented = |training: &Training, mut rng| augment(picture, &training.preprocess, &training.augment, &mut rng);
    match view_kind {
        View::Augmented(training) => {
            let rng = generator(training.seed, Purpose::Augment, training.epoch, step, row);
            normalise_into(&augmented(training, rng)?, training.preprocess.mean, training.preprocess.std, out);
        }
        View::Kept(training, views) if views[step] > 0 => {
            let name = u64::from_le_bytes(*blake3::hash(sample.name.as_bytes()).as_bytes().first_chunk().expect("a hash has 32 bytes"));
            let rng = generator(KEPT, Purpose::Augment, views[step], 0, name as usize);
            normalise_into(&augmented(training, rng)?, training.preprocess.mean, training.preprocess.std, out);
        }
        View::Test(preprocess) | View::Kept(Training { preprocess, .. }, _) => {
            normalise_into(&view(picture, preprocess)?, preprocess.mean, preprocess.std, out);
        }
    }
    Ok(())
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    /// The next batch. After an error there are no more.
    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == 0 {
            return None;
        }
        let channels = self.channels.as_ref()?;
        let received = channels[self.next].recv().unwrap_or_else(|_| Err(Error::Data("a loader thread ended early".to_owned())));
        self.next = (self.next + 1) % channels.len();
        self.remaining = if received.is_ok() { self.remaining - 1 } else { 0 };
        Some(received)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.remaining > 0), Some(self.remaining))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.channels = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked was already reported by `next`.
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Pixels;
    use image::Rgb;
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    fn dataset(count: usize) -> Dataset {
        let sample = |index: usize| Sample {
            pixels: Pixels::Memory(Arc::new(RgbImage::from_fn(20, 16, |x, y| Rgb([(index * 9) as u8, (x * 12) as u8, (y * 15) as u8])))),
            label: index / 2,
            name: format!("picture {index}"),
        };
        Dataset { classes: (0..count.div_ceil(2)).map(|class| class.to_string()).collect(), samples: (0..count).map(sample).collect() }
    }

    fn training() -> Training {
        let augment = AugmentConfig { brightness: 0.3, ..AugmentConfig::default() };
        Training { preprocess: preprocess(), augment, seed: 4, epoch: 1 }
    }

    fn preprocess() -> Preprocess {
        Preprocess { resize: 9, crop: 8, ..Preprocess::default() }
    }

    #[test]
    fn batches_do_not_depend_on_the_number_of_threads() {
        let data = Arc::new(dataset(24));
        let batches: Vec<Vec<usize>> = (0..11).map(|step| (0..6).map(|row| (step * 5 + row * 7) % 24).collect()).collect();
        let load = |threads, first| -> Vec<Batch> {
            Loader::train(data.clone(), batches.clone(), first, training(), threads).collect::<Result<_>>().unwrap()
        };
        let one = load(1, 0);
        assert_eq!(one.len(), 11);
        assert_eq!(one[3].indices, batches[3]);
        assert_eq!(one[3].labels, batches[3].iter().map(|index| index / 2).collect::<Vec<_>>());
        assert_ne!(one[0].pixels, one[1].pixels);
        for threads in [2, 3, 4, 50] {
            assert!(load(threads, 0) == one, "{threads} threads");
        }
        assert!(load(3, 4) == one[4..], "resumed at step 4");
        assert!(load(3, 11).is_empty());
    }

    #[test]
    fn evaluation_shows_every_sample_once_in_order() {
        let data = Arc::new(dataset(10));
        let batches: Vec<Batch> = Loader::evaluate(data.clone(), preprocess(), 4, 3).collect::<Result<_>>().unwrap();
        assert_eq!(batches.iter().map(|batch| batch.indices.clone()).collect::<Vec<_>>(), [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
        assert_eq!(batches[2].pixels.len(), 2 * 3 * 8 * 8);
        let Pixels::Memory(picture) = &data.samples[9].pixels else { unreachable!() };
        let mut expected = vec![0.0; 3 * 8 * 8];
        normalise_into(&view(picture, &preprocess()).unwrap(), preprocess().mean, preprocess().std, &mut expected);
        assert_eq!(batches[2].pixels[192..], expected);
        assert_eq!(Loader::evaluate(Arc::new(dataset(0)), preprocess(), 4, 3).count(), 0);
    }

    #[test]
    fn a_kept_view_is_the_same_in_every_batch_and_for_every_seed() {
        let data = Arc::new(dataset(8));
        let load = |batches: &[(usize, &[usize])], seed| -> Vec<Batch> {
            let batches = batches.iter().map(|(view, rows)| (*view, rows.to_vec())).collect();
            let training = Training { seed, ..training() };
            Loader::views(data.clone(), batches, training, 2).collect::<Result<_>>().unwrap()
        };
        let values = 3 * 8 * 8;
        let one = load(&[(0, &[1, 5]), (1, &[1, 5]), (2, &[1, 5])], 1);
        let other = load(&[(2, &[5]), (1, &[0, 3, 5]), (0, &[5])], 2);
        assert_eq!(one[2].pixels[values..], other[0].pixels);
        assert_eq!(one[1].pixels[values..], other[1].pixels[2 * values..]);
        assert_eq!(one[0].pixels[values..], other[2].pixels);
        assert_ne!(one[1].pixels, one[2].pixels);
        let test: Vec<Batch> = Loader::evaluate(data, preprocess(), 8, 1).collect::<Result<_>>().unwrap();
        assert_eq!(one[0].pixels[..values], test[0].pixels[values..2 * values]);
    }

    #[test]
    fn an_error_arrives_in_its_turn_and_ends_the_epoch() {
        let mut data = dataset(12);
        data.samples[5].pixels = Pixels::File(PathBuf::from("/nowhere/at/all.jpg"));
        let data = Arc::new(data);
        for threads in [1, 2, 4] {
            let mut loader = Loader::evaluate(data.clone(), preprocess(), 2, threads);
            assert_eq!(loader.next().unwrap().unwrap().indices, [0, 1]);
            assert_eq!(loader.next().unwrap().unwrap().indices, [2, 3]);
            assert!(loader.next().unwrap().unwrap_err().to_string().contains("/nowhere/at/all.jpg"));
            assert!(loader.next().is_none());
        }
        let mut loader = Loader::train(data, vec![vec![0, 99]], 0, training(), 1);
        assert!(loader.next().unwrap().unwrap_err().to_string().contains("number 99"));
    }

    #[test]
    fn dropping_stops_the_threads_promptly() {
        let large = Arc::new(RgbImage::new(1500, 1500));
        let sample = Sample { pixels: Pixels::Memory(large), label: 0, name: "large".to_owned() };
        let data = Dataset { classes: vec!["one".to_owned()], samples: vec![sample; 20_000] };
        let mut loader = Loader::evaluate(Arc::new(data), preprocess(), 5_000, 2);
        let stop = loader.stop.clone();
        thread::sleep(Duration::from_millis(20));
        let start = Instant::now();
        loader.remaining = 1;
        drop(loader);
        assert!(stop.load(Ordering::Relaxed) && Arc::strong_count(&stop) == 1, "every thread has let go");
        assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
    }
}
