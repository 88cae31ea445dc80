"""Checks that exported models are the same network in timm: trains a step of each, embeds pictures with `dada` and with docs/load_in_timm.py, compares.

    python tests/timm.py [--dada target/release/dada] [--weights tf_efficientnet_lite0=FILE] …     (pip install timm safetensors pillow)

Pictures have the size that the networks see, so that nothing is resampled and only the networks are compared. Ends with an error when an
embedding, normalised, differs by more than 1e-4.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

SIDE = 96
MODELS = [
    # Backbone, batch norm's statistics, pooling, layer norm.
    ("tf_efficientnet_lite0", "frozen", "avg-max", "false"),
    ("tf_efficientnet_lite0", "free", "avg", "true"),
    ("resnet18", "frozen", "gem", "false"),
    ("resnet18", "free", "avg-max", "true"),
]

parser = argparse.ArgumentParser()
parser.add_argument("--dada", default="target/release/dada")
parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE")
arguments = parser.parse_args()
weights = dict(given.split("=", 1) for given in arguments.weights)
snippet = pathlib.Path(__file__).parents[1] / "docs/load_in_timm.py"


def run(*words):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout


def make_pictures(root):
    random, paths = np.random.default_rng(0), []
    for number in range(24):
        smooth = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        paths.append(root / f"{number // 4}" / f"{number}.png")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        smooth.save(paths[-1])
    return paths


worst = 0.0
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    pictures = make_pictures(folder / "pictures")
    for index, (name, statistics, pooling, layer_norm) in enumerate(MODELS):
        out = folder / str(index)
        given = weights.get(name)
        lite = name.startswith("tf_") and given
        statistics_of_weights = ["preprocess.mean=[0.5,0.5,0.5]", "preprocess.std=[0.5,0.5,0.5]"] if lite else []
        settings = [
            "data.source=folder", f"data.path={folder / 'pictures'}", "data.test_share=0.0", "train.epochs=1",
            f"preprocess.crop={SIDE}", f"preprocess.resize={SIDE}", *statistics_of_weights, "sampler.batch_size=8", "encoder.dim=32",
            f"encoder.backbone={{name='{name}',statistics='{statistics}'}}", f"encoder.pooling={pooling}",
            f"encoder.layer_norm={layer_norm}", f"encoder.weights={given or ''}", "encoder.head_init=random",
        ]  # fmt: skip
        run(arguments.dada, "train", "--out", out, *[word for setting in settings for word in ("--set", setting)])
        run(arguments.dada, "embed", out, *pictures, "--out", folder / "x.npy")
        ours = np.load(folder / "x.npy")
        lines = run(sys.executable, snippet, out / "model", *pictures).splitlines()
        theirs = np.array([json.loads(line)["embedding"] for line in lines])
        theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
        difference = np.abs(ours - theirs).max()
        worst = max(worst, difference)
        about = f"{name}, {statistics} statistics, {pooling}, layer norm {layer_norm}, {'given' if given else 'random'} weights"
        print(f"{about}: {len(ours)} embeddings of {ours.shape[1]} values differ by at most {difference:.1e}")
sys.exit(int(worst > 1e-4))
