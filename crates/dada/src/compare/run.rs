//! Makes the runs of a comparison.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::compare::grid::Arm;
use crate::config::RunConfig;
use crate::data::Split;
use crate::error::{AtPath, Error, Result};
use crate::train::{Figures, Metrics};

/// A run that is done.
#[derive(Clone, Debug)]
pub struct Run {
    /// Place in the list of arms.
    pub arm: usize,
    /// Its seed.
    pub seed: u64,
    /// Its run folder.
    pub folder: PathBuf,
    /// What came out.
    pub metrics: Metrics,
    /// Judged by the validation classes, which are a fold of its own, though there may be test classes.
    pub on_fold: bool,
}

impl Run {
    /// The figures that a comparison goes by. Where validation classes have to serve for the test, they also chose the best epoch, so that the
    /// last epoch is the fairer judge.
    pub fn figures(&self) -> &Figures {
        match self.metrics.measured_on {
            Split::Validation => &self.metrics.test_final,
            _ if self.on_fold => &self.metrics.validation_final,
            _ => &self.metrics.test,
        }
    }

    /// The same before training: of pre-trained features without a projection, and of the encoder.
    pub fn before(&self) -> (Option<&Figures>, &Figures) {
        let metrics = &self.metrics;
        if self.on_fold {
            (metrics.validation_frozen.as_ref(), &metrics.validation_untrained)
        } else {
            (metrics.frozen.as_ref(), &metrics.untrained)
        }
    }
}

/// The run folder of one arm and seed within a comparison's folder.
pub fn folder(comparison: &Path, arm: &Arm, seed: u64) -> PathBuf {
    let name: String = arm.title().chars().map(|c| if c.is_alphanumeric() || "=.-_".contains(c) { c } else { '_' }).collect();
    comparison.join(name).join(format!("seed-{seed}"))
}

/// Threads for each of several runs at once; none to say where there is one, which takes what it likes.
pub fn threads_each(jobs: usize) -> Option<usize> {
    (jobs > 1).then(|| (thread::available_parallelism().map_or(1, usize::from) / jobs).max(1))
}

/// Makes what is wanted, `jobs` at once, begun in this order and handed back in it. After a failure, or once `stop` is raised, nothing new is
/// begun.
///
/// # Errors
/// The first failure, after what was going on has ended.
pub fn at_once<W: Sync, R: Send, E: Send>(
    jobs: usize,
    wanted: &[W],
    stop: &AtomicBool,
    make: impl Fn(usize, &W) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut made = Vec::new();
        while !stop.load(Ordering::Relaxed) && !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(wanted) = wanted.get(number) else { break };
            let result = make(number, wanted);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            made.push((number, result));
        }
        made
    };
    let mut made: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a panic in a worker is passed on")).collect()
    });
    made.sort_by_key(|(number, _)| *number);
    made.into_iter().map(|(_, result)| result).collect()
}

/// How a run is started in a process of its own, so that its time and memory are its own: the command of a program that trains the
/// configuration in a file (the first path) into a run folder (the second) by [`train`](crate::train::train), going on with what an interrupted
/// process left there. How many threads it has and where its output goes is added here; its results are read from the folder.
pub type Launcher<'a> = &'a (dyn Fn(&Path, &Path) -> Command + Sync);

/// Makes one run; goes on with one that was interrupted, and only reads one that is done with this configuration. With `threads`, its
/// computations have so many. What its process prints about itself goes to a `.log` beside the run's folder.
///
/// # Errors
/// When the run fails, with the last line that it printed, and when the folder holds another run.
pub fn make(launcher: Launcher, config: &RunConfig, threads: Option<usize>, folder: &Path) -> Result<Metrics> {
    if let Some(metrics) = Metrics::read(folder)? {
        let made = RunConfig::load(&folder.join("config.toml"))?;
        return match config.difference(&made) {
            None => Ok(metrics),
            Some(difference) => Err(Error::Config(format!("{} holds a run with another configuration: {difference}", folder.display()))),
        };
    }
    let parent = folder.parent().expect("a run's folder lies in an arm's folder");
    fs::create_dir_all(parent).at(parent)?;
    // Every run has the configuration that the comparison began with, though somebody edits the file meanwhile.
    let (log, given) = (folder.with_extension("log"), folder.with_extension("toml"));
    fs::write(&given, config.to_toml()).at(&given)?;
    let mut command = launcher(&given, folder);
    command.envs(threads.map(|threads| ("RAYON_NUM_THREADS", threads.to_string())));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).at(&log)?);
    let status = command.status().at(Path::new(command.get_program()))?;
    fs::remove_file(&given).at(&given)?;
    if !status.success() {
        let printed = fs::read_to_string(&log).unwrap_or_default();
        let last = printed.lines().last().unwrap_or("nothing was told").trim_start_matches("error: ").to_owned();
        return Err(Error::Data(format!("{}: {last}", folder.display())));
    }
    Metrics::read(folder)?.ok_or_else(|| Error::Data(format!("{}: the run ended without metrics.json", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_run_is_a_process_that_is_told_its_configuration_and_folder() {
        let out = tempfile::tempdir().unwrap();
        let folder = out.path().join("arm/seed-0");
        let made = |script: &str, threads| {
            let launcher = |config: &Path, folder: &Path| {
                let mut command = Command::new("sh");
                command.args(["-c", script]).arg(config).arg(folder);
                command
            };
            make(&launcher, &RunConfig::default(), threads, &folder).map_err(|error| error.to_string())
        };
        assert!(made("echo starting >&2; echo 'error: no pictures' >&2; exit 1", None).unwrap_err().ends_with("seed-0: no pictures"));
        assert!(made("exit 3", None).unwrap_err().ends_with("seed-0: nothing was told"));
        assert!(made("grep -q 'seed = 0' \"$0\"", None).unwrap_err().ends_with("the run ended without metrics.json"));
        assert!(made("test $RAYON_NUM_THREADS = 3", Some(3)).unwrap_err().ends_with("the run ended without metrics.json"));
        assert!(!folder.with_extension("toml").exists() && folder.with_extension("log").exists());
    }

    #[test]
    fn results_are_in_order_and_a_failure_is_the_last_that_is_begun() {
        let numbers: Vec<u64> = (0..20).collect();
        let stop = AtomicBool::new(false);
        let slowly = |_, &number: &u64| {
            thread::sleep(std::time::Duration::from_millis(20 - number));
            Ok::<_, u64>(number * number)
        };
        assert_eq!(at_once(3, &numbers, &stop, slowly).unwrap(), numbers.iter().map(|n| n * n).collect::<Vec<_>>());
        let begun = AtomicUsize::new(0);
        let failing = |_, &number: &u64| {
            begun.fetch_add(1, Ordering::Relaxed);
            if number == 4 { Err(number) } else { Ok(number) }
        };
        assert_eq!((at_once(1, &numbers, &stop, failing), begun.into_inner()), (Err(4), 5));
        stop.store(true, Ordering::Relaxed);
        assert!(at_once(2, &numbers, &stop, slowly).unwrap().is_empty());
    }
}
