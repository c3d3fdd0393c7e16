"""Two DDP processes on the CPU train Net with about twice the images/s of one, where there are two cores.

Both are ours: ``plain`` is one process. Each run is a process tree of its own, started as a user does. A callback
writes down when the epochs start: all between the first and the last count, with validation, checkpoints and logging;
starting the processes does not. Both go over the same number of images, in batches of 64 a process.
"""

from benchmarks.measure import Result, present, script, workplace
from benchmarks.timestamps import EPOCH_STARTS

DDP = ("--trainer.devices", "2", "--trainer.strategy", "ddp")


def measure(
    repeats: int = 2, epochs: int = 3, batches: int = 400, val_batches: int = 8, val_size: int = 5000
) -> list[Result]:
    one: list[float] = []
    two: list[float] = []
    with workplace() as root:
        for _ in range(repeats):
            for figures, processes, options in ((one, 1, ()), (two, 2, DDP)):
                EPOCH_STARTS.unlink(missing_ok=True)
                script(
                    *("fit", "--model", "Net", "--data.root", root, "--data.val_size", str(val_size)),
                    *("--trainer.accelerator", "cpu", *options),
                    *("--trainer.max_epochs", str(epochs)),
                    *("--trainer.limit_train_batches", str(batches // processes)),
                    *("--trainer.limit_val_batches", str(val_batches // processes)),
                    "--trainer.callbacks+=benchmarks.timestamps.TimesOfEpochStarts",
                )
                starts = [float(line) for line in EPOCH_STARTS.read_text().splitlines()]
                figures.append((epochs - 2) * batches * 64 / (starts[-1] - starts[1]))  # the first epoch warms up
    return [Result("Net, training, two DDP processes / one", "images/s", two, one)]


if __name__ == "__main__":
    present(measure)
