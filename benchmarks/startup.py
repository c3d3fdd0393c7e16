"""``fit --model SimpleNet`` takes as long as a script that only trains the same; help and mistakes take 0.2 s.

Each figure is of a process of its own, from its start to its end. ``fit`` trains, validates, logs, draws and keeps
checkpoints; the script trains and validates. ``test`` stands beside a process that imports Lightning's command line and
does nothing. What needs no torch stands beside a python that does nothing.
"""

import sys

from benchmarks.measure import PROJECT, Result, Target, present, process, script, workplace

FIT = ("fit", "--model", "SimpleNet")
TEST = ("test", "--ckpt_path", "best")
TUTORIAL = (sys.executable, str(PROJECT / "benchmarks" / "tutorial.py"))
IMPORT = (sys.executable, "-c", "import lightning.pytorch.cli")
SHORT = {
    "--help": ("--help",),
    "fit --help": ("fit", "--help"),
    "list": ("list",),
    "a mistyped name": ("fit", "--model", "SimpelNet"),
}


def measure(repeats: int = 3) -> list[Result]:
    fits, tutorials, tests, imports, nothing = [], [], [], [], []
    short: dict[str, list[float]] = {title: [] for title in SHORT}
    with workplace():
        script(*FIT)  # compiles the modules, once
        for _ in range(repeats):
            fits.append(script(*FIT))
            tutorials.append(process(*TUTORIAL))
            tests.append(script(*TEST))
            imports.append(process(*IMPORT))
            nothing.append(process(sys.executable, "-c", "pass"))
            for title, args in SHORT.items():
                short[title].append(script(*args, code=2 if title == "a mistyped name" else 0))
    quick = Target("<=", 0.2, of="ours")
    return [
        Result("fit --model SimpleNet, whole / the tutorial's script, whole", "s", fits, tutorials, Target("<=", 1)),
        Result("test --ckpt_path best, whole / import lightning.pytorch.cli", "s", tests, imports),
        *(Result(f"{title} / python alone", "s", seconds, nothing, quick) for title, seconds in short.items()),
    ]


if __name__ == "__main__":
    present(measure)
