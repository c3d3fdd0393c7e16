"""Training reaches 1.7 times the images/s of the tutorial's torchvision loop, and 0.95 times those of a loop by hand.

Both targets are for Net on a CPU; on a GPU, in batches of 512, it is 10 times the tutorial's loop. Beside it stands
NeuralNetwork. The tutorial's loop takes torchvision's FashionMNIST, whose transform turns one image after the other
into a tensor; the loop by hand indexes uint8 tensors and normalises the batch. All train on 55,000 images with Adam,
and cut an epoch and its validation short after the same batches.
"""

from collections.abc import Callable

import torch
from torch import nn

from benchmarks import plain
from benchmarks.measure import Result, Target, check_same_loss, kindling, present, seconds_of_epochs, timed, workplace
from kindling import data as datasets

NETWORKS: dict[str, Callable[[], nn.Module]] = {"Net": plain.net, "NeuralNetwork": plain.neural_network}
CONVOLVED = 1e-2  # ours adds up in another order, channels last, and 300 steps of Adam make more of it
GPU = torch.cuda.is_available()
TARGETS: dict[str, tuple[Target | None, Target | None]] = {
    "Net": (Target(">=", 10), None) if GPU else (Target(">=", 1.7), Target(">=", 0.95)),
    "NeuralNetwork": (None, None),
}


def measure(
    repeats: int = 3,
    epochs: int = 4 if GPU else 1,
    batches: int = 300,
    val_batches: int = 6,
    val_size: int = 5000,
    batch_size: int = 512 if GPU else 64,
) -> list[Result]:
    results = []
    with workplace() as root:
        data = datasets.FashionMNIST(root, batch_size, val_size)
        data.prepare_data()
        data.setup("fit")
        val_images = min(val_batches * data.val_dataloader().batch_sampler.batch_size, val_size)
        x, y = data.train_set.tensors
        val_x, val_y = (t[:val_images] for t in data.val_set.tensors)
        train, val = plain.split(plain.fashion_mnist(root, train=True), val_size)
        val = torch.utils.data.Subset(val, range(val_images))
        images = epochs * min(batches * batch_size, len(y))
        options = [
            *("--data.root", root, "--data.val_size", str(val_size), "--data.batch_size", str(batch_size)),
            *("--optimizer", "Adam", "--optimizer.lr", "2e-3"),  # the usual, without a scheduler
            *("--trainer.limit_train_batches", str(batches), "--trainer.limit_val_batches", str(val_batches)),
        ]
        kindling("fit", "--model", "Net", *options, "--trainer.max_epochs", "1")  # imports
        for name, network in NETWORKS.items():

            def tutorial(network: Callable[[], nn.Module] = network) -> float:
                model = network()
                optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
                return plain.train_with_loader(model, optimizer, train, val, epochs, batch_size, batches)

            def by_hand(network: Callable[[], nn.Module] = network) -> float:
                model = network()
                optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
                return plain.train_in_memory(model, optimizer, (x, y), (val_x, val_y), epochs, batch_size, batches)

            ours: list[float] = []
            loops: tuple[list[float], list[float]] = ([], [])
            for _ in range(repeats):
                ours.append(images / seconds_of_epochs(1, 1 + epochs, "--model", name, *options))
                for figures, loop in zip(loops, (tutorial, by_hand), strict=True):
                    seconds, loss = timed(loop)
                    check_same_loss(loss, epochs, CONVOLVED if name == "Net" else 1e-3)
                    figures.append(images / seconds)
            for figures, title, target in zip(loops, ("the tutorial's loop", "by hand"), TARGETS[name], strict=True):
                results.append(Result(f"{name}, training / {title}", "images/s", ours, figures, target))
    return results


if __name__ == "__main__":
    present(measure)
