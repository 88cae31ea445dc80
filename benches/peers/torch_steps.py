"""The PyTorch side of steps.py: the same workloads and the same questions and answers as benches/steps.rs.

    python benches/peers/torch_steps.py WORKLOAD [--threads 2] [--channels-last]

The DADA iteration is that of the method's authors, as `spec` describes it and as one would write it: the network runs once without gradient
for three discriminator steps and again for its own step; each domain goes through a discriminator by itself; nuclear norms come from full
singular value decompositions; the encoder's backward pass computes gradients for the discriminators too, which nobody uses.
"""
import argparse
import resource
import sys
import time

import timm
import torch
import torch.nn.functional as F
from torch import nn

CUB = {
    "r": 0.005, "w": 0.0075, "alpha": (40, 100), "beta": (3.0, 0.5), "domain": [512], "category": [512, 128],
    "category_norm": True, "decay": 1e-4, "discriminator_decay": 4e-4,
}  # fmt: skip
SOP = {
    "r": 0.05, "w": 0.03, "alpha": (100, 200), "beta": (2.0, 5.0), "domain": [128], "category": [1024, 8192],
    "category_norm": False, "decay": 5e-5, "discriminator_decay": 1e-4,
}  # fmt: skip
DIM = 512


class Encoder(nn.Module):
    """Backbone (or nothing, for features), avg + max pooling, linear, layer norm without scale and shift."""

    def __init__(self, backbone, frozen, features=None):
        super().__init__()
        self.backbone = timm.create_model(backbone, num_classes=0, global_pool="") if backbone else None
        self.head = nn.Linear(features or self.backbone.num_features, DIM)
        self.frozen = frozen

    def train(self, mode=True):
        super().train(mode)
        if self.frozen:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, x):
        if self.backbone is not None:
            x = self.backbone(x)
            x = x.mean((2, 3)) + x.amax((2, 3))
        return F.layer_norm(self.head(x), (DIM,))


def discriminator(widths, outputs, output_norm, dropout):
    layers, width = [], DIM
    for hidden in widths:
        layers += [nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU()] + ([nn.Dropout(dropout)] if dropout else [])
        width = hidden
    layers.append(nn.Linear(width, outputs))
    return nn.Sequential(*layers, *([nn.BatchNorm1d(outputs)] if output_norm else []))


def proxy_anchor(x, labels, proxies, alpha):
    cosine = F.normalize(x) @ F.normalize(proxies).T
    own = F.one_hot(labels, len(proxies)).bool()
    # log(1 + a sum of exponentials) as one over a row of zeros more: e to the power of 200 x 1.1 has no place in float32.
    least = cosine.new_zeros(1, len(proxies))
    positive = torch.where(own, -alpha[0] * (cosine - 0.1), -torch.inf)
    negative = torch.where(own, -torch.inf, alpha[1] * (cosine + 0.1))
    positive, negative = (torch.cat([least, part]).logsumexp(0) for part in (positive, negative))
    # Averaged over rows, as released.
    return positive[labels].mean() + negative.mean()


def class_mixup(x, labels):
    first = {}
    pairs = []
    for row, label in enumerate(labels.tolist()):
        if label in first and first[label] is not None:
            pairs.append((first[label], row))
            first[label] = None
        else:
            first.setdefault(label, row)
    a, b = torch.tensor(pairs).T
    m = torch.distributions.Beta(2.0, 2.0).sample()
    return torch.cat([x, m * x[a] + (1 - m) * x[b]]), torch.cat([labels, labels[a]])


class Dada:
    def __init__(self, settings, classes):
        self.settings = settings
        self.domain = discriminator(settings["domain"], 3, True, 0.0)
        self.category = discriminator(settings["category"], classes, settings["category_norm"], 0.5)
        parameters = [*self.domain.parameters(), *self.category.parameters()]
        self.adam = torch.optim.Adam(parameters, 5e-4, weight_decay=settings["discriminator_decay"])

    def terms(self, x, rows, labels):
        def mixed():
            m = torch.distributions.Beta(*self.settings["beta"]).sample()
            return F.normalize((1 - m) * x + m * rows)

        samples = F.normalize(x)
        domains = [samples, mixed(), F.normalize(rows)]
        size = len(labels)
        confusion = sum(F.cross_entropy(self.domain(domain), torch.full((size,), which)) for which, domain in enumerate(domains))
        logits, others = self.category(samples), self.category(mixed())
        risk = 2 * F.cross_entropy(logits, labels)
        nuclear = lambda z: torch.linalg.matrix_norm(z.softmax(1), "nuc")
        return confusion, risk, 0.5 * (nuclear(logits) - nuclear(others)) / size

    def learn(self, x, rows, labels):
        r = self.settings["r"]
        confusion, risk, discrepancy = self.terms(x, rows, labels)
        self.adam.zero_grad()
        ((1 - r) * confusion + r * (risk - discrepancy)).backward()
        self.adam.step()

    def judge(self, x, rows, labels):
        r = self.settings["r"]
        confusion, risk, discrepancy = self.terms(x, rows, labels)
        return r * (risk + discrepancy) - (1 - r) * confusion


def training(encoder, x, classes, settings, mixup, dada):
    encoder.train()
    proxies = nn.Parameter(torch.randn(classes, DIM) / 8)
    adam = torch.optim.Adam(encoder.parameters(), 1.2e-4, weight_decay=settings["decay"])
    proxies_adam = torch.optim.Adam([proxies], 0.04)
    dada = Dada(settings, classes) if dada else None
    taken = 0

    def step():
        nonlocal taken
        labels = torch.tensor([(row // 2 * 7919 + taken) % classes for row in range(len(x))])
        taken += 1
        if dada:
            with torch.no_grad():
                detached = encoder(x)
            for _ in range(3):
                rows, given = class_mixup(detached, labels) if mixup else (detached, labels)
                dada.learn(rows, proxies.detach()[given], given)
        embeddings, given = encoder(x), labels
        if mixup:
            embeddings, given = class_mixup(embeddings, labels)
        loss = settings["w"] * proxy_anchor(embeddings, given, proxies, settings["alpha"])
        if dada:
            loss = loss + dada.judge(embeddings, proxies[given], given)
        adam.zero_grad()
        proxies_adam.zero_grad()
        loss.backward()
        adam.step()
        proxies_adam.step()
        return loss.item()

    return step


def inference(encoder, x):
    encoder.eval()

    def step():
        with torch.inference_mode():
            return encoder(x)

    return step


def ready(name, channels_last):
    def images(rows, size):
        x = torch.randn(rows, 3, size, size)
        return x.to(memory_format=torch.channels_last) if channels_last else x

    def network(backbone, frozen):
        encoder = Encoder(backbone, frozen)
        return encoder.to(memory_format=torch.channels_last) if channels_last else encoder

    lite0 = "tf_efficientnet_lite0"
    match name:
        case "resnet18-train":
            return training(network("resnet18", False), images(32, 64), 100, CUB, False, False)
        case "resnet50-train":
            return training(network("resnet50", True), images(16, 128), 100, CUB, False, False)
        case "lite0-train":
            return training(network(lite0, False), images(32, 128), 100, CUB, False, False)
        case "lite0-frozen-train":
            return training(network(lite0, True), images(90, 128), 100, CUB, False, False)
        case "resnet50-inference":
            return inference(network("resnet50", True), images(8, 224))
        case "lite0-inference":
            return inference(network(lite0, True), images(32, 128))
        case "resnet50-dada":
            return training(network("resnet50", True), images(16, 128), 100, CUB, True, True)
        case "resnet50-without-dada":
            return training(network("resnet50", True), images(16, 128), 100, CUB, True, False)
        case "features-dada" | "features-reversal":
            return training(Encoder(None, False, 1280), torch.rand(90, 1280), 100, CUB, True, True)
        case "classes-dada":
            return training(Encoder(None, False, 1280), torch.rand(180, 1280), 11_318, SOP, True, True)
    sys.exit(f"no workload is called {name}")


parser = argparse.ArgumentParser()
parser.add_argument("workload")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--channels-last", action="store_true")
arguments = parser.parse_args()
torch.set_num_threads(arguments.threads)
torch.manual_seed(0)
step = ready(arguments.workload, arguments.channels_last)
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "peak":
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
        continue
    count = int(line)
    started, before = time.perf_counter(), time.process_time()
    for _ in range(count):
        step()
    print((time.perf_counter() - started) / count, (time.process_time() - before) / count, flush=True)
