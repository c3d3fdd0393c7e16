"""``test`` and ``predict`` in full, beside a plain script that does the same with torchvision's dataset.

Ours also announces, draws its pictures and writes TensorBoard and ``mistakes.csv``; the script loads the weights, goes
over the 10,000 test images and prints scores and confusion matrix, or writes a CSV with a row an image. Neither counts
the imports.
"""

import csv
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from benchmarks import plain
from benchmarks.measure import Result, check_same_accuracy, kindling, plain_weights, present, timed, workplace


def measure(repeats: int = 3, train_batches: int = 100, val_size: int = 5000) -> list[Result]:
    test, script_test, predict, script_predict = [], [], [], []
    with workplace() as root:
        options = ("--data.root", root, "--data.val_size", str(val_size))
        limits = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", str(train_batches))
        kindling("fit", "--model", "Net", *options, *limits)
        weights = Path("plain.pt")
        torch.save(plain_weights(), weights)
        kindling("test", "--ckpt_path", "best")  # imports
        for _ in range(repeats):
            test.append(kindling("test", "--ckpt_path", "best"))
            seconds, accuracy = timed(lambda: plain_test(root, weights))
            check_same_accuracy(accuracy)
            script_test.append(seconds)
            predict.append(kindling("predict", "--ckpt_path", "best"))
            script_predict.append(timed(lambda: plain_predict(root, weights, Path("predictions.csv")))[0])
    return [
        Result("Net, test in full, with pictures / a plain script", "s", test, script_test),
        Result("Net, predict in full / a plain script", "s", predict, script_predict),
    ]


def plain_test(root: str, weights: Path) -> float:
    """The accuracy."""
    network = plain.net()
    network.load_state_dict(torch.load(weights))
    loader = DataLoader(plain.fashion_mnist(root, train=False), batch_size=64)
    loss, accuracy, f1, confusion = plain.score(network, loader)
    print(f"loss {loss:.4f}  accuracy {accuracy:.4f}  F1 {f1:.4f}\n{confusion}")
    return accuracy


def plain_predict(root: str, weights: Path, file: Path) -> None:
    network = plain.net()
    network.load_state_dict(torch.load(weights))
    network.eval()
    images = plain.fashion_mnist(root, train=False)
    parts = []
    with torch.no_grad():
        for x, _ in DataLoader(images, batch_size=64):
            parts.append(network(x.to(plain.DEVICE)).softmax(dim=1).cpu())
    names, probabilities = images.classes, torch.cat(parts)
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["image", "label", "prediction", *names])
        for i, (label, row) in enumerate(zip(images.targets.tolist(), probabilities.tolist(), strict=True)):
            writer.writerow([i, names[label], names[row.index(max(row))], *row])


if __name__ == "__main__":
    present(measure)
