"""Times `dada embed` beside the same work in PyTorch, timm and PIL, in turns, with as many threads each.

    python benches/peers/embed.py MODEL PICTURES [--rounds 3] [--threads 2] [--dada target/release/dada]

MODEL is a directory that `dada` exported, with a tf_efficientnet_lite0 backbone, pooling "avg-max" and no layer norm. PyTorch's pictures are
decoded by as many worker processes as there are threads, while the network works. Starting either program counts.
"""
import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("pictures", type=pathlib.Path)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--dada", default="target/release/dada")
parser.add_argument("--peer", metavar="OUT.npy", help="be the PyTorch side, once")
arguments = parser.parse_args()


def timed(command, environment):
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare():
    import numpy

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = f"{folder}/ours.npy", f"{folder}/theirs.npy"
        words = [str(arguments.model), str(arguments.pictures)]
        for number in range(arguments.rounds):
            own = timed([arguments.dada, "embed", *words, "--out", ours], {"RAYON_NUM_THREADS": str(arguments.threads)})
            peer = timed([sys.executable, __file__, *words, "--threads", str(arguments.threads), "--peer", theirs], {})
            rows.append((peer[0] / own[0], peer[1] / own[1]))
            count = len(numpy.load(ours))
            print(
                f"round {number + 1}: {count} pictures; dada {own[0]:.1f} s, {own[1]:.1f} CPU-s, {count / own[0]:.0f} pictures/s; "
                f"PyTorch {peer[0]:.1f} s, {peer[1]:.1f} CPU-s, {count / peer[0]:.0f} pictures/s; speed x {rows[-1][0]:.2f}, per CPU-s x {rows[-1][1]:.2f}",
                flush=True,
            )
        cosines = (numpy.load(ours) * numpy.load(theirs)).sum(1)
    wall, cpu = (statistics.median(row[which] for row in rows) for which in (0, 1))
    print(f"median: {wall:.2f} times PyTorch's pictures per second, {cpu:.2f} times per CPU-second; least cosine of the two {cosines.min():.4f}")


if arguments.peer is None:
    compare()
    sys.exit()

import numpy
import safetensors.torch
import timm
import torch
from PIL import Image

torch.set_num_threads(arguments.threads)

view = json.loads((arguments.model / "preprocessor_config.json").read_text())
assert view["squash"], "only the squashed view is written here"
mean, std = torch.tensor(view["mean"])[:, None, None], torch.tensor(view["std"])[:, None, None]


class Pictures(torch.utils.data.Dataset):
    def __init__(self, files):
        self.files = files

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        picture = Image.open(self.files[index]).convert("RGB")
        if picture.size != (view["crop"], view["crop"]):
            picture = picture.resize((view["crop"], view["crop"]), Image.BILINEAR)
        return (torch.from_numpy(numpy.array(picture)).permute(2, 0, 1).float() / 255 - mean) / std


tensors = safetensors.torch.load_file(arguments.model / "model.safetensors")
weight, bias = tensors.pop("projection.weight"), tensors.pop("projection.bias")
backbone = timm.create_model("tf_efficientnet_lite0", num_classes=0, global_pool="")
backbone.load_state_dict(tensors, strict=False)
backbone.eval()
files = sorted(file for file in arguments.pictures.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
loader = torch.utils.data.DataLoader(Pictures(files), batch_size=64, num_workers=arguments.threads)
rows = []
with torch.inference_mode():
    for batch in loader:
        x = backbone(batch)
        x = torch.nn.functional.linear(x.mean((2, 3)) + x.amax((2, 3)), weight, bias)
        rows.append(torch.nn.functional.normalize(x))
numpy.save(arguments.peer, torch.cat(rows).numpy())
