"""Ranks the same embeddings with `dada` and with other libraries: the peers of `dada evaluate`.

    python benches/peers/retrieval.py [--dada target/release/dada] [--only faiss,pml,torch,oml,faiss-kmeans] [--rows 60502] [--threads 2]
        [--iterations 20]

Random clusters of Stanford Online Products' shape (60,502 x 512, 11,316 classes) are written to a temporary folder. Every contender
works in a process of its own. CPU-seconds are user and system time of the work alone, measured inside the process (for `dada`, of the
whole process, which also reads the file); the peak is that of the whole process. Needs numpy, torch, faiss-cpu,
pytorch-metric-learning 2.9.0, and open-metric-learning 4.0.0 with omegaconf, which it imports without requiring it; what is not
installed is said and left out.

The work of each:
    dada          recall@1/10/100/1000, map@r, r_precision, mrr: exact, every rank (`dada evaluate --k 1,10,100,1000`)
    faiss         the 13 nearest of every row by a flat index, without any metric
    pml           AccuracyCalculator: precision@1, r_precision, map@r, with k as large as the largest class
    torch         recall@1/10/100/1000 and map@r from blocks of `x @ x.T` and `topk(1000)`
    oml           functional batched_knn(top_n=1000), calc_retrieval_metrics: cmc@1/10/100/1000, precision@1, map@10
    faiss-kmeans  k-means with as many clusters as classes, all rows, one random start, at most --iterations and as many as it says;
                  beside it stands `cargo bench --bench retrieval -- kmeans` on data of the same make, whose start is k-means++
"""
import argparse
import importlib.util
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy

KS = [1, 10, 100, 1000]
NEEDS = {
    "faiss": ["faiss"],
    "pml": ["pytorch_metric_learning", "torch", "faiss"],
    "torch": ["torch"],
    "oml": ["oml", "omegaconf", "torch"],
    "faiss-kmeans": ["faiss"],
}


def write_clusters(folder, rows, dim, classes, noise=2.0):
    random = numpy.random.default_rng(0)
    labels = numpy.arange(rows) * 7919 % rows % classes
    values = random.standard_normal((classes, dim), dtype=numpy.float32)[labels]
    values += noise * random.standard_normal((rows, dim), dtype=numpy.float32)
    values /= numpy.linalg.norm(values, axis=1, keepdims=True)
    numpy.save(folder / "x.npy", values)
    numpy.save(folder / "x.labels.npy", labels.astype(numpy.int64))


def run_faiss(x, labels):
    import faiss

    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    return lambda: index.search(x, 13) and {}


def run_faiss_kmeans(x, labels, iterations):
    import faiss

    means = faiss.Kmeans(x.shape[1], int(labels.max()) + 1, niter=iterations, seed=0, max_points_per_centroid=10**9, min_points_per_centroid=1)

    def work():
        means.train(x)
        means.index.search(x, 1)
        return {"inertia": float(means.obj[-1]), "iterations": len(means.obj)}

    return work


def run_pml(x, labels):
    import torch
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    calculator = AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r"), k="max_bin_count", device=torch.device("cpu")
    )
    x, labels = torch.from_numpy(x), torch.from_numpy(labels)
    return lambda: calculator.get_accuracy(x, labels)


def run_torch(x, labels):
    import torch

    x, labels = torch.from_numpy(x), torch.from_numpy(labels)

    def work():
        sizes = torch.bincount(labels)[labels] - 1
        recall, average, scored = dict.fromkeys(KS, 0.0), 0.0, int((sizes > 0).sum())
        for start in range(0, len(x), 1024):
            similarity = x[start : start + 1024] @ x.T
            rows = torch.arange(len(similarity))
            similarity[rows, start + rows] = -2.0
            hits = labels[similarity.topk(min(1000, len(x) - 1), dim=1).indices] == labels[start : start + 1024, None]
            r = sizes[start : start + 1024]
            inside = torch.arange(hits.shape[1])[None] < r[:, None]
            precision = hits.cumsum(1) / torch.arange(1, hits.shape[1] + 1)
            average += float(((precision * (hits & inside)).sum(1) / r.clamp(min=1))[r > 0].sum())
            for k in KS:
                recall[k] += float(hits[:, :k].any(1)[r > 0].sum())
        return {f"recall@{k}": value / scored for k, value in recall.items()} | {"map@r": average / scored}

    return work


def run_oml(x, labels):
    import torch
    from oml.functional.knn import batched_knn
    from oml.functional.metrics import calc_retrieval_metrics

    x, labels, ids = torch.from_numpy(x), torch.from_numpy(labels), torch.arange(len(x))

    def work():
        _, found, wanted = batched_knn(x, ids_query=ids, ids_gallery=ids, labels_gt=labels, top_n=max(KS))
        metrics = calc_retrieval_metrics(found, wanted, cmc_top_k=tuple(KS), precision_top_k=(1,), map_top_k=(10,), verbose=False)
        return {f"{name}@{k}": float(value) for name, values in metrics.items() for k, value in values.items()}

    return work


def child(name, folder, threads, iterations):
    """Runs one contender and prints its figures and costs as JSON."""
    for module in NEEDS[name]:
        if module == "torch":
            __import__("torch").set_num_threads(threads)
        if module == "faiss":
            __import__("faiss").omp_set_num_threads(threads)
    x, labels = numpy.load(folder / "x.npy"), numpy.load(folder / "x.labels.npy")
    if name == "faiss-kmeans":
        work = run_faiss_kmeans(x, labels, iterations)
    else:
        work = {"faiss": run_faiss, "pml": run_pml, "torch": run_torch, "oml": run_oml}[name](x, labels)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.time()
    figures = work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"cpu": cpu, "wall": time.time() - started, "figures": figures}))


def measure(command, threads):
    """Output, user and system seconds, wall seconds and peak bytes of a process."""
    variables = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
    started = time.time()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | variables, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command[0]} failed with {process.returncode}")
    return output, usage.ru_utime + usage.ru_stime, time.time() - started, usage.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dada", default="target/release/dada")
    parser.add_argument("--only", default=",".join(NEEDS))
    parser.add_argument("--rows", type=int, default=60_502)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--classes", type=int, default=11_316)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=20, help="of k-means")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return child(arguments.child[0], pathlib.Path(arguments.child[1]), arguments.threads, arguments.iterations)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_clusters(folder, arguments.rows, arguments.dim, arguments.classes)
        command = [arguments.dada, "evaluate", "--embeddings", str(folder / "x.npy"), "--k", ",".join(map(str, KS)), "--json"]
        output, own_cpu, wall, peak = measure(command, arguments.threads)
        figures = json.loads(output)
        shape = f"{arguments.rows} x {arguments.dim}, {arguments.classes} classes, {arguments.threads} threads"
        print(f"{shape}\n{'':13}{'CPU-s':>9}{'wall s':>9}{'peak GB':>9}{'CPU ratio':>11}")
        show = lambda name, cpu, wall, peak: print(f"{name:13}{cpu:9.1f}{wall:9.1f}{peak / 1e9:9.2f}{cpu / own_cpu:11.2f}", flush=True)
        show("dada", own_cpu, wall, peak)
        print("  ", {name: round(figures[name], 6) for name in (*(f"recall@{k}" for k in KS), "map@r", "r_precision", "mrr")})
        for name in arguments.only.split(","):
            missing = [module for module in NEEDS[name] if importlib.util.find_spec(module) is None]
            if missing:
                print(f"{name:13} left out: {', '.join(missing)} not installed")
                continue
            words = [sys.executable, __file__, "--threads", str(arguments.threads), "--iterations", str(arguments.iterations)]
            words += ["--child", name, str(folder)]
            output, _, _, peak = measure(words, arguments.threads)
            found = json.loads(output.strip().splitlines()[-1])
            show(name, found["cpu"], found["wall"], peak)
            if found["figures"]:
                print("  ", {metric: round(value, 6) for metric, value in found["figures"].items()})


if __name__ == "__main__":
    main()
