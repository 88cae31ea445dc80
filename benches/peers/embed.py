"""Embeds every picture below a folder with PyTorch, timm and PIL: the peer of `dada embed`.

    python benches/peers/embed.py MODEL PICTURES OUT.npy [--threads 2]

MODEL is a directory that `dada` exported, with a tf_efficientnet_lite0 backbone, pooling "avg-max" and no layer norm. PICTURES are decoded
by as many worker processes as there are threads (--workers), while the network works.
"""
import argparse
import json
import pathlib
import time

import numpy
import safetensors.torch
import timm
import torch
from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("pictures", type=pathlib.Path)
parser.add_argument("out")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--workers", type=int, default=2)
arguments = parser.parse_args()
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


started = time.time()
tensors = safetensors.torch.load_file(arguments.model / "model.safetensors")
weight, bias = tensors.pop("projection.weight"), tensors.pop("projection.bias")
backbone = timm.create_model("tf_efficientnet_lite0", num_classes=0, global_pool="")
backbone.load_state_dict(tensors, strict=False)
backbone.eval()
files = sorted(file for file in arguments.pictures.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
loader = torch.utils.data.DataLoader(Pictures(files), batch_size=64, num_workers=arguments.workers)
rows = []
with torch.inference_mode():
    for batch in loader:
        x = backbone(batch)
        x = torch.nn.functional.linear(x.mean((2, 3)) + x.amax((2, 3)), weight, bias)
        rows.append(torch.nn.functional.normalize(x))
embeddings = torch.cat(rows).numpy()
numpy.save(arguments.out, embeddings)
seconds = time.time() - started
print(f"{len(files)} pictures in {seconds:.1f} s: {len(files) / seconds:.0f} pictures/s")
