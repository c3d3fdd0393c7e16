"""What training leaves behind in numbers: ``metrics.csv``, and scalars and hyperparameters for the loggers."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch import Tensor
from torch.utils.tensorboard.summary import hparams

from kindling.callbacks.after_epoch import EpochListener, Row, loss_of
from kindling.callbacks.report.publish import board_tag, boards
from kindling.callbacks.report.score_files import main_scores
from kindling.callbacks.resume.checkpoints import BestAndLast
from kindling.runs import csv_files
from kindling.runs.atomic import sync
from kindling.runs.folder import Run

CHANGED = "changed options"
# columns that HPARAMS has of every run, in this order: TensorBoard takes its columns from the first run alone
COLUMNS = {
    "model": "model",
    "data": "data",
    "lr": "optimizer.lr",
    "batch size": "data.batch_size",
    "epochs": "trainer.max_epochs",
    "seed": "seed_everything",
    CHANGED: CHANGED,
}
SCORES = ("val/loss", "val/acc", "val/mae")
FLUSH = 100  # steps whose losses are read off the device at once


class MetricsWriter(EpochListener):
    """Writes the numbers of a run; a resumed run continues where the interrupted one stopped.

    Args:
        folder: The run's folder.
        hyperparameters: Flat plain values for the loggers.
        changed: Those that differ from their defaults, in one line.
    """

    writes_scores = True  # so a network does not log them itself, too

    def __init__(self, folder: Path, hyperparameters: dict[str, Any], changed: str) -> None:
        self.folder = folder
        self.file = folder / "metrics.csv"
        self.hyperparameters = hyperparameters
        self.changed = changed
        self._rows: list[dict[str, Any]] = []
        self._is_changed = False  # since they were written
        self._losses: list[tuple[int, Tensor]] = []
        self._has_layout = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._step = trainer.global_step
        if not trainer.is_global_zero:
            return
        self._rows = [row for row in csv_files.read_rows(self.file) if int(row["epoch"]) <= trainer.current_epoch]
        self._is_changed = True
        self._write_rows()  # without those of epochs that will be done again
        if not Run(self.folder).last.is_file():  # a tracker refuses other values when a run is resumed
            for logger in trainer.loggers:
                if not isinstance(logger, TensorBoardLogger):  # which gets them at the end, with the best score
                    logger.log_hyperparams(self.hyperparameters)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss, step = loss_of(outputs), trainer.global_step
        if loss is None or step == self._step or step % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return  # the same step: gradients are accumulated over several batches
        self._step = step
        self._losses.append((step, loss))
        if len(self._losses) == FLUSH:
            self._flush(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write all that is to be logged before a checkpoint: a run resumed from it does not log it again."""
        if not trainer.training:
            return
        self._flush(trainer)
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.save()
            checkpoint["events"] = {file.name: file.stat().st_size for file in self.folder.glob("events.out.*")}
            checkpoint["trackers"] = {type(logger).__name__: str(logger.version) for logger in trainer.loggers}

    def before_write(self, trainer: Trainer) -> None:
        self._write_rows()
        for board in boards(trainer):
            sync(max(Path(board.log_dir).glob("events.out.*"), key=lambda file: file.stat().st_mtime))

    def after_epoch(self, trainer: Trainer, pl_module: LightningModule, row: Row) -> None:
        self._flush(trainer)
        if not trainer.is_global_zero:
            return
        self._rows.append(row)
        self._is_changed = True
        if BestAndLast.of(trainer) is None:  # else with the next checkpoint, at most a second later
            self._write_rows()
        logged_already = trainer.logged_metrics  # by the network itself, through Lightning
        named = {k if "/" in k else f"run/{k}": v for k, v in row.items() if k not in ("epoch", "step")}
        scalars = {k: v for k, v in named.items() if k not in logged_already}
        if "train/loss" in scalars:  # that name holds the loss per step
            scalars["train/loss_epoch"] = scalars.pop("train/loss")
        self._log(trainer, scalars, int(row["step"]))
        for board in boards(trainer) if not self._has_layout else []:
            board.add_custom_scalars({"training and validation": _layout(row, scalars)})
        self._has_layout = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        keeper = BestAndLast.of(trainer)
        if not trainer.is_global_zero or keeper is None or keeper.best is None:
            return
        scores = main_scores((name for name in keeper.best if name.startswith("val/")), pl_module)
        best = {name: keeper.best[name] for name in dict.fromkeys((keeper.monitor, *scores[:2]))}  # the loss, and one
        self._log(trainer, {_best(name): value for name, value in best.items()}, trainer.global_step)
        for board in boards(trainer):
            for summary in _hparams(self.hyperparameters | {CHANGED: self.changed}, best):
                board.file_writer.add_summary(summary)  # type: ignore[attr-defined]

    def _flush(self, trainer: Trainer) -> None:
        if self._losses and "train/loss" not in trainer.logged_metrics:  # unless the network logs that name itself
            steps, losses = zip(*self._losses, strict=True)
            for step, loss in zip(steps, torch.stack(losses).tolist(), strict=True):
                self._log(trainer, {"train/loss": loss}, step)
        self._losses.clear()

    def _log(self, trainer: Trainer, scalars: dict[str, float], step: int) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(scalars, step)

    def _write_rows(self) -> None:
        if not self._is_changed:
            return  # within an epoch there may be many checkpoints
        self._is_changed = False
        names = dict.fromkeys(name for row in self._rows for name in row)  # a later epoch may have more columns
        if names:
            csv_files.write(self.file, {name: [row.get(name, "") for row in self._rows] for name in names})
        else:
            self.file.unlink(missing_ok=True)


def _best(name: str) -> str:
    return "best/" + name.replace("/", "_")


def _layout(row: Row, scalars: dict[str, float]) -> dict[str, list[Any]]:
    """CUSTOM SCALARS: a chart for each score of training and validation both; TensorBoard takes tags as patterns."""
    charts = {}
    for name in (name.removeprefix("val/") for name in row if name.startswith("val/")):
        train = "train/loss_epoch" if name == "loss" and "train/loss_epoch" in scalars else f"train/{name}"
        if f"train/{name}" in row:
            charts[name] = ["Multiline", [f"^{re.escape(tag)}$" for tag in (train, f"val/{name}")]]
    return charts


def _hparams(options: dict[str, Any], best: dict[str, float]) -> Iterator[Summary]:
    """HPARAMS: TensorBoard sorts the columns by name, so that a number leads the name of each that comes first."""
    first = {f"{place} {name}": options.get(option) for place, (name, option) in enumerate(COLUMNS.items(), 1)}
    others = {name: value for name, value in options.items() if name not in COLUMNS.values()}
    scores = {board_tag(_best(name)): name for name in dict.fromkeys((*SCORES, *best))}
    experiment, start, end = hparams(first | others, scores)
    plugin = experiment.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(plugin.content)
    for column in content.experiment.hparam_infos:
        column.display_name = column.name[2:] if column.name in first else column.name
    for score in content.experiment.metric_infos:
        score.display_name = f"best {scores[score.name.tag]}"
    plugin.content = content.SerializeToString()
    yield from (experiment, start, end)
