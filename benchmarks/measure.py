"""What the claims share: a command in process, the clock, and how a result is judged, printed and passed on."""

import contextlib
import csv
import io
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar

import torch

from kindling.cli import main

PROJECT = Path(__file__).parents[1]
T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """What a median has to reach: that of the ratio ours / plain, or that of our own figure."""

    sign: Literal["<=", ">="]
    limit: float
    of: Literal["ratio", "ours"] = "ratio"

    def __str__(self) -> str:
        return f"{self.of} {self.sign} {self.limit:g}"


@dataclass(frozen=True)
class Result:
    """One comparison.

    Args:
        claim: What is compared with what.
        unit: Of both figures.
        ours: Kindling's figure in each round.
        plain: What it is compared with in the same rounds, which makes the ratios pairs.
        note: What else was seen.
    """

    claim: str
    unit: str
    ours: Sequence[float]
    plain: Sequence[float]
    target: Target | None = None
    note: str = ""

    def row(self) -> dict[str, Any]:
        """Medians, and lowest and highest of what the target is of."""
        ratios = [a / b for a, b in zip(self.ours, self.plain, strict=True)]
        judged = self.ours if self.target and self.target.of == "ours" else ratios
        met = None
        if self.target:
            reached = statistics.median(judged)
            met = reached <= self.target.limit if self.target.sign == "<=" else reached >= self.target.limit
        return {
            "claim": self.claim,
            "unit": self.unit,
            "ours": statistics.median(self.ours),
            "plain": statistics.median(self.plain),
            "ratio": statistics.median(ratios),
            "low": min(judged),
            "high": max(judged),
            "target": str(self.target) if self.target else "",
            "met": met,
            "note": self.note,
        }


def present(measure: Callable[[], list[Result]]) -> None:
    """Print what was measured, and as the last line the same as JSON."""
    start = time.perf_counter()
    rows = [result.row() for result in measure()]
    seconds = time.perf_counter() - start
    for row in rows:
        verdict = {None: "", True: f"  target {row['target']}: met", False: f"  target {row['target']}: MISSED"}
        figures = f"ours {row['ours']:.4g}  plain {row['plain']:.4g} {row['unit']}  ratio {row['ratio']:.3g}"
        spread = f"spread {row['low']:.3g} to {row['high']:.3g}"
        print(f"{row['claim']}\n    {figures}  {spread}{verdict[row['met']]}  {row['note']}".rstrip())
    print(f"{', '.join(f'{name} {value}' for name, value in conditions().items())}; took {seconds:.0f} s")
    print(json.dumps({"conditions": conditions(), "seconds": round(seconds, 1), "results": rows}))


def conditions() -> dict[str, str | int]:
    """What the figures depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return {
        "CPU": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": version("lightning"),
    }


@contextlib.contextmanager
def workplace() -> Iterator[str]:
    """An empty folder as the current one, removed in the end; yields where FashionMNIST lies, or will lie."""
    root = Path(os.environ.get("FASHION_MNIST_ROOT", "data")).resolve()
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield str(root)


class Terminal(io.StringIO):
    """Says it is a terminal, so that the progress bar is drawn as it is for a user."""

    def isatty(self) -> bool:
        return True


def kindling(*args: str) -> float:
    """Seconds that one command takes, in this process."""
    errors = Terminal()
    start = clock()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        code = main([*args])
    seconds = clock() - start
    if code != 0:
        raise RuntimeError(f"{' '.join(args)} ended with {code}: {errors.getvalue()}")
    return seconds


def seconds_of_epochs(few: int, many: int, *args: str) -> float:
    """Seconds that ``many - few`` epochs of ``fit`` take with all that belongs to them.

    As the difference of two whole commands it has neither their start nor their end in it, and needs no clock inside.
    """
    short, long = (kindling("fit", *args, "--trainer.max_epochs", str(epochs)) for epochs in (few, many))
    return long - short


def script(*args: str, code: int = 0, environment: dict[str, str] | None = None) -> float:
    """Seconds that one command takes as a process of its own."""
    return process(sys.executable, str(PROJECT / "scripts" / "main.py"), *args, code=code, environment=environment)


def process(*command: str, code: int = 0, environment: dict[str, str] | None = None) -> float:
    path = f"{PROJECT}{os.pathsep}{PROJECT / 'src'}"  # it may import from benchmarks, and of no other clone
    environment = os.environ | {"PYTHONPATH": path} | (environment or {})
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    seconds = time.perf_counter() - start
    if done.returncode != code:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return seconds


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds, and what ``work`` returned; what it prints is shown as little as ours is."""
    start = clock()
    with contextlib.redirect_stdout(io.StringIO()):
        result = work()
    return clock() - start, result


def clock() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # the GPU may be behind
    return time.perf_counter()


def newest_run() -> Path:
    return max(Path("lightning_logs").glob("version_*"), key=lambda run: int(run.name.partition("_")[2]))


def check_same_loss(plain: float, epoch: int, tolerance: float = 1e-3) -> None:
    """
    Args:
        plain: The plain loop's mean training loss of that epoch, 1 being the first; ours is the newest run's.
        tolerance: As far as they may differ.

    Raises:
        RuntimeError: They differ by more, so the two did not do the same work.
    """
    with (newest_run() / "metrics.csv").open(newline="", encoding="utf-8") as file:
        ours = float(list(csv.DictReader(file))[epoch - 1]["train/loss"])
    if not math.isclose(ours, plain, rel_tol=tolerance, abs_tol=tolerance):
        raise RuntimeError(f"training loss of epoch {epoch}: ours {ours:.6f}, the plain loop's {plain:.6f}")
    print(f"loss of epoch {epoch}: ours {ours:.6f}, plain {plain:.6f}", flush=True)


def test_scores() -> dict[str, Any]:
    """Those of the newest run's last test."""
    return json.loads((newest_run() / "test.json").read_text(encoding="utf-8"))


def check_same_accuracy(plain: float) -> None:
    """
    Raises:
        RuntimeError: It is not that of the newest run's last test.
    """
    ours = test_scores()["test/acc"]
    if not math.isclose(ours, plain, abs_tol=1e-3):
        raise RuntimeError(f"test accuracy: ours {ours:.4f}, the plain loop's {plain:.4f}")


def plain_weights() -> dict[str, torch.Tensor]:
    """The newest run's best, under the names that they have in a network without our module around it."""
    content = torch.load(newest_run() / "checkpoints" / "best.ckpt", weights_only=True, map_location="cpu")
    return {k.removeprefix("net."): v for k, v in content["state_dict"].items() if k.startswith("net.")}
