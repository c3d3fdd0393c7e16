"""The picture of a run: ``curves.png``."""

import csv
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

COLORS = {"train": "#0072B2", "val": "#D55E00"}  # Okabe and Ito's blue and vermilion, told apart by everyone


class Curves(Callback):
    """Draws the metrics of training and validation over the epochs when training ends, from ``metrics.csv``.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            draw(
                self.folder / "metrics.csv",
                self.folder / "curves.png",
                title=f"{type(pl_module).__name__}, {self.folder}",
            )


def draw(table: Path, picture: Path, title: str) -> None:
    """One panel per metric, training and validation in each; nothing where the table holds no epoch yet."""
    from matplotlib.figure import Figure  # half a second that only a finished run pays
    from matplotlib.ticker import MaxNLocator

    if not table.is_file():
        return
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = [name for name in (rows[0] if rows else {}) if name.partition("/")[0] in COLORS]
    metrics = list(dict.fromkeys(name.partition("/")[2] for name in columns))
    if not metrics:
        return
    figure = Figure(figsize=(5 * len(metrics), 3.6), layout="constrained")
    figure.suptitle(title)
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        for stage, label in (("train", "training"), ("val", "validation")):
            points = [(int(r["epoch"]), float(r[f"{stage}/{metric}"])) for r in rows if r.get(f"{stage}/{metric}")]
            if points:
                axes.plot(*zip(*points, strict=True), color=COLORS[stage], marker="o", markersize=3, label=label)
        axes.set(xlabel="epoch", ylabel={"acc": "accuracy"}.get(metric, metric))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(picture, dpi=120)
