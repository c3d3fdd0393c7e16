"""The picture of a run: ``curves.png``."""

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch import Callback, LightningModule, Trainer

from kindling.callbacks import drawing
from kindling.callbacks.columns import read_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STAGES = {"train": ("training", drawing.BLUE), "val": ("validation", drawing.VERMILION)}
NAMES = {"acc": "accuracy", "f1": "F1", "auroc": "AUROC", "mae": "mean absolute error", "rmse": "RMSE", "r2": "R²"}
PER_ROW = 3

Points = list[tuple[int, float]]  # epoch and value


class Curves(Callback):
    """Draws the metrics of training and validation over the epochs when training ends, from ``metrics.csv``.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        panels = read(self.folder / "metrics.csv")
        if panels:
            picture = partial(draw, panels, f"{type(pl_module).__name__}, {self.folder}")
            drawing.publish(trainer, self.folder / "curves.png", "run/curves", trainer.global_step, picture)


def read(table: Path) -> dict[str, dict[str, Points]]:
    """Metric to stage to points; nothing where the table is not there, or holds no epoch yet."""
    rows = read_rows(table)
    panels: dict[str, dict[str, Points]] = {}
    for column in rows[0] if rows else []:
        stage, _, metric = column.partition("/")
        if stage in STAGES and (points := [(int(r["epoch"]), float(r[column])) for r in rows if r[column]]):
            panels.setdefault(metric, {})[stage] = points
    return panels


def draw(panels: dict[str, dict[str, Points]], title: str) -> "Figure":
    """One panel per metric, training and validation in each."""
    from matplotlib.ticker import MaxNLocator

    height = math.ceil(len(panels) / PER_ROW)
    width = math.ceil(len(panels) / height)
    figure = drawing.figure(4 * width, 2.8 * height + 0.4, title)
    grid = figure.subplots(height, width, squeeze=False).flat
    for (metric, stages), axes in zip(panels.items(), grid, strict=False):
        for stage, points in stages.items():
            label, color = STAGES[stage]
            axes.plot(*zip(*points, strict=True), color=color, marker="o", markersize=3, label=label)
        axes.set(xlabel="epoch", ylabel=NAMES.get(metric, metric))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(True)
        axes.legend()
    for axes in grid:
        axes.remove()
    return figure
