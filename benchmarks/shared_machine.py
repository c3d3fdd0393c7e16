"""Beside one busy process, training keeps at least half of the speed that it has alone, and alone it loses none.

All figures are of Kindling itself: as it sets torch's threads, and with torch's own number of them, which wait by
spinning. The busy process computes without a pause, as a browser or another training may. Each run is a process tree of
its own, started as a user does, because how threads wait is settled when torch is imported. What counts is from the
start of the second epoch to that of the last, with validation, checkpoints and logging. Two DDP processes go over as
many images as one, in batches of 64 a process.
"""

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from benchmarks.measure import Result, Target, present, script, workplace
from benchmarks.timestamps import EPOCH_STARTS

DDP = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
NET, TWO = "Net", "Net, two DDP processes"
RUNS: dict[str, tuple[int, tuple[str, ...]]] = {  # share of the batches, as some networks are slower, and options
    NET: (1, ("--model", "Net")),
    "NeuralNetwork": (1, ("--model", "NeuralNetwork")),
    "ResNet-18": (10, ("--model", "Backbone", "--model.name", "resnet18", "--data", "FashionMNIST")),
    TWO: (1, ("--model", "Net", *DDP)),
}
TORCHS_OWN = {"OMP_WAIT_POLICY": "ACTIVE", "OMP_NUM_THREADS": str(os.cpu_count())}


def measure(
    repeats: int = 2,
    names: Sequence[str] = tuple(RUNS),
    epochs: int = 3,
    batches: int = 100,
    val_batches: int = 4,
    val_size: int = 5000,
) -> list[Result]:
    figures: dict[tuple[str, str], list[float]] = defaultdict(list)  # images/s
    ways: dict[str, tuple[Callable[[], AbstractContextManager[None]], dict[str, str]]] = {
        "alone": (nullcontext, {}),
        "beside": (busy_process, {}),
        "torch's own": (nullcontext, TORCHS_OWN),
    }
    with workplace() as root:
        for _ in range(repeats):
            for name in names:
                share, options = RUNS[name]
                processes, count = 2 if name == TWO else 1, batches // share
                for way, (surroundings, environment) in ways.items():
                    EPOCH_STARTS.unlink(missing_ok=True)
                    with surroundings():
                        script(
                            *("fit", *options, "--data.root", root, "--data.val_size", str(val_size)),
                            *("--trainer.accelerator", "cpu", "--trainer.max_epochs", str(epochs)),
                            *("--trainer.limit_train_batches", str(count // processes)),
                            *("--trainer.limit_val_batches", str(val_batches // processes)),
                            "--trainer.callbacks+=benchmarks.timestamps.TimesOfEpochStarts",
                            environment=environment,
                        )
                    starts = [float(line) for line in EPOCH_STARTS.read_text(encoding="utf-8").splitlines()]
                    figures[name, way].append((epochs - 2) * count * 64 / (starts[-1] - starts[1]))

    def compared(claim: str, ours: tuple[str, str], plain: tuple[str, str], target: Target | None = None) -> Result:
        return Result(claim, "images/s", figures[ours], figures[plain], target)

    half, same = Target(">=", 0.5), Target(">=", 0.95)
    return [
        *(compared(f"{n}, training beside a busy process / alone", (n, "beside"), (n, "alone"), half) for n in names),
        *(
            compared(f"{n}, training / with torch's own threads", (n, "alone"), (n, "torch's own"), same)
            for n in names
            if n != TWO
        ),
        *([compared("Net, training, two DDP processes / one", (TWO, "alone"), (NET, "alone"))] if TWO in names else []),
    ]


@contextmanager
def busy_process() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            yield
        finally:
            busy.kill()


if __name__ == "__main__":
    present(measure)
