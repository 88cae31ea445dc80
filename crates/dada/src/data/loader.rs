//! Pictures made ready for a network, in order, ahead of time, on threads of their own.
//!
//! Thread t of T prepares the pictures t, t + T, t + 2T, … and hands them over through a channel of its own. The consumer asks the channels in
//! turn, so pictures come in order, no more than a stated number is prepared ahead, and a picture is the same whoever prepared it.

use std::iter::Fuse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};
use rand_chacha::ChaCha8Rng;

use crate::data::pictures::augment::{AugmentConfig, augment};
use crate::data::pictures::preprocess::{Preprocess, normalise_into, view};
use crate::data::{Pixels, Sample};
use crate::error::{Error, Result};
use crate::random::{Purpose, generator};

/// What every picture goes through.
#[derive(Clone, Debug)]
pub struct Preparation {
    /// What the test view is made by.
    pub preprocess: Preprocess,
    /// What is varied in augmented views.
    pub augment: AugmentConfig,
}

/// A picture, and the view of it that is wanted.
#[derive(Clone, Debug)]
pub struct Request {
    /// The picture.
    pub pixels: Pixels,
    /// The view.
    pub view: View,
}

/// Which view of a picture a network is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The test view.
    Test,
    /// An augmented view; the numbers decide which.
    Augmented {
        /// The run's seed.
        seed: u64,
        /// Zero-based epoch.
        epoch: usize,
        /// Zero-based step within the epoch.
        step: usize,
        /// Row within the batch.
        row: usize,
    },
}

/// Seed of the views that runs share.
const SHARED: u64 = 0;

impl View {
    /// View `number` of a sample, the same in every batch and for every seed: 0 is the test view, others are augmented views, which depend on
    /// the sample's name and the number alone.
    pub fn shared(sample: &Sample, number: usize) -> Self {
        if number == 0 {
            return Self::Test;
        }
        let name = blake3::hash(sample.name.as_bytes());
        let name = u64::from_le_bytes(*name.as_bytes().first_chunk().expect("a hash has 32 bytes"));
        Self::Augmented { seed: SHARED, epoch: number, step: 0, row: name as usize }
    }
}

/// An iterator over prepared pictures, each `[3, size, size]` and normalised, or why it could not be read. Dropping it stops its threads, at the
/// latest after the picture in hand.
pub struct Loader<I: Iterator<Item = Request>> {
    requests: Fuse<I>,
    preparation: Arc<Preparation>,
    workers: Vec<Worker>,
    threads: usize,
    ahead: usize,
    sent: usize,
    received: usize,
    stop: Arc<AtomicBool>,
}

struct Worker {
    // `None` once the loader is being dropped: a closed channel tells the thread that nobody waits.
    requests: Option<Sender<Request>>,
    prepared: Receiver<Result<Vec<f32>>>,
    thread: Option<JoinHandle<()>>,
}

impl<I: Iterator<Item = Request>> Loader<I> {
    /// Prepares `requests` on `threads` threads, at most `ahead` pictures before they are asked for.
    pub fn new(requests: I, preparation: Preparation, threads: usize, ahead: usize) -> Self {
        Self {
            requests: requests.fuse(),
            preparation: Arc::new(preparation),
            workers: Vec::new(),
            threads: threads.max(1),
            ahead: ahead.max(1),
            sent: 0,
            received: 0,
            stop: Arc::new(AtomicBool::new(false)),
        }
    }

    /// The next `rows` pictures as one batch `[rows, 3, size, size]`.
    ///
    /// # Errors
    /// For the first that cannot be read.
    pub fn batch(&mut self, rows: usize) -> Result<Vec<f32>> {
        let mut pixels = Vec::new();
        for prepared in self.take(rows) {
            let prepared = prepared?;
            pixels.reserve_exact(if pixels.is_empty() { rows * prepared.len() } else { 0 });
            pixels.extend_from_slice(&prepared);
        }
        Ok(pixels)
    }

    fn send_ahead(&mut self) {
        while self.sent - self.received < self.ahead {
            let Some(request) = self.requests.next() else { return };
            let turn = self.sent % self.threads;
            if turn == self.workers.len() {
                self.workers.push(Worker::start(self.preparation.clone(), self.stop.clone()));
            }
            if let Some(requests) = &self.workers[turn].requests {
                // A thread that ended early is reported when its picture is asked for.
                requests.send(request).ok();
            }
            self.sent += 1;
        }
    }
}

impl<I: Iterator<Item = Request>> Iterator for Loader<I> {
    type Item = Result<Vec<f32>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.send_ahead();
        if self.received == self.sent {
            return None;
        }
        let worker = &self.workers[self.received % self.threads];
        self.received += 1;
        Some(worker.prepared.recv().unwrap_or_else(|_| Err(Error::Data("a loader thread ended early".to_owned()))))
    }
}

impl<I: Iterator<Item = Request>> Drop for Loader<I> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in &mut self.workers {
            worker.requests = None;
        }
        for thread in self.workers.iter_mut().filter_map(|worker| worker.thread.take()) {
            // A thread that panicked was already reported by `next`.
            thread.join().ok();
        }
    }
}

impl Worker {
    fn start(preparation: Arc<Preparation>, stop: Arc<AtomicBool>) -> Self {
        let (requests, wanted) = unbounded::<Request>();
        let (sender, prepared) = unbounded();
        let thread = thread::spawn(move || {
            for request in wanted {
                if stop.load(Ordering::Relaxed) || sender.send(prepare(&request, &preparation)).is_err() {
                    return;
                }
            }
        });
        Self { requests: Some(requests), prepared, thread: Some(thread) }
    }
}

fn prepare(request: &Request, preparation: &Preparation) -> Result<Vec<f32>> {
    let Preparation { preprocess, augment: config } = preparation;
    let picture = request.pixels.picture()?;
    let view = match request.view {
        View::Test => view(&picture, preprocess),
        View::Augmented { seed, epoch, step, row } => {
            let mut random: ChaCha8Rng = generator(seed, Purpose::Augment, epoch, step, row);
            augment(&picture, preprocess, config, &mut random)
        }
    };
    let view = view.map_err(|error| match (error, request.pixels.path()) {
        (Error::Data(problem), Some(path)) => Error::format(path, problem),
        (error, _) => error,
    })?;
    let size = preprocess.crop as usize;
    let mut pixels = vec![0.0; 3 * size * size];
    normalise_into(&view, preprocess.mean, preprocess.std, &mut pixels);
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    fn samples(count: usize) -> Vec<Sample> {
        let picture = |index: usize| RgbImage::from_fn(20, 16, |x, y| Rgb([(index * 9) as u8, (x * 12) as u8, (y * 15) as u8]));
        let sample =
            |index| Sample { pixels: Pixels::Memory(Arc::new(picture(index))), label: index / 2, name: format!("picture {index}") };
        (0..count).map(sample).collect()
    }

    fn preparation() -> Preparation {
        let preprocess = Preprocess { resize: 9, crop: 8, ..Preprocess::default() };
        Preparation { preprocess, augment: AugmentConfig { brightness: 0.3, ..AugmentConfig::default() } }
    }

    fn loaded(requests: Vec<Request>, threads: usize, ahead: usize) -> Vec<Vec<f32>> {
        Loader::new(requests.into_iter(), preparation(), threads, ahead).collect::<Result<_>>().unwrap()
    }

    #[test]
    fn pictures_do_not_depend_on_the_number_of_threads() {
        let samples = samples(24);
        let request = |row: usize| {
            let view = View::Augmented { seed: 4, epoch: 1, step: row / 6, row: row % 6 };
            Request { pixels: samples[row * 7 % 24].pixels.clone(), view }
        };
        let requests: Vec<Request> = (0..66).map(request).collect();
        let one = loaded(requests.clone(), 1, 1);
        assert_eq!(one.len(), 66);
        assert_ne!(one[0], one[24], "the same picture in another step");
        for (threads, ahead) in [(2, 5), (3, 1), (4, 12), (50, 100)] {
            assert!(loaded(requests.clone(), threads, ahead) == one, "{threads} threads");
        }
        let mut loader = Loader::new(requests.into_iter(), preparation(), 2, 4);
        assert_eq!(loader.batch(60).unwrap(), one[..60].concat());
        assert_eq!(loader.batch(60).unwrap(), one[60..].concat(), "the last batch is short");
        assert_eq!(loader.batch(60).unwrap(), [0.0; 0]);
        assert!(loaded(Vec::new(), 2, 4).is_empty());
    }

    #[test]
    fn the_test_view_is_the_formula() {
        let samples = samples(2);
        let Preparation { preprocess, .. } = preparation();
        let Pixels::Memory(picture) = &samples[1].pixels else { unreachable!() };
        let mut expected = vec![0.0; 3 * 8 * 8];
        normalise_into(&view(picture, &preprocess).unwrap(), preprocess.mean, preprocess.std, &mut expected);
        let request = Request { pixels: samples[1].pixels.clone(), view: View::Test };
        assert_eq!(loaded(vec![request], 1, 1), [expected]);
    }

    #[test]
    fn a_shared_view_depends_on_name_and_number_alone() {
        let samples = samples(8);
        let load = |views: &[(usize, usize)]| {
            let request = |&(index, number): &(usize, usize)| Request {
                pixels: samples[index].pixels.clone(),
                view: View::shared(&samples[index], number),
            };
            loaded(views.iter().map(request).collect(), 2, 4)
        };
        let one = load(&[(1, 0), (5, 0), (1, 1), (5, 1), (5, 2)]);
        let other = load(&[(5, 2), (0, 1), (5, 1), (5, 0)]);
        assert_eq!(one[4], other[0]);
        assert_eq!(one[3], other[2]);
        assert_eq!(one[1], other[3]);
        assert_ne!(one[3], one[4]);
        assert_eq!(View::shared(&samples[1], 0), View::Test);
    }

    #[test]
    fn an_error_arrives_in_its_turn_and_stops_nothing() {
        let mut samples = samples(12);
        samples[5].pixels = Pixels::File(PathBuf::from("/nowhere/at/all.jpg"));
        let requests = || samples.iter().map(|sample| Request { pixels: sample.pixels.clone(), view: View::Test });
        for threads in [1, 2, 4] {
            let found: Vec<Result<Vec<f32>>> = Loader::new(requests(), preparation(), threads, 3).collect();
            assert_eq!(found.iter().map(Result::is_ok).collect::<Vec<_>>(), (0..12).map(|index| index != 5).collect::<Vec<_>>());
            assert!(found[5].as_ref().unwrap_err().to_string().contains("/nowhere/at/all.jpg"));
        }
        let mut loader = Loader::new(requests(), preparation(), 2, 3);
        assert!(loader.batch(12).unwrap_err().to_string().contains("/nowhere/at/all.jpg"));
    }

    #[test]
    fn no_more_is_prepared_ahead_than_was_stated() {
        let samples = samples(1);
        let taken = std::cell::Cell::new(0);
        let requests = std::iter::repeat_with(|| {
            taken.set(taken.get() + 1);
            Request { pixels: samples[0].pixels.clone(), view: View::Test }
        });
        let mut loader = Loader::new(requests, preparation(), 3, 7);
        for asked in 1..20 {
            loader.next().unwrap().unwrap();
            assert_eq!(taken.get(), asked + 6);
        }
    }

    #[test]
    fn dropping_stops_the_threads_promptly() {
        let large = Pixels::Memory(Arc::new(RgbImage::new(1500, 1500)));
        let requests = std::iter::repeat_with(move || Request { pixels: large.clone(), view: View::Test });
        let mut loader = Loader::new(requests, preparation(), 2, 20_000);
        loader.next().unwrap().unwrap();
        let stop = loader.stop.clone();
        let start = Instant::now();
        drop(loader);
        assert!(stop.load(Ordering::Relaxed) && Arc::strong_count(&stop) == 1, "every thread has let go");
        assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
    }
}
