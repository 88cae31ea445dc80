"""Times our training and inference steps in turns with PyTorch's on the same work, with as many threads each, in one run.

    python benches/peers/steps.py [WORKLOAD …] [--rounds 7] [--seconds 2] [--threads 2] [--peers default tuned channels-last]

Each side is a process of its own that waits while the other works. A round gives each side at least --seconds; its ratio is our time over
theirs, so that whatever else the machine does meets both. Printed are the median of the ratios and their range, of wall and of processor
time, and the peaks of memory. Peers: `default`, PyTorch as it comes; `tuned`, its allocator keeping memory as ours does; `channels-last`,
the other layout, allocator tuned. `resnet50-without-dada` as a peer of `resnet50-dada` is our own step.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
WORKLOADS = {
    "resnet18-train": "ResNet-18 training step, batch 32, 64 x 64",
    "resnet50-train": "ResNet-50 training step, batch 16, 128 x 128, frozen batch norm",
    "lite0-train": "EfficientNet-lite0 training step, batch 32, 128 x 128",
    "lite0-frozen-train": "EfficientNet-lite0 training step, batch 90, 128 x 128, frozen batch norm: the step of cub-boxes-full without DADA",
    "resnet50-inference": "ResNet-50 inference, batch 8, 224 x 224",
    "lite0-inference": "EfficientNet-lite0 inference, batch 32, 128 x 128",
    "resnet50-dada": "DADA iteration, ResNet-50, batch 16 at 128, against the authors' iteration",
    "features-dada": "DADA iteration on cached 1280-d features, batch 90, 100 classes",
    "features-reversal": "the same with gradients reversed, against the authors' alternation",
    "classes-dada": "DADA iteration, 11,318 classes, batch 180, released widths, on features",
    "dada-cost": "ResNet-50, batch 16 at 128: our step with DADA against ours without",
}
TUNED = {"MALLOC_TRIM_THRESHOLD_": "2147483647", "MALLOC_MMAP_THRESHOLD_": "1073741824"}

parser = argparse.ArgumentParser()
parser.add_argument("workloads", nargs="*", default=list(WORKLOADS), metavar="WORKLOAD", help=", ".join(WORKLOADS))
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--seconds", type=float, default=2.0)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--peers", nargs="+", default=["default", "tuned"], choices=["default", "tuned", "channels-last"])
parser.add_argument("--ours", help="the program benches/steps.rs [default: what cargo builds]")
parser.add_argument("--json", help="also write everything measured to this file")
arguments = parser.parse_args()


class Side:
    """A process that takes steps when it is told to."""

    def __init__(self, name, command, environment):
        self.name, self.rounds = name, []
        environment = {**os.environ, "RAYON_NUM_THREADS": str(arguments.threads), **environment}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        if self.process.stdout.readline().strip() != "ready":
            sys.exit(f"{name} did not get ready")
        self.ask(1)  # the first step makes what is kept
        self.count = max(1, round(arguments.seconds / self.ask(1)[0]))

    def ask(self, what):
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer:
            sys.exit(f"{self.name} ended early")
        return [float(value) for value in answer]

    def measure(self):
        self.rounds.append(self.ask(self.count))

    def finish(self):
        self.peak = self.ask("peak")[0] / 1024
        self.process.stdin.close()
        self.process.wait()


def our_program():
    command = ["cargo", "bench", "--bench", "steps", "--no-run", "--message-format=json"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=HERE.parents[1]).stdout
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return next(message["executable"] for message in found if message.get("executable") and message["target"]["name"] == "steps")


def sides_of(workload):
    if workload == "dada-cost":
        return [Side("with", [ours, "resnet50-dada"], {}), Side("without", [ours, "resnet50-without-dada"], {})]
    peer = [sys.executable, str(HERE / "torch_steps.py"), workload, "--threads", str(arguments.threads)]
    of = {"default": ([], {}), "tuned": ([], TUNED), "channels-last": (["--channels-last"], TUNED)}
    sides = [Side("ours", [ours, workload], {})]
    return sides + [Side(name, peer + of[name][0], of[name][1]) for name in arguments.peers]


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


ours = arguments.ours or our_program()
measured = {}
for workload in arguments.workloads:
    if workload not in WORKLOADS:
        sys.exit(f"found {workload!r}, expected one of {', '.join(WORKLOADS)}")
    print(f"{WORKLOADS[workload]}", flush=True)
    sides = sides_of(workload)
    for _ in range(arguments.rounds):
        for side in sides:
            side.measure()
    for side in sides:
        side.finish()
    own = sides[0]
    milliseconds = lambda side, which: 1e3 * statistics.median(round[which] for round in side.rounds)
    print(f"  {own.name}: {milliseconds(own, 0):.1f} ms, {milliseconds(own, 1):.1f} CPU-ms a step, peak {own.peak:.0f} MiB")
    for side in sides[1:]:
        ratios = [[a[which] / b[which] for a, b in zip(own.rounds, side.rounds)] for which in (0, 1)]
        print(
            f"  {side.name}: {milliseconds(side, 0):.1f} ms, {milliseconds(side, 1):.1f} CPU-ms, peak {side.peak:.0f} MiB; "
            f"{own.name} / {side.name}: time {spread(ratios[0])}, CPU time {spread(ratios[1])}, memory {own.peak / side.peak:.2f}",
            flush=True,
        )
    measured[workload] = {side.name: {"rounds": side.rounds, "peak_mib": side.peak} for side in sides}
if arguments.json:
    pathlib.Path(arguments.json).write_text(json.dumps(measured, indent=1))
