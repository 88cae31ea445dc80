//! Pictures that somebody names, to a file of embeddings.

use std::path::{Path, PathBuf};

use crate::data::Pixels;
use crate::data::inputs::collect;
use crate::device::DeviceKind;
use crate::embed::Embedder;
use crate::error::{Error, Result};
use crate::formats::vectors::{Writer, list_beside};
use crate::model::export::{Model, model_folder};
use crate::progress::{Message, Observer, Stage};

/// How much was embedded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// Rows of the file.
    pub rows: usize,
    /// Pictures that could not be read.
    pub skipped: usize,
}

/// Embeds the pictures of `inputs` (files, folders and lists, see [`collect`]) with the model of a run folder or model directory, and writes
/// them to `out` with their paths and labels, whole or not at all. A picture that cannot be read is skipped with a note; `strict`, it is an
/// error.
///
/// # Errors
/// For an `out` whose list would overwrite one of the inputs, as [`Writer::create`], [`collect`] and [`Model::load`], when no picture can be
/// read, and for an embedding that is not finite.
pub fn embed_to_file(
    model: &Path,
    inputs: &[PathBuf],
    out: &Path,
    strict: bool,
    device: DeviceKind,
    observer: Observer,
) -> Result<Embedded> {
    // Before anything is computed: an output that cannot be written should be known now.
    if let Some(list) = list_beside(out).filter(|list| inputs.iter().any(|input| is_same_file(input, list))) {
        let problem = "is among the inputs and would be overwritten by the list of the embeddings: choose another --out";
        return Err(Error::Request(format!("{} {problem}", list.display())));
    }
    let mut writer = Writer::create(out)?;
    let inputs = collect(inputs)?;
    let device = device.open();
    let model = Model::load(&model_folder(model), &device)?;

    observer(Message::Stage(Stage::Embedding));
    let embedder = Embedder::of(&model, &device);
    let vectors = embedder.vectors(inputs.iter().map(|input| Pixels::File(input.path.clone())));
    let mut skipped = 0;
    for (done, (input, vector)) in (1..).zip(inputs.iter().zip(vectors)) {
        match vector {
            Ok(vector) => writer.write(&vector, &[(&input.path.to_string_lossy(), &input.label)])?,
            // The model's fault and no picture's.
            Err(Error::Data(problem)) => return Err(Error::format(&input.path, problem)),
            Err(error) if strict => return Err(error),
            Err(error) => {
                observer(Message::Note(format!("skipped {error}")));
                skipped += 1;
            }
        }
        observer(Message::Done(done, inputs.len()));
    }
    if skipped == inputs.len() {
        return Err(Error::Request(format!("none of {skipped} pictures could be read")));
    }
    let rows = writer.finish().map_err(|error| Error::Request(format!("the embeddings were made but not written: {error}")))?;
    Ok(Embedded { rows, skipped })
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    a.canonicalize().ok().zip(b.canonicalize().ok()).is_some_and(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::pictures::preprocess::Preprocess;
    use crate::model::encoder::EncoderConfig;
    use crate::model::layers::Initializer;
    use crate::progress::UNOBSERVED;
    use burn::module::{Module, Param};
    use burn::tensor::Tensor;
    use image::{Rgb, RgbImage};
    use std::sync::Mutex;

    #[test]
    fn what_cannot_be_read_is_told_and_nothing_is_half_written() {
        let root = tempfile::tempdir().unwrap();
        let [model, photos, out] = ["run/model", "photos/a", "x.npy"].map(|name| root.path().join(name));
        let device = DeviceKind::default().open();
        let config = EncoderConfig::default();
        let encoder = config.init(&mut Initializer::new(&device, 0)).valid();
        let preprocess = Preprocess { resize: 16, crop: 16, ..Preprocess::default() };
        Model { config, preprocess, encoder }.save(&model, "").unwrap();
        std::fs::create_dir_all(&photos).unwrap();
        RgbImage::from_pixel(20, 20, Rgb([90; 3])).save(photos.join("0.png")).unwrap();
        std::fs::write(photos.join("1.png"), "no picture").unwrap();

        let embed = |inputs: &[PathBuf], strict, observer: Observer| {
            embed_to_file(&root.path().join("run"), inputs, &out, strict, DeviceKind::default(), observer)
        };
        assert!(embed(std::slice::from_ref(&photos), true, UNOBSERVED).unwrap_err().to_string().contains("1.png"));
        assert!(!out.exists());
        let told = Mutex::new(Vec::new());
        let made = embed(std::slice::from_ref(&photos), false, &|message| told.lock().unwrap().push(message)).unwrap();
        assert_eq!(made, Embedded { rows: 1, skipped: 1 });
        let told = told.into_inner().unwrap();
        assert!(
            told.iter().any(|message| matches!(message, Message::Note(note) if note.starts_with("skipped ") && note.contains("1.png"))),
            "{told:?}"
        );
        assert_eq!(told.last(), Some(&Message::Done(2, 2)));
        let list = out.with_extension("csv");
        assert!(std::fs::read_to_string(&list).unwrap().contains("photos/a/0.png,"));
        assert!(embed(&[list], false, UNOBSERVED).unwrap_err().to_string().contains("would be overwritten"));
        assert!(embed(&[photos.join("1.png")], false, UNOBSERVED).unwrap_err().to_string().starts_with("none of 1 pictures"));
    }

    #[test]
    fn an_embedding_that_is_no_number_is_the_models_fault_and_ends_the_work() {
        let root = tempfile::tempdir().unwrap();
        let [model, photo, out] = ["model", "a.png", "x.npy"].map(|name| root.path().join(name));
        let device = DeviceKind::default().open();
        let config = EncoderConfig::default();
        let mut encoder = config.init(&mut Initializer::new(&device, 0)).valid();
        encoder.projection.bias = Param::from_tensor(Tensor::full([config.dim], f64::NAN, &device));
        let preprocess = Preprocess { resize: 16, crop: 16, ..Preprocess::default() };
        Model { config, preprocess, encoder }.save(&model, "").unwrap();
        RgbImage::from_pixel(20, 20, Rgb([90; 3])).save(&photo).unwrap();
        let refused =
            embed_to_file(&model, std::slice::from_ref(&photo), &out, false, DeviceKind::default(), UNOBSERVED).unwrap_err().to_string();
        assert!(refused.starts_with(&photo.display().to_string()) && refused.contains("the embedding"), "{refused}");
        assert!(!out.exists());
    }
}
