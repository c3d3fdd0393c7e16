"""A step of SimpleNet with every feature on takes at most 1.4 times that of the tutorial's plain loop.

The first tutorial's run: 25 steps an epoch, batch 32, SGD. Ours logs, writes TensorBoard, draws the bar, validates and
keeps checkpoints. The tutorial's loop has a DataLoader, writes the loss to TensorBoard each step and validates. The
second comparison is with a loop over tensors in memory that writes nothing.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset
from torch.utils.tensorboard import SummaryWriter

from benchmarks import plain
from benchmarks.measure import (
    PROJECT,
    Result,
    Target,
    check_same_loss,
    kindling,
    present,
    seconds_of_epochs,
    timed,
    workplace,
)
from kindling import data as datasets

CONFIG = str(PROJECT / "configs" / "tutorial_products.yaml")


def measure(repeats: int = 3, few: int = 5, many: int = 205) -> list[Result]:
    epochs = many - few
    data = datasets.SyntheticTabular(standardize=False)
    data.setup("fit")
    (x, y), (val_x, val_y) = data.train_set.tensors, data.val_set.tensors
    steps = epochs * len(y.split(32))
    ours, tutorials, in_memory = [], [], []
    with workplace():
        kindling("fit", "-c", CONFIG, "--trainer.max_epochs", "1")  # imports
        tutorial(TensorDataset(x, y), TensorDataset(val_x, val_y), epochs=1)
        for _ in range(repeats):
            ours.append(seconds_of_epochs(few, many, "-c", CONFIG) / steps * 1e6)
            seconds, loss = timed(lambda: tutorial(TensorDataset(x, y), TensorDataset(val_x, val_y), epochs))
            check_same_loss(loss, epochs)
            tutorials.append(seconds / steps * 1e6)
            seconds, loss = timed(lambda: by_hand((x, y), (val_x, val_y), epochs))
            check_same_loss(loss, epochs)
            in_memory.append(seconds / steps * 1e6)
    return [
        Result("SimpleNet, a step, everything on / the tutorial's loop", "us", ours, tutorials, Target("<=", 1.4)),
        Result("SimpleNet, a step, everything on / by hand, nothing logged", "us", ours, in_memory),
    ]


def tutorial(train: TensorDataset, val: TensorDataset, epochs: int) -> float:
    """The mean training loss of the last epoch."""
    network = plain.simple_net()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    loss_of = nn.CrossEntropyLoss()
    generator = torch.Generator()
    loader = DataLoader(train, batch_size=32, sampler=RandomSampler(train, generator=generator))
    val_loader = DataLoader(val, batch_size=32)
    writer = SummaryWriter("plain_logs")
    step = 0
    for epoch in range(epochs):
        generator.manual_seed(plain.SEED + epoch)
        network.train()
        total = 0.0
        for x, y in loader:
            x, y = x.to(plain.DEVICE), y.to(plain.DEVICE)
            optimizer.zero_grad()
            loss = loss_of(network(x), y)
            loss.backward()
            optimizer.step()
            step += 1
            writer.add_scalar("train/loss", loss.item(), step)
            total += loss.item() * len(y)
        writer.add_scalar("val/acc", plain.accuracy(network, val_loader), step)
    writer.close()
    return total / len(train)


def by_hand(train: tuple[torch.Tensor, ...], val: tuple[torch.Tensor, ...], epochs: int) -> float:
    network = plain.simple_net()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    return plain.train_in_memory(network, optimizer, train, val, epochs, batch_size=32, prepare=lambda x: x)


if __name__ == "__main__":
    present(measure)
