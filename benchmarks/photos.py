"""On 244 photos, Backbone is about as good as the same training by hand, in about its time.

Seeds 0 to 2, two cores of an AMD EPYC, 2026-11-22, at 32 x 32 pixels, 8 epochs: fine-tuned 65.4, 65.4 and 68.0 % of the
validation photos (by hand 64.7, 62.1 and 67.3 %), from scratch 66.7, 69.3 and 68.0 % (by hand 69.9 % each); 41 to 54 s
a training (by hand 48 to 53 s). One photo is 0.65 %. The tutorial reports 94 to 96 % with ImageNet's weights.

The photos are the ants and bees of PyTorch's tutorial on transfer learning, in the folder that ``HYMENOPTERA_ROOT``
names; without it nothing is measured. A ResNet-18 learns them at few pixels with random flips, from scratch, and
fine-tuned from weights that Kindling has trained on 32,000 images of FashionMNIST. By hand that is torchvision's
``ImageFolder``, network and ``v2`` transforms, a ``DataLoader`` with one worker process, and Adam with the same rates.
Both are processes of their own, from start to end, in turn, for each seed. What counts is the best validation accuracy,
as in that tutorial, and the seconds.
"""

import csv
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from torchvision.models import resnet18

from benchmarks import plain
from benchmarks.measure import Result, Target, newest_run, present, process, script, workplace

REPORT = Path("report.json")
BATCH, LR, BODY_LR, FLIP = 32, 1e-3, 0.1, 0.5
BACKBONE = ("--model", "Backbone", "--model.name", "resnet18")


def measure(seeds: Sequence[int] = (0, 1, 2), epochs: int = 8, size: int = 32, batches: int = 500) -> list[Result]:
    """``batches`` of FashionMNIST, of 64 images, train the weights to fine-tune from."""
    photos = os.environ.get("HYMENOPTERA_ROOT")
    if not photos:
        print("HYMENOPTERA_ROOT names no folder of photos: nothing is measured")
        return []
    photos = str(Path(photos).resolve())
    results = []
    with workplace() as root:
        limits = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", str(batches))
        script("fit", *BACKBONE, "--data", "FashionMNIST", "--data.root", root, *limits)
        weights = str((newest_run() / "checkpoints/best.ckpt").resolve())
        for name, start in (("from scratch", None), ("fine-tuned", weights)):
            figures: dict[str, list[float]] = {"accuracy": [], "seconds": []}
            theirs: dict[str, list[float]] = {"accuracy": [], "seconds": []}
            for seed in seeds:
                figures["seconds"].append(ours(photos, seed, epochs, size, start))
                figures["accuracy"].append(best_of_run())
                call = f"from benchmarks import photos; photos.by_hand({photos!r}, {seed}, {epochs}, {size}, {start!r})"
                theirs["seconds"].append(process(sys.executable, "-c", call))
                theirs["accuracy"].append(json.loads(REPORT.read_text(encoding="utf-8")))
                print(f"{name}, seed {seed}: ours {figures}, by hand {theirs}", flush=True)
            claim = f"ResNet-18 on {size}x{size} photos, {name}"
            better, faster = Target(">=", 1), Target("<=", 1)
            results += [
                Result(f"{claim}, validation accuracy / by hand", "", figures["accuracy"], theirs["accuracy"], better),
                Result(f"{claim}, whole / by hand", "s", figures["seconds"], theirs["seconds"], faster),
            ]
    return results


def ours(photos: str, seed: int, epochs: int, size: int, weights: str | None) -> float:
    """Seconds of the whole command."""
    start = ("--model.weights", weights) if weights else ()
    data = ("--data", "ImageFolder", "--data.root", photos, "--data.image_size", str(size), "--data.augment", "flip")
    run = ("--data.batch_size", str(BATCH), "--trainer.max_epochs", str(epochs), "--seed_everything", str(seed))
    return script("fit", *BACKBONE, *start, *data, *run, "--monitor", "val/acc")


def best_of_run() -> float:
    with (newest_run() / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return max(float(row["val/acc"]) for row in csv.DictReader(file))


def by_hand(photos: str, seed: int, epochs: int, size: int, weights: str | None) -> None:
    """Train as a script does, and write the best validation accuracy."""
    torch.manual_seed(seed)
    train, val = plain.photos(photos, size, FLIP)
    options: dict[str, Any] = {"num_workers": 1, "persistent_workers": True}
    loader = DataLoader(train, BATCH, shuffle=True, **options)
    val_loader = DataLoader(val, 4 * BATCH, **options)
    network = resnet18(num_classes=2).to(plain.DEVICE)
    rate = LR
    if weights:
        state = torch.load(weights, weights_only=True, map_location=plain.DEVICE)["state_dict"]
        body = {k.removeprefix("net."): v for k, v in state.items() if k.startswith("net.") and ".fc." not in k}
        network.load_state_dict(body, strict=False)
        rate = BODY_LR * LR
    others = [parameter for name, parameter in network.named_parameters() if not name.startswith("fc.")]
    optimizer = torch.optim.Adam([{"params": network.fc.parameters(), "lr": LR}, {"params": others, "lr": rate}])
    best = 0.0
    for _ in range(epochs):
        plain.train_epoch(network, optimizer, loader)
        best = max(best, plain.accuracy(network, val_loader))
    REPORT.write_text(json.dumps(best), encoding="utf-8")


if __name__ == "__main__":
    present(measure)
