"""100,000 images take at most 100 MB more memory than 1,000 do, where they are read anew in each epoch.

The peak of resident memory (Linux's VmHWM) of a process that trains on tiny made-up images, given to the network at
64 x 64 pixels, less that of one that does the same with a hundredth of them. Kept in memory they would take 1.2 GB;
what is left are their names. torchvision's ``ImageFolder`` and a ``DataLoader`` in one process stand beside it.
"""

import io
import sys
from pathlib import Path

from PIL import Image

from benchmarks.measure import Result, Target, present, process, workplace
from benchmarks.memory import own_peak

FEW, MANY, SIZE, BATCHES = 1000, 100_000, 64, 50
PEAK = Path("peak")


def measure(repeats: int = 2) -> list[Result]:
    with workplace():
        make_images()
        ours, loop = ([growth(work) for _ in range(repeats)] for work in ("ours", "loop"))
    claim = f"memory that {MANY:,} images take more than {FEW:,} / by hand"
    return [Result(claim, "MB", ours, loop, Target("<=", 100, of="ours"))]


def growth(work: str) -> float:
    """Megabytes that the many images take more than the few."""
    peaks = []
    for size in (FEW, MANY):
        process(sys.executable, "-c", f"from benchmarks import image_memory; image_memory.child({work!r}, {size})")
        peaks.append(int(PEAK.read_text(encoding="utf-8")) / 1e6)
    return peaks[1] - peaks[0]


def make_images() -> None:
    """In the folders 1000 and 100000."""
    Image.new("RGB", (8, 8)).save(content := io.BytesIO(), "PNG")
    for count in (FEW, MANY):
        for number in range(count):
            folder = Path(str(count), "train" if number % 10 else "val", f"class {number // 10 % 10}")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"a photo of the class, number {number:06}.png").write_bytes(content.getvalue())


def child(work: str, size: int) -> None:
    {"ours": train_ours, "loop": train_loop}[work](str(size))
    PEAK.write_text(str(own_peak()), encoding="utf-8")


def train_ours(root: str) -> None:
    from kindling.cli import main

    options = (
        "--data.root",
        root,
        "--data.image_size",
        str(SIZE),
        "--data.cache",
        "false",
        "--trainer.max_epochs",
        "1",
    )
    limits = ("--trainer.limit_train_batches", str(BATCHES), "--trainer.limit_val_batches", "2")
    loss = ("--loss", "CrossEntropyLoss")
    if code := main(["fit", "--model", "SimpleNN", *loss, "--data", "ImageFolder", *options, *limits]):
        sys.exit(code)


def train_loop(root: str) -> None:
    from itertools import islice

    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    to_input = v2.Compose([v2.Resize((SIZE, SIZE)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE**2, 2), nn.ReLU(), nn.Linear(2, 10))
    optimizer = torch.optim.Adam(network.parameters())
    train, val = (DataLoader(ImageFolder(f"{root}/{name}", to_input), 32, shuffle=True) for name in ("train", "val"))
    for x, y in islice(train, BATCHES):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    for x, _ in islice(val, 8):
        network(x)


if __name__ == "__main__":
    present(measure)
