"""Embeds pictures with an exported model in timm:  python load_in_timm.py MODEL_DIRECTORY PICTURE…  (pip install timm safetensors)"""
import json, pathlib, sys
import numpy as np, timm, torch
from PIL import Image
from safetensors.torch import load_file

folder = pathlib.Path(sys.argv[1])
config = json.loads((folder / "config.json").read_text())["encoder"]
preprocess = json.loads((folder / "preprocessor_config.json").read_text())
weights = load_file(folder / "model.safetensors")
head = {key: weights.pop(key) for key in list(weights) if key.startswith(("projection.", "pooling."))}
backbone = timm.create_model(config["backbone"]["name"], num_classes=0).eval()
counters = {key for key in backbone.state_dict() if key.endswith("num_batches_tracked")}
assert set(backbone.load_state_dict(weights, strict=False).missing_keys) <= counters, "keys are missing"

def pool(x):  # [batch, channels, height, width], or [batch, 1 + patches, width] with the class token first
    if config["pooling"] == "cls":
        return x[:, 0]
    x = x.flatten(2) if x.dim() == 4 else x[:, 1:].transpose(1, 2)
    p = head.get("pooling.p", torch.tensor(3.0))
    gem = lambda x: x.clamp(min=1e-6).pow(p).mean(2).pow(1 / p)
    avg, top = x.mean(2), x.amax(2)
    return {"avg": avg, "max": top, "avg-max": avg + top, "gem": gem(x) if config["pooling"] == "gem" else None}[config["pooling"]]

def pixels(path):
    picture, side = Image.open(path).convert("RGB"), preprocess["crop"]
    if preprocess["squash"]:
        picture = picture.resize((side, side), Image.Resampling.BILINEAR)
    else:
        scale = preprocess["resize"] / min(picture.size)
        picture = picture.resize([round(length * scale) for length in picture.size], Image.Resampling.BILINEAR)
        left, top = [round((length - side) / 2) for length in picture.size]
        picture = picture.crop((left, top, left + side, top + side))
    x = (np.asarray(picture, np.float32) / 255 - preprocess["mean"]) / preprocess["std"]
    return torch.from_numpy(x.astype(np.float32)).permute(2, 0, 1)

with torch.no_grad():
    x = pool(backbone.forward_features(torch.stack([pixels(path) for path in sys.argv[2:]])))
    if "projection.weight" in head:
        x = torch.nn.functional.linear(x, head["projection.weight"], head["projection.bias"])
    if config.get("layer_norm"):
        x = torch.nn.functional.layer_norm(x, x.shape[1:])
for path, row in zip(sys.argv[2:], x.tolist()):
    print(json.dumps({"path": path, "embedding": row}))
