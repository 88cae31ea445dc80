//! Whole runs of the program on a tiny configuration: reproducible, resumable, and clear about mistakes.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::tensorboard::{Scalar, scalars};

const TINY: [&str; 9] = [
    "preprocess.resize=16",
    "preprocess.crop=16",
    "encoder.backbone.stem=8",
    "encoder.backbone.channels=[8, 16]",
    "encoder.dim=16",
    "dada.domain.hidden=[32]",
    "dada.category.hidden=[32]",
    "dada.d_warmup_epochs=0",
    "train.epochs=2",
];

fn train(folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dada"));
    command.arg("train").arg("--out").arg(folder).stdout(Stdio::null()).stderr(Stdio::piped());
    for setting in TINY.iter().chain(more.iter().filter(|argument| !argument.starts_with("--"))) {
        command.args(["--set", setting]);
    }
    command.args(more.iter().filter(|argument| argument.starts_with("--")));
    command
}

fn succeed(folder: &Path, more: &[&str]) {
    let output = train(folder, more).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn metrics(folder: &Path) -> Value {
    let mut metrics: Value = serde_json::from_slice(&std::fs::read(folder.join("metrics.json")).unwrap()).unwrap();
    for cost in ["seconds", "cpu_seconds", "peak_memory_gib"] {
        assert!(metrics.as_object_mut().unwrap().remove(cost).unwrap().as_f64().unwrap() > 0.0, "{cost}");
    }
    metrics
}

/// What TensorBoard shows of a run, without what it cost.
fn shown(folder: &Path) -> Vec<Scalar> {
    let cost = ["seconds", "metrics/seconds", "metrics/cpu_seconds", "metrics/peak_memory_gib"];
    scalars(folder).into_iter().filter(|(_, tag, _)| !cost.contains(&tag.as_str())).collect()
}

/// Until a file has something in it, or for a minute.
fn wait_for(path: &Path) {
    let started = Instant::now();
    while fs::metadata(path).map_or(0, |file| file.len()) == 0 && started.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Everything but the clock is the same, down to the optimizers' moments.
fn assert_same(a: &Path, b: &Path) {
    assert_eq!(metrics(a), metrics(b));
    assert_eq!(shown(a), shown(b));
    let files = ["model/model.safetensors", "checkpoints/last/proxies.safetensors", "checkpoints/last/adam-encoder.safetensors"];
    for file in files.into_iter().chain(["checkpoints/last/discriminators.safetensors", "checkpoints/last/adam-discriminators.safetensors"])
    {
        assert!(std::fs::read(a.join(file)).unwrap() == std::fs::read(b.join(file)).unwrap(), "{file} differs");
    }
}

#[test]
fn a_run_is_reproducible_whatever_the_threads_and_survives_being_killed() {
    let folder = tempfile::tempdir().unwrap();
    let [one, four, killed] = ["one", "four", "killed"].map(|name| folder.path().join(name));
    let started = Instant::now();
    succeed(&one, &["train.loader_threads=1"]);
    let whole = started.elapsed();
    succeed(&four, &["train.loader_threads=4"]);
    assert_same(&one, &four);

    // Once before there is a checkpoint, and once after.
    for checkpoint in [false, true] {
        let resume: &[&str] = if killed.exists() { &["--resume"] } else { &[] };
        let mut child = train(&killed, resume).stderr(Stdio::null()).spawn().unwrap();
        if checkpoint {
            wait_for(&killed.join("checkpoints/last/checkpoint.json"));
        } else {
            std::thread::sleep(whole.mul_f64(0.3).max(Duration::from_millis(300)));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let output = train(&killed, &["--resume"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("resuming at epoch 2, step 0"), "{told}");
    assert_same(&one, &killed);
}

#[test]
fn ctrl_c_leaves_a_checkpoint_in_the_middle_of_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, stopped] = ["whole", "stopped"].map(|name| folder.path().join(name));
    succeed(&whole, &[]);

    let child = train(&stopped, &["train.journal_every=1"]).spawn().unwrap();
    wait_for(&stopped.join("journal.jsonl"));
    // SAFETY: the signal goes to a child that has not been waited for, so its number is still its own.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(message.contains("--resume"), "{message}");
    succeed(&stopped, &["train.journal_every=1", "--resume"]);
    assert_eq!(metrics(&whole), metrics(&stopped));
}

/// One step over all pictures, too long for a second Ctrl-C to come too late.
#[test]
fn a_second_ctrl_c_ends_the_program_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let long = ["preprocess.resize=64", "preprocess.crop=64", "sampler.batch_size=600", "train.epochs=1"];
    let child = train(&out, &long).spawn().unwrap();
    wait_for(&out.join("journal.jsonl"));
    for _ in 0..2 {
        // SAFETY: as above.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        std::thread::sleep(Duration::from_millis(30));
    }
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(message.contains("again stops at once") && !message.contains("--resume"), "{message}");
    succeed(&out, &[&long[..], &["--resume"]].concat());
}

#[test]
fn without_dada_the_plain_loss_is_trained_and_the_journal_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, compat] = ["plain", "compat"].map(|name| folder.path().join(name));
    succeed(&plain, &["dada.enabled=false", "train.epochs=1"]);
    succeed(&compat, &["dada.mode=compat", "train.epochs=1", "train.class_mixup=true"]);
    let terms = |folder: &Path| {
        let journal = std::fs::read_to_string(folder.join("journal.jsonl")).unwrap();
        let mut lines = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let visit = lines.next().unwrap();
        assert!(visit["epochs"] == 0 && visit["doctor"]["probe_accuracy"].as_f64().unwrap() >= 0.4, "{visit}");
        lines.next().unwrap()["terms"].clone()
    };
    let [plain, compat] = [terms(&plain), terms(&compat)];
    assert!(plain["proxy_loss"].is_f64() && plain["domain"].is_null() && plain["proxy_cosine"].is_f64());
    assert!(plain["pulls"]["proxy_loss"]["embeddings"].as_f64().unwrap() > 0.0 && plain["pulls"]["domain"].is_null(), "{plain}");
    for term in ["proxy_loss", "domain", "risk", "discrepancy", "mixture_risk", "domain_accuracy", "proxy_cosine"] {
        assert!(compat[term].is_f64(), "{term}: {compat}");
    }
    for term in ["proxy_loss", "domain", "risk", "discrepancy"] {
        for place in ["embeddings", "proxies"] {
            // The labelling risk is that of samples alone.
            let pulls = (term, place) != ("risk", "proxies");
            assert_eq!(compat["pulls"][term][place].as_f64().unwrap() > 0.0, pulls, "{term} at the {place}: {compat}");
        }
    }
    let page = std::fs::read_to_string(folder.path().join("compat/report.html")).unwrap();
    for words in
        ["Domain discriminator", "Effective rank", "after training", "Queries with their nearest pictures", "mode = &quot;compat&quot;"]
    {
        assert!(page.contains(words), "{words}");
    }
}

fn refused(mut command: Command) -> String {
    let Output { status, stderr, .. } = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    let message = String::from_utf8_lossy(&stderr).into_owned();
    assert!(!status.success() && !message.contains("panicked"), "{message}");
    message
}

#[test]
fn mistakes_end_with_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let with = |setting: &str| refused(train(&out, &[setting]));
    assert!(with("train.epoch=3").contains("nearest valid one is train.epochs"));
    assert!(with("train.epochs=\"three\"").contains("epochs"));
    assert!(with("sampler.batch_size=31").contains("multiple of sampler.images_per_class"));
    assert!(with("device=abacus").contains("cpu"));
    assert!(with("encoder.weights=/no/such.safetensors").contains("/no/such.safetensors"));
    assert!(refused(train(&out, &["data.source=cub200", "data.path=/no/birds"])).contains("dada data fetch cub200"));
    assert!(!out.exists(), "a run that cannot begin leaves nothing behind");
    let mut missing = Command::new(env!("CARGO_BIN_EXE_dada"));
    missing.args(["train", "no-such-file.toml"]);
    assert!(refused(missing).contains("no-such-file.toml"));
}

/// Of one class two pictures each can be held out to validate and to test on: they can be looked at, not ranked.
#[test]
fn pictures_that_cannot_be_ranked_do_not_end_a_run() {
    let root = tempfile::tempdir().unwrap();
    for (class, pictures) in [("a", 2), ("b", 2), ("c", 2), ("d", 2), ("e", 8)] {
        let folder = root.path().join("pictures").join(class);
        fs::create_dir_all(&folder).unwrap();
        for number in 0..pictures {
            image::RgbImage::from_pixel(20, 20, image::Rgb([class.as_bytes()[0], 9 * number, 0]))
                .save(folder.join(format!("{number}.png")))
                .unwrap();
        }
    }
    let (out, path) = (root.path().join("run"), format!("data.path={}", root.path().join("pictures").display()));
    let mut command = train(&out, &["data.source=folder", &path, "data.validation={ name = \"share\", share = 0.2 }"]);
    let Output { status, stderr, .. } = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    let told = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{told}");
    assert!(told.contains("The test pictures are not used: all 2 are of the class \"e\""), "{told}");
    assert_eq!(metrics(&out)["test"], serde_json::json!({}));
    let mut evaluate = Command::new(env!("CARGO_BIN_EXE_dada"));
    evaluate.arg("evaluate").arg(&out);
    assert!(refused(evaluate).contains("no test classes"));
}

#[test]
fn a_run_folder_is_not_overwritten_nor_shared() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    succeed(&out, &["train.epochs=1"]);
    assert!(refused(train(&out, &["train.epochs=1"])).contains("--resume"));
    assert!(refused(train(&out, &["train.epochs=3", "--resume"])).contains("train.epochs is 1 there and 3 here"));
    succeed(&out, &["train.epochs=1", "--resume"]);

    let lock = std::fs::File::create(out.join(".lock")).unwrap();
    lock.lock().unwrap();
    assert!(refused(train(&out, &["train.epochs=1", "--resume"])).contains("in use"));
    drop(lock);

    std::fs::write(folder.path().join("precious"), "mine").unwrap();
    assert!(refused(train(folder.path(), &[])).contains("not empty"));
    assert_eq!(std::fs::read_to_string(folder.path().join("precious")).unwrap(), "mine");
    assert!(!folder.path().join(".lock").exists(), "a folder that is refused is left as it was");
}
