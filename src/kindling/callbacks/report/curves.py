"""The picture of a run: ``curves.png``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch import Callback, LightningModule, Trainer

from kindling.callbacks.report import publish
from kindling.pictures import curves
from kindling.runs.csv_files import read_rows

if TYPE_CHECKING:
    pass


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
            picture = partial(curves.draw, panels, f"{type(pl_module).__name__}, {self.folder}")
            publish.publish(trainer, self.folder / "curves.png", "run/curves", trainer.global_step, picture)


def read(table: Path) -> dict[str, dict[str, curves.Points]]:
    """Metric to stage to points; nothing where the table is not there, or holds no epoch yet."""
    rows = read_rows(table)
    panels: dict[str, dict[str, curves.Points]] = {}
    for column in rows[0] if rows else []:
        stage, _, metric = column.partition("/")
        if stage in curves.STAGES and (points := [(int(r["epoch"]), float(r[column])) for r in rows if r[column]]):
            panels.setdefault(metric, {})[stage] = points
    return panels
