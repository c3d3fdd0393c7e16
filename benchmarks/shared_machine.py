"""Beside one busy process, training keeps at least half of the speed that it has alone.

Both are ours: ``plain`` is alone. The other process computes without a pause, as a browser or another job may. Each run
is a process tree of its own, started as a user does, because how torch's threads wait for each other is settled when
torch is imported. What counts is from the start of the second epoch to that of the last.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from benchmarks.measure import Result, Target, present, script, workplace
from benchmarks.timestamps import EPOCH_STARTS
from benchmarks.two_processes import DDP

RUNS: dict[str, tuple[str, ...]] = {
    "Net": ("--model", "Net"),
    "NeuralNetwork": ("--model", "NeuralNetwork"),
    "Net, two DDP processes": ("--model", "Net", *DDP),
}


def measure(
    repeats: int = 2, epochs: int = 4, batches: int = 300, val_batches: int = 4, val_size: int = 5000
) -> list[Result]:
    results = []
    with workplace() as root:
        for name, options in RUNS.items():
            alone: list[float] = []
            beside: list[float] = []
            processes = 2 if options[-2:] == DDP[-2:] else 1
            for _ in range(repeats):
                for figures, busy in ((alone, nullcontext()), (beside, busy_process())):
                    EPOCH_STARTS.unlink(missing_ok=True)
                    with busy:
                        script(
                            *("fit", *options, "--data.root", root, "--data.val_size", str(val_size)),
                            *("--trainer.accelerator", "cpu", "--trainer.max_epochs", str(epochs)),
                            *("--trainer.limit_train_batches", str(batches // processes)),
                            *("--trainer.limit_val_batches", str(val_batches)),
                            "--trainer.callbacks+=benchmarks.timestamps.TimesOfEpochStarts",
                        )
                    starts = [float(line) for line in EPOCH_STARTS.read_text().splitlines()]
                    figures.append((epochs - 2) * batches * 64 / (starts[-1] - starts[1]))
            claim = f"{name}, training beside one busy process / alone"
            results.append(Result(claim, "images/s", beside, alone, Target(">=", 0.5)))
    return results


@contextmanager
def busy_process() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            yield
        finally:
            busy.kill()


if __name__ == "__main__":
    present(measure)
