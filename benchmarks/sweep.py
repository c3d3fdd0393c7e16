"""``sweep`` takes at most 1.3 times as long as a script with Optuna around the tutorials' loop.

Each figure is of a whole process, from its start to its end: 30 trials of SimpleNet, 3 epochs each, on 800 products;
12 trials of Net, 2 epochs each, of 200 batches of 64, a quarter of FashionMNIST. What is varied makes no trial longer,
so both sides do the same work, on CPUs, though each draws its own values. No trial is ended early. The script,
``tutorial_search.py``, keeps its trials in memory. For SimpleNet it has one thread: with two it takes up to ten times
as long beside other work. ``sweep`` also logs, computes all scores, draws, keeps the best network, and writes a
database by which a killed sweep goes on.

How long a trial takes is from that database, and how much of it is training from ``metrics.csv``.
"""

import csv
import sys
from pathlib import Path
from statistics import mean

import optuna

from benchmarks.measure import Result, Target, present, process, script, workplace
from benchmarks.tutorial_search import DECAY, HIDDEN, LR

VARIED = {  # of each network, as it is typed
    "SimpleNet": ("--vary.model.hidden", f"{HIDDEN[0]}..{HIDDEN[1]}"),
    "Net": ("--optimizer", "Adam", "--vary.optimizer.weight_decay", f"{DECAY[0]}..{DECAY[1]} log"),
}


def measure(
    repeats: int = 3,
    trials: int = 30,
    epochs: int = 3,
    net_repeats: int = 1,
    net_trials: int = 12,
    net_epochs: int = 2,
    batches: int = 200,
    val_size: int = 5000,
) -> list[Result]:
    simple, plain_simple, net, plain_net, alone, together, beyond, training = ([] for _ in range(8))
    with workplace() as root:
        sweep("SimpleNet", 2, 1)  # compiles the modules, once
        for _ in range(repeats):
            simple.append(sweep("SimpleNet", trials, epochs))
            alone.append(trials_per_minute(newest()))
            of_training = seconds_of_training(newest(), trials)
            beyond.append(60 / alone[-1] - of_training)
            training.append(of_training)
            plain_simple.append(optuna_script(trials, epochs, environment={"OMP_NUM_THREADS": "1"}))
            sweep("SimpleNet", trials, epochs, "--jobs", "2")
            together.append(trials_per_minute(newest()))
        for _ in range(net_repeats):
            data = ("--data.root", root, "--data.val_size", str(val_size))
            net.append(sweep("Net", net_trials, net_epochs, *data, "--trainer.limit_train_batches", str(batches)))
            plain_net.append(optuna_script(root, val_size, net_trials, net_epochs, batches))
    limit = Target("<=", 1.3)
    return [
        Result(f"SimpleNet, sweep of {trials} trials, whole / with Optuna alone", "s", simple, plain_simple, limit),
        Result(f"Net, sweep of {net_trials} trials, whole / with Optuna alone", "s", net, plain_net, limit),
        Result("SimpleNet, two jobs / one", "trials/min", together, alone, Target(">=", 1.6)),
        Result(
            "SimpleNet, a trial beyond its training / its training", "s", beyond, training, Target("<=", 0.5, "ours")
        ),
    ]


def sweep(network: str, trials: int, epochs: int, *more: str) -> float:
    varied = ("--vary.lr", f"{LR[0]}..{LR[1]} log", *VARIED[network])
    size = ("--trials", str(trials), "--epochs", str(epochs), "--pruner", "Nop", "--trainer.accelerator", "cpu")
    return script("sweep", "--model", network, *varied, *size, *more)


def optuna_script(*args: object, environment: dict[str, str] | None = None) -> float:
    return process(sys.executable, "-m", "benchmarks.tutorial_search", *map(str, args), environment=environment)


def newest() -> Path:
    return max(Path("lightning_logs").glob("sweep_*"), key=lambda folder: int(folder.name.partition("_")[2]))


def trials_per_minute(folder: Path) -> float:
    """Without the start of the sweep and its end."""
    done = optuna.load_study(study_name="sweep", storage=f"sqlite:///{folder.resolve()}/study.db").trials
    begun = min(trial.datetime_start for trial in done if trial.datetime_start)
    ended = max(trial.datetime_complete for trial in done if trial.datetime_complete)
    return 60 * len(done) / (ended - begun).total_seconds()


def seconds_of_training(folder: Path, trials: int) -> float:
    """Of a trial, in the mean."""
    times = []
    for number in range(trials):
        with (folder / f"trial_{number}" / "metrics.csv").open(newline="", encoding="utf-8") as file:
            times.append(sum(float(row["epoch_time"]) for row in csv.DictReader(file)))
    return mean(times)


if __name__ == "__main__":
    present(measure)
