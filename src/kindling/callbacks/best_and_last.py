"""The two checkpoints that a run keeps."""

import math
import shutil
from pathlib import Path
from typing import Any, Self

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from kindling.callbacks.after_epoch import Row


class BestAndLast(Checkpoint):
    """Keeps ``checkpoints/last.ckpt`` after every epoch, and ``best.ckpt`` where the monitored score was lowest.

    Lightning's ``ModelCheckpoint`` saves before the learning-rate schedulers step, takes for "last" the epoch that
    improved last, and stores absolute paths, so that a run folder can't be moved.

    Args:
        folder: The run's folder.
        monitor: Name of the score, lower being better.
        config: Options of the run, as plain data; stored in each checkpoint, which so stands for the whole run.
    """

    def __init__(self, folder: Path, monitor: str, config: dict[str, Any]) -> None:
        self.folder = folder / "checkpoints"
        self.monitor = monitor
        self.config = config
        self.best: Row | None = None  # the row of the best epoch

    @classmethod
    def of(cls, trainer: Trainer) -> Self | None:
        """The one among the Trainer's callbacks."""
        return next((c for c in trainer.checkpoint_callbacks if isinstance(c, cls)), None)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = trainer.strategy.broadcast(self.folder)  # only the first process knows which run it started

    def after_epoch(self, trainer: Trainer, pl_module: LightningModule, row: Row) -> None:
        score = row.get(self.monitor, math.nan)  # nan: not validated in this epoch, or diverged
        improved = score < (self.best[self.monitor] if self.best else math.inf)
        if improved:
            self.best = row
        last, part = self.folder / "last.ckpt", self.folder / "last.part"
        trainer.save_checkpoint(part)
        if trainer.is_global_zero:
            if improved:
                second = self.folder / "best.part"
                second.unlink(missing_ok=True)
                try:
                    second.hardlink_to(part)  # a second name for the same bytes, however many they are
                except OSError:  # the file system has no such thing
                    shutil.copyfile(part, second)
                second.replace(self.folder / "best.ckpt")
            part.replace(last)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"] = self.config
        # Between two epochs Lightning has counted the second as ready, though nothing of it was done; resumed from
        # there, it would skip that epoch's batches. At the end of training the counts agree; make them agree here.
        for count in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
            count["ready"] = count["completed"]

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]
