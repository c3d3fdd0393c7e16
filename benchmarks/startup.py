"""``fit`` takes its first step 0.5 s after ``import lightning.pytorch.cli``; what needs no torch takes 0.5 s in all.

Each figure is of a process of its own. A callback writes down when the first step is done, which is counted from the
start of the process; what it takes beyond is the difference to a process that imports ``lightning.pytorch.cli`` and
writes down when it has. The short commands, from start to exit, stand beside a python that does nothing.
"""

import sys
import time
from collections.abc import Callable

from benchmarks.measure import Result, Target, present, process, script, workplace
from benchmarks.timestamps import FIRST_STEP

IMPORT = f"""
import lightning.pytorch.cli
import pathlib, time
pathlib.Path("{FIRST_STEP}").write_text(repr(time.time()))
"""
FIT = ("fit", "--model", "SimpleNet", "--trainer.max_steps", "1")
WRITE_TIME = "--trainer.callbacks+=benchmarks.timestamps.TimeOfFirstStep"
SHORT = {"--help": ("--help",), "list": ("list",), "a mistyped name": ("fit", "--model", "SimpelNet")}


def measure(repeats: int = 3) -> list[Result]:
    imports, first_steps, nothing = [], [], []
    short: dict[str, list[float]] = {title: [] for title in SHORT}
    with workplace():
        script(*FIT, WRITE_TIME)  # compiles the modules, once
        for _ in range(repeats):
            imports.append(seconds_until_written(lambda: process(sys.executable, "-c", IMPORT)))
            first_steps.append(seconds_until_written(lambda: script(*FIT, WRITE_TIME)))
            nothing.append(process(sys.executable, "-c", "pass"))
            for title, args in SHORT.items():
                short[title].append(script(*args, code=2 if title == "a mistyped name" else 0))
    beyond = [step - alone for step, alone in zip(first_steps, imports, strict=True)]
    target = Target("<=", 0.5, of="ours")
    return [
        Result("fit to its first step, beyond / import lightning.pytorch.cli", "s", beyond, imports, target),
        *(Result(f"{title} / python alone", "s", seconds, nothing, target) for title, seconds in short.items()),
    ]


def seconds_until_written(run: Callable[[], object]) -> float:
    """Seconds from the start of a process to the time that it wrote into FIRST_STEP; its end is not included."""
    began = time.time()  # the clock that the other process reads
    run()
    return float(FIRST_STEP.read_text()) - began


if __name__ == "__main__":
    present(measure)
