"""ImageFolder trains 1.2 x as fast as torchvision's by hand in the first epoch, and 3 x later if all fits in memory.

Made-up photos, JPEGs of 500 x 375 pixels as most of ImageNet are, and of 1600 x 1200, go to a network of two hidden
values at 224 x 224 pixels, so that reading them is nearly all the work. By hand that is torchvision's ``ImageFolder``,
``v2`` transforms and a ``DataLoader`` with as many worker processes as we have threads, kept from epoch to epoch. Both
draw the same batches and have to come to the same loss. An epoch is all from its start to the start of the next.
"""

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, RandomSampler

from benchmarks import plain
from benchmarks.measure import Result, Target, check_same_loss, kindling, present, timed, workplace
from benchmarks.timestamps import EPOCH_STARTS

SIZE, WORKERS, BATCH = 224, 2, 32
SIZES = ((500, 375), (1600, 1200))


def measure(repeats: int = 3, images: int = 320, epochs: int = 4) -> list[Result]:
    """``images`` are for training, a quarter as many for validation."""
    results = []
    with workplace():
        for size in SIZES:
            root = Path(f"photos{size[0]}")
            make_photos(root, images, size)
            run = ["fit", "--model", "SimpleNN", "--loss", "CrossEntropyLoss", "--data", "ImageFolder"]
            run += ["--data.root", str(root), "--data.image_size", str(SIZE), "--data.num_workers", str(WORKERS)]
            run += ["--optimizer", "SGD", "--optimizer.lr", "1e-4", "--trainer.max_epochs", str(epochs)]
            run += ["--trainer.callbacks+=benchmarks.timestamps.TimesOfEpochStarts"]
            kindling(*run)  # imports
            ours: list[list[float]] = []
            hand: list[list[float]] = []
            for _ in range(repeats):
                EPOCH_STARTS.unlink()
                kindling(*run)
                ours.append([float(line) for line in EPOCH_STARTS.read_text(encoding="utf-8").splitlines()])
                _, (starts, loss) = timed(partial(by_hand, root, epochs))
                check_same_loss(loss, epochs, tolerance=0.05)  # the transforms crop and resize in another order
                hand.append(starts)
            claim = f"photos of {size[0]}x{size[1]}"
            first = [[images / (starts[1] - starts[0]) for starts in side] for side in (ours, hand)]
            later = [[images * (epochs - 2) / (starts[-1] - starts[1]) for starts in side] for side in (ours, hand)]
            for which, (us, them), target in (("first epoch", first, 1.2), ("later epochs", later, 3.0)):
                results.append(Result(f"{claim}, {which} / by hand", "images/s", us, them, Target(">=", target)))
    return results


def make_photos(root: Path, images: int, size: tuple[int, int]) -> None:
    """Two classes of smooth colours with some noise, which makes files as large as photos are."""
    dice = np.random.default_rng(0)
    for name, count in (("train", images), ("val", images // 4)):
        for number in range(count):
            folder = root / name / ("ants", "bees")[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            smooth = Image.fromarray(dice.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize(size)
            noisy = np.asarray(smooth) + dice.normal(0, 12, (size[1], size[0], 1))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:04}.jpg", quality=85)


def by_hand(root: Path, epochs: int) -> tuple[list[float], float]:
    """When each epoch started, and the mean training loss of the last."""
    train, val = plain.photos(root, SIZE)
    generator = torch.Generator()
    options: dict[str, Any] = {"num_workers": WORKERS, "persistent_workers": True}
    loader = DataLoader(train, BATCH, sampler=RandomSampler(train, generator=generator), **options)
    val_loader = DataLoader(val, 4 * BATCH, **options)
    torch.manual_seed(plain.SEED)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE**2, 2), nn.ReLU(), nn.Linear(2, 2)).to(plain.DEVICE)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4)
    starts, loss = [], 0.0
    for epoch in range(epochs):
        starts.append(time.time())
        generator.manual_seed(plain.SEED + epoch)
        loss = plain.train_epoch(network, optimizer, loader)
        plain.accuracy(network, val_loader)
    return starts, loss


if __name__ == "__main__":
    present(measure)
