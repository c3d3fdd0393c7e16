"""The runs of a cross-validation together: their scores with mean and spread, and the out-of-fold predictions."""

import json
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

import torch
from lightning.pytorch import LightningModule

from kindling.callbacks.after_epoch import Row, rounded, short
from kindling.callbacks.report.predictions import Columns, Predictions, as_table, beside
from kindling.callbacks.report.score_files import main_scores, unit_of
from kindling.console import say
from kindling.errors import RunError
from kindling.runs import checkpoints, csv_files
from kindling.runs.atomic import atomic_write
from kindling.runs.folder import Run
from kindling.training.parts import Monitor


def best_row(run: Run) -> Row:
    """The row of a run's best epoch, as in ``metrics.csv``, and the scores of its test, if there was one.

    Raises:
        RunError: There is no best epoch.
    """
    if not run.best.is_file():
        raise RunError(f"{run} has no best checkpoint: its monitored score was never logged, or never finite")
    row: Row = checkpoints.read(run.best)["best"]
    file = run.folder / "test.json"
    tested = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return row | {name: score for name, score in tested.items() if name.startswith("test/")}


def mean_and_spread(rows: Sequence[Row], score: str) -> tuple[float, float]:
    """Mean of a score, and its standard deviation, that of a sample: with one row less in the denominator."""
    scores = [row[score] for row in rows]
    return rounded(mean(scores)), rounded(stdev(scores))


def compare(together: Run, runs: Sequence[Run], network: LightningModule, monitor: Monitor) -> None:
    """Show the best scores of the folds' runs, write ``folds.csv``, and name the best fold in ``best.txt``."""
    rows, monitored = [best_row(run) for run in runs], monitor.score
    in_all = [name for name in rows[0] if name.startswith(("val/", "test/")) and all(name in row for row in rows)]
    scores = {
        name: [*(row[name] for row in rows), *mean_and_spread(rows, name)]
        for name in dict.fromkeys([monitored, *in_all])
    }
    about: Columns = {
        "fold": [*range(len(rows)), "mean", "std"],
        "epoch": [*(int(row["epoch"]) for row in rows), "", ""],
    }
    csv_files.write(together.folder / "folds.csv", about | scores)
    choose = max if monitor.mode == "max" else min
    best = runs[choose(range(len(rows)), key=scores[monitored].__getitem__)]
    with atomic_write(together.folder / "best.txt") as file:
        file.write(f"{best.folder.name}\n")
    shown = {f"{name}{unit_of(name, network)}": [*map(short, scores[name])] for name in main_scores(scores, network)}
    say(as_table(about | shown, len(rows) + 2))
    say(f"Best by {monitored}: {best.folder}; all scores -> {together.folder / 'folds.csv'}")


def join(folds: Sequence[tuple[list[Any], Predictions]]) -> Predictions:
    """The predictions of all folds with a column ``fold``, in the order of the file where that is known."""
    order = [place for places, _ in folds for place in places]
    rows = list(range(len(order)))
    if len({*order}) == len(order):
        rows.sort(key=order.__getitem__)

    def joined(parts: Sequence[Columns]) -> Columns:
        columns = {name: [cell for part in parts for cell in part[name]] for name in parts[0]}
        return {name: [cells[row] for row in rows] for name, cells in columns.items()}

    found = [predictions for _, predictions in folds]
    data = [beside(part.data, ["fold"]) | {"fold": [number] * len(part.rows)} for number, part in enumerate(found)]
    raw = torch.cat([part.raw for part in found])[rows]
    return Predictions(rows, joined(data), found[0].truth, joined([part.columns for part in found]), raw)
