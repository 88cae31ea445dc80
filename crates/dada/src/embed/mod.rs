//! The one engine from pictures to vectors: training, evaluation, `dada embed` and whoever comes later run their pictures through [`Embedder`].

pub mod to_file;

use std::collections::VecDeque;
use std::thread::available_parallelism;

use burn::tensor::{Device, Tensor, TensorData};

use crate::data::loader::{Loader, Preparation, Request, View};
use crate::data::{Dataset, Pixels};
use crate::embeddings::{Embeddings, normalise};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::backbones::Features;
use crate::model::encoder::{Boundary, Encoder, EncoderInput};
use crate::model::layers::Mode;
use crate::progress::Progress;

/// Pictures that go through the network together when nothing is learnt.
pub const BATCH: usize = 64;

/// Most threads that decode where nobody says how many.
const MOST_THREADS: usize = 8;

/// An encoder with the pre-processing that it was trained with, on a device.
pub struct Embedder<'a> {
    encoder: &'a Encoder,
    preparation: Preparation,
    threads: usize,
    device: &'a Device,
}

/// How far a picture goes through the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Up to a boundary within it.
    Boundary(Boundary),
    /// To the embedding, not normalised.
    Embedding,
}

impl<'a> Embedder<'a> {
    /// An encoder without autodiff on `device`; pictures are decoded on `threads` threads.
    pub fn new(encoder: &'a Encoder, preparation: Preparation, threads: usize, device: &'a Device) -> Self {
        Self { encoder, preparation, threads, device }
    }

    /// An exported model, with as many decoding threads as the machine has.
    pub fn of(model: &'a Model, device: &'a Device) -> Self {
        let preparation = Preparation { preprocess: model.preprocess.clone(), augment: Default::default() };
        let threads = available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        Self::new(&model.encoder, preparation, threads, device)
    }

    /// One L2-normalised embedding `[dim]` for each picture, or why there is none, in order: [`Error::Data`] for an embedding that is not finite,
    /// another error for a picture that cannot be read. While the network works on a batch, the next
    /// pictures are decoded; memory does not grow with their number.
    pub fn vectors<I: Iterator<Item = Pixels>>(&self, pictures: I) -> impl Iterator<Item = Result<Vec<f32>>> {
        let requests = pictures.map(|pixels| Request { pixels, view: View::Test });
        self.rows(requests, std::iter::repeat(BATCH), Output::Embedding).map(|row| {
            let mut row = row?;
            normalise(&mut row).map_err(|problem| Error::Data(format!("the embedding {problem}")))?;
            Ok(row)
        })
    }

    /// Embeddings of all pictures of a data set, in order.
    ///
    /// # Errors
    /// For an empty data set, the first picture that cannot be read, and an embedding that is not finite.
    pub fn dataset(&self, dataset: &Dataset, progress: Progress) -> Result<Embeddings> {
        let total = dataset.samples.len();
        let mut values = Vec::new();
        let vectors = self.vectors(dataset.samples.iter().map(|sample| sample.pixels.clone()));
        for (done, (sample, vector)) in (1..).zip(dataset.samples.iter().zip(vectors)) {
            match vector {
                Ok(vector) => values.extend_from_slice(&vector),
                Err(Error::Data(problem)) => return Err(Error::Data(format!("{}: {problem}", sample.name))),
                Err(error) => return Err(error),
            }
            progress(done, total);
        }
        let dim = values.len().checked_div(total).unwrap_or(0);
        Embeddings::new(values, total, dim)
    }

    /// What the network makes of each requested view, flattened, or why there is nothing, in order. The pictures go through the network
    /// together in batches of the given `sizes`, of which there are enough.
    pub fn rows<R, S>(&self, requests: R, sizes: S, output: Output) -> Rows<'_, R, S>
    where
        R: Iterator<Item = Request>,
        S: Iterator<Item = usize>,
    {
        let loader = Loader::new(requests, self.preparation.clone(), self.threads, 2 * BATCH);
        Rows { embedder: self, loader, sizes, output, ready: VecDeque::new() }
    }

    /// The shape of one row of an output.
    pub fn row_shape(&self, output: Output) -> Vec<usize> {
        let size = self.preparation.preprocess.crop as usize;
        self.forward(vec![0.0; 3 * size * size], 1, output).shape().as_slice()[1..].to_vec()
    }

    /// Pictures `[rows, 3, size, size]` to `[rows, …]`.
    fn forward(&self, pixels: Vec<f32>, rows: usize, output: Output) -> TensorData {
        let images = images(pixels, rows, self.preparation.preprocess.crop, self.device);
        match output {
            Output::Embedding => self.encoder.forward(images, Mode::Infer).into_data(),
            Output::Boundary(boundary) => match self.encoder.up_to(images, boundary) {
                EncoderInput::Pooled(features) => features.into_data(),
                EncoderInput::Images(map) | EncoderInput::Staged { features: Features::Map(map), .. } => map.into_data(),
                EncoderInput::Staged { features: Features::Tokens(tokens), .. } => tokens.into_data(),
            },
        }
    }
}

/// Pictures `[rows, 3, size, size]` as a tensor.
pub fn images(pixels: Vec<f32>, rows: usize, size: u32, device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(pixels, [rows, 3, size as usize, size as usize]), device)
}

/// See [`Embedder::rows`].
pub struct Rows<'a, R: Iterator<Item = Request>, S> {
    embedder: &'a Embedder<'a>,
    loader: Loader<R>,
    sizes: S,
    output: Output,
    ready: VecDeque<Result<Vec<f32>>>,
}

impl<R: Iterator<Item = Request>, S: Iterator<Item = usize>> Rows<'_, R, S> {
    /// Takes the next batch through the network, without the pictures that cannot be read.
    fn advance(&mut self) {
        let size = self.sizes.next().unwrap_or(0);
        let (mut pixels, mut readable) = (Vec::new(), 0);
        let mut problems = Vec::with_capacity(size);
        for prepared in self.loader.by_ref().take(size) {
            match prepared {
                Ok(picture) => {
                    pixels.extend_from_slice(&picture);
                    readable += 1;
                    problems.push(None);
                }
                Err(error) => problems.push(Some(error)),
            }
        }
        let values = if readable > 0 { values(self.embedder.forward(pixels, readable, self.output)) } else { Vec::new() };
        let width = values.len().checked_div(readable).unwrap_or(0);
        let mut taken = 0;
        for problem in problems {
            self.ready.push_back(if let Some(error) = problem {
                Err(error)
            } else {
                taken += 1;
                Ok(values[(taken - 1) * width..taken * width].to_vec())
            });
        }
    }
}

impl<R: Iterator<Item = Request>, S: Iterator<Item = usize>> Iterator for Rows<'_, R, S> {
    type Item = Result<Vec<f32>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            self.advance();
        }
        self.ready.pop_front()
    }
}

/// What an encoder computed, on the host.
pub fn values(data: TensorData) -> Vec<f32> {
    data.try_into_vec_as::<f32>().expect("an encoder computes in floating point")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::pictures::preprocess::Preprocess;
    use crate::model::encoder::EncoderConfig;
    use crate::model::layers::Initializer;
    use crate::progress::SILENT;
    use burn::module::Module;
    use image::{ImageFormat, Rgb, RgbImage};
    use std::io::Cursor;
    use std::path::PathBuf;
    use std::sync::Arc;

    fn model() -> Model {
        let config = EncoderConfig { dim: 5, ..EncoderConfig::default() };
        let encoder = config.init(&mut Initializer::new(&Device::flex(), 3)).valid();
        Model { config, preprocess: Preprocess { resize: 16, crop: 16, ..Preprocess::default() }, encoder }
    }

    fn picture(index: usize) -> RgbImage {
        RgbImage::from_fn(20, 18, |x, y| Rgb([(index * 7) as u8, (x * 12) as u8, (y * 13) as u8]))
    }

    #[test]
    fn a_file_its_bytes_and_its_pixels_have_one_vector() {
        let (model, device) = (model(), Device::flex());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        picture(1).save(&path).unwrap();
        let bytes: Arc<[u8]> = std::fs::read(&path).unwrap().into();
        let damaged = Pixels::Bytes { name: "upload 7".into(), bytes: bytes[..40].into() };
        let all = [Pixels::File(path), Pixels::Bytes { name: "upload 6".into(), bytes }, damaged, Pixels::Memory(Arc::new(picture(1)))];
        let embedder = Embedder::of(&model, &device);
        let found: Vec<Result<Vec<f32>>> = embedder.vectors(all.into_iter()).collect();
        let [file, bytes, damaged, memory] = found.try_into().unwrap();
        let file = file.unwrap();
        assert_eq!(file.len(), 5);
        assert!((file.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
        assert_eq!((bytes.unwrap(), memory.unwrap()), (file.clone(), file));
        let problem = damaged.unwrap_err().to_string();
        assert!(problem.starts_with("upload 7: "), "{problem}");
    }

    #[test]
    fn every_picture_has_its_vector_in_order_whatever_is_beside_it() {
        let (model, device) = (model(), Device::flex());
        let embedder = Embedder::of(&model, &device);
        let alone = |index: usize| embedder.vectors(std::iter::once(Pixels::Memory(Arc::new(picture(index))))).next().unwrap().unwrap();
        let gone = [0, BATCH - 1, BATCH, 2 * BATCH + 3];
        let pictures = (0..2 * BATCH + 5).map(|index| {
            if gone.contains(&index) {
                Pixels::File(PathBuf::from(format!("/gone/{index}.png")))
            } else {
                Pixels::Memory(Arc::new(picture(index)))
            }
        });
        let found: Vec<Result<Vec<f32>>> = embedder.vectors(pictures).collect();
        assert_eq!(found.len(), 2 * BATCH + 5);
        for (index, vector) in found.iter().enumerate() {
            match vector {
                Err(error) => assert!(gone.contains(&index) && error.to_string().contains(&format!("/gone/{index}.png"))),
                Ok(vector) if index % 16 == 1 => {
                    let difference = vector.iter().zip(alone(index)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(difference < 1e-5, "{index}: {difference}");
                }
                Ok(_) => assert!(!gone.contains(&index)),
            }
        }
    }

    #[test]
    fn a_data_set_needs_every_picture() {
        let (model, device) = (model(), Device::flex());
        let embedder = Embedder::of(&model, &device);
        let sample = |pixels| crate::data::Sample { pixels, label: 0, name: String::new() };
        let mut dataset =
            Dataset { classes: vec!["c".into()], samples: (0..3).map(|index| sample(Pixels::Memory(Arc::new(picture(index))))).collect() };
        assert_eq!(embedder.dataset(&dataset, SILENT).unwrap().rows(), 3);
        dataset.samples[1].pixels = Pixels::File("/gone.png".into());
        assert!(embedder.dataset(&dataset, SILENT).unwrap_err().to_string().contains("/gone.png"));
        assert!(embedder.dataset(&Dataset::default(), SILENT).unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn a_row_has_the_shape_of_its_boundary() {
        let (model, device) = (model(), Device::flex());
        let embedder = Embedder::of(&model, &device);
        assert_eq!(embedder.row_shape(Output::Embedding), [5]);
        let features = model.config.backbone.features();
        assert_eq!(embedder.row_shape(Output::Boundary(Boundary::Pooled)), [features]);
        let shape = embedder.row_shape(Output::Boundary(Boundary::Stage(1)));
        let mut png = Cursor::new(Vec::new());
        picture(0).write_to(&mut png, ImageFormat::Png).unwrap();
        let request = Request { pixels: Pixels::Bytes { name: "a".into(), bytes: png.into_inner().into() }, view: View::Test };
        let row =
            embedder.rows(std::iter::once(request), std::iter::once(1), Output::Boundary(Boundary::Stage(1))).next().unwrap().unwrap();
        assert_eq!(row.len(), shape.iter().product::<usize>());
    }
}
