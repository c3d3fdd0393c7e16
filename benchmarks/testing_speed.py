"""How many images/s ``test`` scores, beside the tutorial's loop and a loop by hand, for Net and NeuralNetwork.

Ours is the difference of two ``test`` commands, of the test images ten times over and of the test images as they are:
what is the same in both (start, reading, the drawing of pictures) falls out, and 90,000 images remain, each scored with
all that a test gathers about it. The plain loops go over the 10,000 once and compute loss, accuracy, macro F1 and the
confusion matrix; their accuracy has to be ours.
"""

from torch import nn
from torch.utils.data import DataLoader

from benchmarks import plain
from benchmarks.measure import Result, check_same_accuracy, kindling, plain_weights, present, timed, workplace
from benchmarks.training_speed import NETWORKS
from kindling import data as datasets

TEST = ("test", "--ckpt_path", "best")


def measure(repeats: int = 3, train_batches: int = 100, val_size: int = 5000) -> list[Result]:
    results = []
    with workplace() as root:
        data = datasets.FashionMNIST(root)
        data.prepare_data()
        data.setup("test")
        x, y = data.test_set.tensors
        dataset = plain.fashion_mnist(root, train=False)
        options = ("--data.root", root, "--data.val_size", str(val_size))
        limits = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", str(train_batches))
        for name, network in NETWORKS.items():
            kindling("fit", "--model", name, *options, *limits)
            kindling(*TEST)  # imports
            model = network()
            model.load_state_dict(plain_weights())

            def tutorial(model: nn.Module = model) -> float:
                return plain.score(model, DataLoader(dataset, batch_size=64))[1]

            def by_hand(model: nn.Module = model) -> float:
                batches = zip(x.split(1024), y.split(1024), strict=True)
                return plain.score(model, ((plain.as_input(a.to(plain.DEVICE)), b) for a, b in batches))[1]

            ours: list[float] = []
            loops: tuple[list[float], list[float]] = ([], [])
            for _ in range(repeats):
                ten_times = kindling(*TEST, "--data", "benchmarks.repeated_data.FashionMNISTTenTimes", *options)
                ours.append(9 * len(y) / (ten_times - kindling(*TEST)))
                for figures, loop in zip(loops, (tutorial, by_hand), strict=True):
                    seconds, accuracy = timed(loop)
                    check_same_accuracy(accuracy)
                    figures.append(len(y) / seconds)
            for figures, title in zip(loops, ("the tutorial's loop", "by hand"), strict=True):
                results.append(Result(f"{name}, testing / {title}", "images/s", ours, figures))
    return results


if __name__ == "__main__":
    present(measure)
