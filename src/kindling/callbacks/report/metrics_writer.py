"""What training leaves behind in numbers: ``metrics.csv`` and TensorBoard's scalars and hyperparameters."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.tensorboard.summary import hparams

from kindling.callbacks.after_epoch import Row, loss_of
from kindling.callbacks.report.publish import boards
from kindling.callbacks.resume.checkpoints import BestAndLast
from kindling.runs.atomic import atomic_write, sync
from kindling.runs.csv_files import read_rows

FLUSH = 100  # steps whose losses are read off the device at once


class MetricsWriter(Callback):
    """Writes the numbers of a run into its folder, going on where an interrupted run left off.

    Args:
        folder: The run's folder.
        every: Steps from one loss per step in TensorBoard to the next.
        hyperparameters: Flat plain values for TensorBoard's HPARAMS tab.
    """

    writes_scores = True  # so a network does not log them itself, too

    def __init__(self, folder: Path, every: int, hyperparameters: dict[str, Any]) -> None:
        self.every = every
        self.folder = folder
        self.table = MetricsTable(folder / "metrics.csv")
        self.hyperparameters = hyperparameters
        self._losses: list[tuple[int, Tensor]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._step = trainer.global_step
        if trainer.is_global_zero:
            self.table.keep(epochs=trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss, step = loss_of(outputs), trainer.global_step
        if loss is None or step == self._step or step % self.every:
            return  # between the steps, where gradients accumulate over batches
        self._step = step
        self._losses.append((step, loss))
        if len(self._losses) == FLUSH:
            self._flush(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """What went before a checkpoint has to be on the disk before it: a run that goes on does not write it again."""
        if not trainer.training:
            return
        self._flush(trainer)
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.save()
            for board in boards(trainer):
                sync(max(Path(board.log_dir).glob("events.out.*"), key=lambda file: file.stat().st_mtime))
            checkpoint["events"] = {file.name: file.stat().st_size for file in self.folder.glob("events.out.*")}

    def after_epoch(self, trainer: Trainer, pl_module: LightningModule, row: Row) -> None:
        self._flush(trainer)
        if not trainer.is_global_zero:
            return
        self.table.append(row)
        logged_already = trainer.logged_metrics  # by the network itself, through Lightning
        named = {k if "/" in k else f"run/{k}": v for k, v in row.items() if k not in ("epoch", "step")}
        scalars = {k: v for k, v in named.items() if k not in logged_already}
        if "train/loss" in scalars:  # that name holds the loss per step
            scalars["train/loss_epoch"] = scalars.pop("train/loss")
        self._log(trainer, scalars, int(row["step"]))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        keeper = BestAndLast.of(trainer)
        if not trainer.is_global_zero or keeper is None or keeper.best is None:
            return
        best = {"best/" + keeper.monitor.replace("/", "_"): keeper.best[keeper.monitor]}
        self._log(trainer, best, trainer.global_step)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for summary in hparams(self.hyperparameters, best):
                    logger.experiment.file_writer.add_summary(summary)

    def _flush(self, trainer: Trainer) -> None:
        if self._losses and "train/loss" not in trainer.logged_metrics:  # unless the network logs that name itself
            steps, losses = zip(*self._losses, strict=True)
            for step, loss in zip(steps, torch.stack(losses).tolist(), strict=True):
                self._log(trainer, {"train/loss": loss}, step)
        self._losses.clear()

    def _log(self, trainer: Trainer, scalars: dict[str, float], step: int) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(scalars, step)


def cut(folder: Path, sizes: Mapping[str, int]) -> None:
    """Shorten TensorBoard's files to what they were at a checkpoint: what came since will be done again."""
    for file in folder.glob("events.out.*"):
        if file.name in sizes:
            os.truncate(file, min(file.stat().st_size, sizes[file.name]))
        elif file.suffix not in (".test", ".validate"):
            file.unlink()


class MetricsTable:
    """A CSV file with a row an epoch, whose columns may grow."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.columns: list[str] = []

    def keep(self, epochs: int) -> None:
        """Take over the first rows of an earlier file and drop the rest of it, which will be done again."""
        rows = [row for row in read_rows(self.file) if int(row["epoch"]) <= epochs]
        if rows:
            self._write(list(rows[0]), rows)
        else:
            self.file.unlink(missing_ok=True)

    def append(self, row: Row) -> None:
        if new := [name for name in row if name not in self.columns]:
            self._write(self.columns + new, [*read_rows(self.file), row])
            return
        with self.file.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(row)
            file.flush()
            os.fsync(file.fileno())

    def _write(self, columns: list[str], rows: Sequence[Mapping[str, Any]]) -> None:
        self.columns = columns
        with atomic_write(self.file, newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
