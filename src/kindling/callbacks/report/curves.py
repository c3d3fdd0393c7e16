"""The picture of a run: ``curves.png``."""

from functools import partial
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from kindling.callbacks.report import publish
from kindling.callbacks.report.score_files import main_scores, unit_of
from kindling.pictures import curves
from kindling.runs.csv_files import read_rows


class Curves(Callback):
    """Draws the metrics of training and validation over the epochs when training ends, from ``metrics.csv``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        rows = read_rows(self.folder / "metrics.csv")
        panels: dict[str, dict[str, curves.Points]] = {}
        for column in main_scores(rows[0] if rows else [], pl_module):
            stage, _, metric = column.partition("/")
            points = [(int(row["epoch"]), float(row[column])) for row in rows if row[column]]
            if stage in curves.STAGES and points:
                panels.setdefault(metric, {})[stage] = points
        if panels:
            units = {metric: unit_of(metric, pl_module) for metric in panels}
            picture = partial(curves.draw, panels, f"{type(pl_module).__name__}, {self.folder}", units)
            publish.publish(trainer, self.folder / "curves.png", "run/curves", trainer.global_step, picture)
