"""The picture of a run's metrics over the epochs: ``curves.png``."""

import math
from typing import TYPE_CHECKING

from kindling.pictures.style import BLUE, VERMILION, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STAGES = {"train": ("training", BLUE), "val": ("validation", VERMILION)}
NAMES = {"acc": "accuracy", "f1": "F1", "auroc": "AUROC", "mae": "mean absolute error", "rmse": "RMSE", "r2": "R²"}
PER_ROW = 3

Points = list[tuple[int, float]]  # epoch and value


def draw(panels: dict[str, dict[str, Points]], title: str, units: dict[str, str]) -> "Figure":
    """Draw one panel per metric, training and validation in each."""
    from matplotlib.ticker import MaxNLocator

    height = math.ceil(len(panels) / PER_ROW)
    width = math.ceil(len(panels) / height)
    figure = new_figure(4 * width, 2.8 * height + 0.4, title)
    grid = figure.subplots(height, width, squeeze=False).flat
    for (metric, stages), axes in zip(panels.items(), grid, strict=False):
        for stage, points in stages.items():
            label, color = STAGES[stage]
            axes.plot(*zip(*points, strict=True), color=color, marker="o", markersize=3, label=label)
        axes.set(xlabel="epoch", ylabel=NAMES.get(metric, metric) + units[metric])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(True)
        axes.legend()
    for axes in grid:  # those left over in the last row
        axes.remove()
    return figure
