//! The loop on a small folder of pictures, with a small network whose weights stand for pre-trained ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use image::{Rgb, RgbImage};
use tempfile::TempDir;
use toml::Table;

use super::*;
use crate::data::Split;
use crate::formats::NamedTensors;
use crate::formats::safetensors::write_safetensors;
use crate::model::layers::Initializer;
use crate::model::parameters;

/// Twelve classes of six pictures: stripes of a class's own direction and colour, with noise.
fn pictures(root: &Path) {
    for class in 0..12u32 {
        let folder = root.join(format!("{:03}.class", class + 1));
        fs::create_dir_all(&folder).unwrap();
        for picture in 0..6u32 {
            let value = |x: u32, y: u32| {
                let stripe = ((x * (class % 4 + 1) + y * (class / 4 + 1) + picture) / 3) % 2;
                let noise = (x * 31 + y * 17 + picture * 13 + class * 7) % 23;
                Rgb([(stripe * 150 + noise) as u8, (class * 18 + noise) as u8, (200 - stripe * 90 + noise) as u8])
            };
            RgbImage::from_fn(16, 16, value).save(folder.join(format!("{picture}.png"))).unwrap();
        }
    }
}

struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        pictures(&world.path("data"));
        let backbone = world.config("").encoder.backbone.init(&mut Initializer::new(&Device::flex(), 77));
        write_safetensors(&parameters::tensors(&backbone), &world.path("backbone.safetensors")).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A small run on the folder, changed by lines of TOML.
    fn config(&self, changes: &str) -> RunConfig {
        let [data, weights, cache] = ["data", "backbone.safetensors", "cache"].map(|name| self.path(name).display().to_string());
        let base = format!(
            r#"
            data = {{ source = "cub200", path = "{data}", validation = {{ name = "from", class = "009" }} }}
            preprocess = {{ resize = 16, crop = 16, mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }}
            sampler = {{ batch_size = 8, images_per_class = 2 }}
            encoder = {{ dim = 6, weights = "{weights}", backbone = {{ name = "convnet", stem = 4, channels = [6, 8] }} }}
            train = {{ epochs = 2, tune = "frozen", views = 2, cache = "{cache}" }}
            dada = {{ d_warmup_epochs = 0, domain = {{ hidden = [8] }}, category = {{ hidden = [8] }} }}
            "#
        );
        let layers: [Table; 2] = [toml::from_str(&base).unwrap(), toml::from_str(changes).unwrap()];
        RunConfig::resolve(&layers).unwrap()
    }

    fn train(&self, name: &str, changes: &str) -> (Metrics, Vec<String>) {
        let mut notes = Vec::new();
        let outcome = train(&self.config(changes), &self.path(name), false, &AtomicBool::new(false), &mut |event| {
            if let Event::Note(note) = event {
                notes.push(note);
            }
        });
        match outcome.unwrap() {
            Outcome::Finished(metrics) => (*metrics, notes),
            Outcome::Stopped(_) => unreachable!("nobody raised the flag"),
        }
    }

    fn refused(&self, changes: &str) -> String {
        let outcome = train(&self.config(changes), &self.path("refused"), true, &AtomicBool::new(false), &mut |_| ());
        assert!(!self.path("refused").exists(), "a run that could not begin left something");
        outcome.err().expect("an error").to_string()
    }

    fn encoder(&self, run: &str) -> NamedTensors {
        self.tensors(run, "encoder")
    }

    fn tensors(&self, run: &str, file: &str) -> NamedTensors {
        let path = self.path(run).join(format!("checkpoints/last/{file}.safetensors"));
        crate::formats::safetensors::read_safetensors(&path).unwrap()
    }

    fn caches(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = fs::read_dir(self.path("cache")).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }
}

fn equal(a: &Metrics, b: &Metrics) -> bool {
    let result = |metrics: &Metrics| Metrics { seconds: 0.0, cpu_seconds: 0.0, peak_memory_gib: 0.0, ..metrics.clone() };
    result(a) == result(b)
}

fn computed(notes: &[String]) -> usize {
    notes.iter().filter(|note| note.starts_with("features:")).count()
}

#[test]
fn a_frozen_run_keeps_its_features_and_the_next_one_uses_them() {
    let world = World::new();
    let (first, notes) = world.train("first", "");
    assert_eq!(computed(&notes), 2, "{notes:?}");
    assert_eq!(first.measured_on, Split::Validation);
    assert!(first.frozen.is_some() && first.validation_frozen == first.frozen);
    assert!(notes.iter().any(|note| note.contains("frozen features recall@1") && note.contains("with the new head")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("no test classes")), "{notes:?}");
    let kept = world.caches();
    assert_eq!(kept.len(), 8 * 2 + 4, "test views of every class, augmented views of those that train");

    let (again, notes) = world.train("again", "");
    assert_eq!(computed(&notes), 0, "{notes:?}");
    assert!(equal(&first, &again));
    assert_eq!(world.encoder("first"), world.encoder("again"));

    // Classes have files of their own: another seed and another split of the same classes find what they need.
    let (_, notes) = world.train("other", "seed = 5\ndata = { validation = { class = \"005\" } }");
    assert_eq!(computed(&notes), 0, "{notes:?}");

    // A file that was damaged is told of, made again, and makes no difference.
    let mut bytes = fs::read(&kept[0]).unwrap();
    *bytes.last_mut().unwrap() ^= 0x40;
    fs::write(&kept[0], bytes).unwrap();
    let (mended, notes) = world.train("mended", "");
    assert_eq!(computed(&notes), 1, "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("checksum") && note.contains("computed again")), "{notes:?}");
    assert!(equal(&first, &mended));
}

#[test]
fn only_what_is_to_learn_learns() {
    let world = World::new();
    let changed = |changes: &str| -> Vec<String> {
        let name = format!("run {changes}").replace(['/', '\n'], " ");
        world.train(&name, changes);
        let before = crate::formats::safetensors::read_safetensors(&world.path("backbone.safetensors")).unwrap();
        let after = world.encoder(&name);
        before.into_iter().filter(|(key, data)| after[&format!("backbone.{key}")] != *data).map(|(key, _)| key).collect()
    };
    assert_eq!(changed(""), [""; 0]);
    // In its warm-up the backbone's weights stay, while the statistics of its norms follow the pictures, and the projection learns.
    let warming = "train = { tune = \"full\", warmup_epochs = 2 }";
    assert!(changed(warming).iter().all(|key| key.contains("running_")));
    let projection = |changes: &str| world.encoder(&format!("run {changes}"))["projection.weight"].clone();
    world.train("run longer", "train = { tune = \"full\", warmup_epochs = 2, epochs = 1 }");
    assert_ne!(projection(warming), projection("longer"));
    for kept in ["4.0", "0.0"] {
        let last = changed(&format!("train = {{ tune = {{ last_stages = 1 }}, cache_gib = {kept} }}"));
        assert!(!last.is_empty() && last.iter().all(|key| key.starts_with("layers.1.")), "{last:?}");
    }
    let full = changed("train = { tune = \"full\" }");
    assert!(full.iter().any(|key| key.starts_with("conv1")) && full.iter().any(|key| key.starts_with("layers.1.")), "{full:?}");
}

#[test]
fn a_run_that_was_stopped_goes_on_bit_for_bit() {
    let world = World::new();
    let learned = "dada = { update = \"alternating\", d_steps = 3, mix = { mode = \"projected\" }, category = { rank = 3, sampled_classes = 2 } }\nloss = { name = \"soft-triple\" }";
    let reversed = "dada = { update = \"reversal\", mix = { mode = \"gated\" } }";
    let runs = [("frozen", ""), ("stages", "train = { tune = { last_stages = 1 } }"), ("learned", learned), ("reversed", reversed)];
    for (name, changes) in runs {
        let (whole, _) = world.train(&format!("{name} whole"), changes);
        let folder = world.path(&format!("{name} parts"));
        let (config, stop) = (world.config(changes), AtomicBool::new(false));
        let mut resume = false;
        let parts = loop {
            let mut steps = 0;
            stop.store(false, Ordering::Relaxed);
            let outcome = train(&config, &folder, resume, &stop, &mut |event| {
                if let Event::Step { .. } = event {
                    steps += 1;
                    stop.store(steps == 4, Ordering::Relaxed);
                }
            });
            resume = true;
            if let Outcome::Finished(metrics) = outcome.unwrap() {
                break metrics;
            }
        };
        assert!(equal(&whole, &parts), "{name}");
        for file in ["encoder", "proxies", "discriminators", "adam-discriminators"] {
            let [whole, parts] = ["whole", "parts"].map(|part| world.tensors(&format!("{name} {part}"), file));
            assert_eq!(whole, parts, "{name}: {file}");
            let mixes = whole.keys().any(|path| path.contains("mixer"));
            assert_eq!(mixes, changes.contains("mode") && file.ends_with("discriminators"), "{name}: {file}");
        }
    }
}

#[test]
fn what_there_was_is_kept_when_training_harms() {
    let world = World::new();
    // Steps of this size destroy what there is.
    let harm = "encoder = { dim = 8, layer_norm = false }\noptimizer = { encoder = { learning_rate = 300.0 } }";
    let (metrics, _) = world.train("harm", harm);
    assert_eq!(metrics.best_epoch, None);
    assert_eq!(metrics.test, metrics.untrained);
    assert!(metrics.test_final["map@r"] < metrics.test["map@r"]);
}

#[test]
fn a_head_starts_at_random_or_from_principal_components() {
    let world = World::new();
    let (random, _) = world.train("random", "encoder = { head_init = \"random\" }");
    let (pca, _) = world.train("pca", "encoder = { head_init = \"pca\" }");
    assert_eq!(random.frozen, pca.frozen);
    assert_ne!(random.untrained, pca.untrained);
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run_with_its_place() {
    let world = World::new();
    let config = world.config("optimizer = { encoder = { learning_rate = 1e38 } }\nencoder = { layer_norm = false }");
    let error = train(&config, &world.path("infinite"), false, &AtomicBool::new(false), &mut |_| ()).err().unwrap().to_string();
    assert!(error.contains("is not finite") && error.contains("in epoch 0, step 1"), "{error}");
}

#[test]
fn without_validation_classes_the_last_epoch_is_kept() {
    let world = World::new();
    let all = world.config("data = { validation = { name = \"nothing\" } }");
    let outcome = train(&all, &world.path("all"), false, &AtomicBool::new(false), &mut |_| ()).unwrap();
    let Outcome::Finished(metrics) = outcome else { unreachable!("nobody raised the flag") };
    assert!(metrics.test.is_empty() && metrics.validation.is_empty() && metrics.frozen.is_none());
    assert_eq!(metrics.best_epoch, Some(1));
    assert!(world.path("all").join("model/model.safetensors").is_file());
}

#[test]
fn few_classes_make_small_batches() {
    let world = World::new();
    let (_, notes) = world.train("few", "sampler = { batch_size = 60 }");
    assert!(notes.iter().any(|note| note == "8 training classes: batches of 16 pictures instead of 60"), "{notes:?}");
}

#[test]
fn mistakes_are_named() {
    let world = World::new();
    assert!(world.refused("encoder = { weights = \"/nowhere/x.safetensors\" }").contains("/nowhere/x.safetensors"));
    let message = world.refused("train = { tune = { last_stages = 3 } }");
    assert!(message.contains("last_stages is 3") && message.contains("1 to 2"), "{message}");
    fs::write(world.path("preprocessor_config.json"), r#"{"resize":16,"crop":16,"mean":[0.4,0.4,0.4],"std":[0.5,0.5,0.5],"squash":false}"#)
        .unwrap();
    let message = world.refused("");
    assert!(message.contains("0.4") && message.contains("0.5") && message.contains("backbone.safetensors"), "{message}");
}

#[test]
fn more_dimensions_than_features_need_a_random_head() {
    let world = World::new();
    let table: Table = toml::from_str(&world.config("").to_toml()).unwrap();
    let larger: Table = toml::from_str("encoder = { dim = 9 }").unwrap();
    let message = RunConfig::resolve(&[table.clone(), larger.clone()]).unwrap_err().to_string();
    assert!(message.contains("encoder.dim is 9") && message.contains("8 features"), "{message}");
    let random: Table = toml::from_str("encoder = { head_init = \"random\" }").unwrap();
    assert!(RunConfig::resolve(&[table, larger, random]).is_ok());
}
