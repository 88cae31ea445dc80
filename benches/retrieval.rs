//! Wall time, processor time and peak memory of exact retrieval on four shapes, and of k-means on the largest test set in use.
//!
//! `cargo bench --bench retrieval [sop|inshop|cub|large|kmeans]`: without a name, each shape runs in a process of its own, so that
//! peak memory is that shape's. The share of the machine's GEMM peak is the multiplications needed (a symmetric half for a set
//! searched in itself) at the speed of one large multiplication, over processor time.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use dada::cost::Cost;
use dada::embeddings::Embeddings;
use dada::evaluate::clustering::agreement;
use dada::evaluate::kmeans::{KMeans, k_means};
use dada::evaluate::{Retrieval, query_gallery, self_retrieval};
use dada::progress::SILENT;
use dada::random::{Purpose, generator};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

const KS: [usize; 4] = [1, 10, 100, 1000];

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [shape] = named.as_slice() {
        return measure(shape);
    }
    for shape in ["cub", "inshop", "sop", "large", "kmeans"] {
        let program = std::env::current_exe().expect("a running program has a path");
        let status = Command::new(program).arg(shape).status().expect("the program that runs can be run again");
        assert!(status.success());
    }
}

fn measure(shape: &str) {
    if shape == "kmeans" {
        return measure_k_means();
    }
    let peak = 2.0 * 4096_f64.powi(3) / gemm_seconds();
    // Rows of the set or of queries and gallery, dimension, classes.
    let (rows, items, dim, classes): (usize, usize, usize, usize) = match shape {
        "cub" => (5_924, 0, 512, 100),
        "inshop" => (14_218, 12_612, 512, 3_985),
        "sop" => (60_502, 0, 512, 11_316),
        "large" => (500_000, 0, 128, 10_000),
        other => panic!("no shape is called {other}"),
    };
    // Noise that leaves recall@1 at 0.95 on the shape of SOP; the cost does not depend on it.
    let noise = if dim == 512 { 2.0 } else { 0.9 };
    let (set, labels) = clusters(rows, dim, classes, noise, 0);
    let (floats, found, seconds): (f64, Retrieval, Seconds) = if items == 0 {
        let start = Seconds::now();
        let found = self_retrieval(&set, &labels, &KS, SILENT).expect("sound input");
        ((rows * rows * dim) as f64, found, start.elapsed())
    } else {
        let (gallery, gallery_labels) = clusters(items, dim, classes, noise, 1);
        let start = Seconds::now();
        let found = query_gallery((&set, &labels), (&gallery, &gallery_labels), &KS, SILENT).expect("sound input");
        (2.0 * (rows * items * dim) as f64, found, start.elapsed())
    };
    println!(
        "{shape}: {rows} x {items} x {dim}, {classes} classes: {:.2} s, {:.2} CPU-s, peak {:.3} GB, {:.0} GFLOP/s of {:.0} ({:.0} %) per CPU-s",
        seconds.wall,
        seconds.cpu,
        peak_memory(),
        floats / seconds.cpu / 1e9,
        peak / 1e9,
        100.0 * floats / seconds.cpu / peak,
    );
    println!("  {}", serde_json::to_string(&found).expect("numbers can be written"));
}

fn measure_k_means() {
    let (set, labels) = clusters(60_502, 512, 11_316, 2.0, 0);
    let config = KMeans { restarts: 1, ..KMeans::default() };
    // Reported after the start, after every iteration, and at the end.
    let reports = AtomicUsize::new(0);
    let count = |_, _| {
        reports.fetch_add(1, Relaxed);
    };
    let start = Seconds::now();
    let found = k_means(&set, 11_316, &config, &count).expect("sound input");
    let seconds = start.elapsed();
    let score = agreement(&labels, &found.assignment).expect("one cluster for each label");
    println!(
        "k-means: 60502 x 512 into 11316, one start, {} iterations of at most {}: {:.1} s, {:.1} CPU-s, peak {:.3} GB, inertia {:.1}",
        reports.into_inner() - 2,
        config.iterations,
        seconds.wall,
        seconds.cpu,
        peak_memory(),
        found.inertia,
    );
    println!("  {}", serde_json::to_string(&score).expect("numbers can be written"));
}

/// Gaussian clusters; the same class has the same centre in every part.
fn clusters(rows: usize, dim: usize, classes: usize, noise: f32, part: usize) -> (Embeddings, Vec<usize>) {
    let labels: Vec<usize> = (0..rows).map(|row| row * 7919 % rows % classes).collect();
    let mut values = vec![0.0; rows * dim];
    values.par_chunks_exact_mut(dim).enumerate().for_each(|(row, values)| {
        let mut centre = generator(0, Purpose::Sample, 0, 0, labels[row]);
        let mut own = generator(0, Purpose::Sample, 1, part, row);
        for value in values {
            let (a, b): (f32, f32) = (StandardNormal.sample(&mut centre), StandardNormal.sample(&mut own));
            *value = a + noise * b;
        }
    });
    (Embeddings::new(values, rows, dim).expect("normal numbers are sound"), labels)
}

/// CPU-seconds of a square multiplication of 4,096 on one thread (the best of three).
fn gemm_seconds() -> f64 {
    const SIDE: usize = 4096;
    let (a, b, mut c) = (vec![0.5_f32; SIDE * SIDE], vec![0.25_f32; SIDE * SIDE], vec![0.0_f32; SIDE * SIDE]);
    let side = SIDE as isize;
    let run = |c: &mut Vec<f32>| {
        let start = Seconds::now();
        // SAFETY: three square matrices of this side, the result borrowed exclusively.
        unsafe {
            let serial = gemm::Parallelism::None;
            let (c, a, b) = (c.as_mut_ptr(), a.as_ptr(), b.as_ptr());
            gemm::gemm(SIDE, SIDE, SIDE, c, side, 1, false, a, side, 1, b, side, 1, 0.0_f32, 1.0_f32, false, false, false, serial);
        }
        start.elapsed().cpu
    };
    (0..3).map(|_| run(&mut c)).fold(f64::INFINITY, f64::min)
}

struct Seconds {
    wall: f64,
    cpu: f64,
}

struct Start {
    wall: Instant,
    cpu: f64,
}

impl Seconds {
    fn now() -> Start {
        Start { wall: Instant::now(), cpu: Cost::so_far().cpu_seconds }
    }
}

impl Start {
    fn elapsed(&self) -> Seconds {
        Seconds { wall: self.wall.elapsed().as_secs_f64(), cpu: Cost::so_far().cpu_seconds - self.cpu }
    }
}

fn peak_memory() -> f64 {
    Cost::so_far().peak_bytes / 1e9
}
