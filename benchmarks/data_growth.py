"""A sample costs the same however many there are: 10^3 to 10^7 products, 10^3 to 59,000 images.

Seconds of an epoch divided by its samples, beside the plain loop over tensors in memory. Net's batch is 64; SimpleNet's
is 32, and grows from 10^5 products on so that an epoch keeps to 1,000 steps. Where the batch is the same the figures
should stay level, and everywhere the ratio should not grow. Both train with SGD.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmarks import plain
from benchmarks.measure import Result, check_same_loss, kindling, present, seconds_of_epochs, timed, workplace
from benchmarks.training_speed import CONVOLVED
from kindling import data as datasets
from kindling.data.base import DataModule

ROWS = (10**3, 10**5, 10**7)
IMAGES = (10**3, 59_000)


def measure(
    repeats: int = 2,
    rows: Sequence[int] = ROWS,
    images: Sequence[int] = IMAGES,
    all_images: int = 60_000,
    rows_steps: int = 1000,
    images_steps: int = 200,
) -> list[Result]:
    results = []
    with workplace() as root:
        kindling("fit", "--model", "SimpleNet", "--trainer.max_epochs", "1")  # imports
        for size in rows:
            batch = max(32, size // 1000)
            data: DataModule = datasets.SyntheticTabular(train_size=size, batch_size=batch)
            options = ["--model", "SimpleNet", "--data.train_size", str(size), "--data.batch_size", str(batch)]
            options += ["--data.standardize", "false"]
            results.append(compare(plain.simple_net, data, lambda x: x, options, rows_steps, repeats))
        for size in images:
            val_size = all_images - size
            data = datasets.FashionMNIST(root, val_size=val_size)
            options = ["--model", "Net", "--data.root", root, "--data.val_size", str(val_size)]
            results.append(compare(plain.net, data, plain.as_input, options, images_steps, repeats))
    return results


def compare(
    network: Callable[[], nn.Module],
    data: DataModule,
    prepare: Callable[[Tensor], Tensor],
    options: list[str],
    steps: int,
    repeats: int,
) -> Result:
    """Train for about ``steps`` steps, and for at least one epoch, validating two batches after each."""
    data.prepare_data()
    data.setup("fit")
    x, y = data.train_set.tensors
    val_x, val_y = (t[: 2 * data.val_dataloader().batch_sampler.batch_size] for t in data.val_set.tensors)
    epochs = max(1, steps * data.batch_size // len(y))
    options += ["--optimizer", "SGD", "--optimizer.lr", "0.01"]
    options += ["--trainer.limit_val_batches", "2"]  # 1 would be read as 1.0, which is all

    def by_hand() -> float:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        return plain.train_in_memory(model, optimizer, (x, y), (val_x, val_y), epochs, data.batch_size, prepare=prepare)

    ours, loop = [], []
    for _ in range(repeats):
        ours.append(seconds_of_epochs(1, 1 + epochs, *options) / epochs / len(y) * 1e6)
        seconds, loss = timed(by_hand)
        check_same_loss(loss, epochs, CONVOLVED if data.facts.in_channels else 1e-3)
        loop.append(seconds / epochs / len(y) * 1e6)
    claim = f"{options[1]}, an epoch of {len(y):,} samples, batch {data.batch_size} / by hand"
    return Result(claim, "us a sample", ours, loop)


if __name__ == "__main__":
    present(measure)
