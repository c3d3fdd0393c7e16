"""The two checkpoints that a run keeps."""

import math
from pathlib import Path
from typing import Any, Self

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from kindling.callbacks.after_epoch import Row
from kindling.runs.atomic import hard_link, sync
from kindling.schema import matches


class BestAndLast(Checkpoint):
    """Keeps ``checkpoints/last.ckpt`` after every epoch, and ``best.ckpt`` where the monitored score was lowest.

    Until the training's end ``previous.ckpt`` is the last one's forerunner, in case that one can't be read. Where it is
    gone, the training has ended.

    Lightning's ``ModelCheckpoint`` saves before the learning-rate schedulers step, takes for "last" the epoch that
    improved last, and stores absolute paths, so that a run folder can't be moved.

    Args:
        folder: The run's folder.
        monitor: Name of the score.
        config: Options of the run, as plain data; stored in each checkpoint, which so stands for the whole run.
        every: Steps from one checkpoint within an epoch to the next; None for none.
        mode: ``min`` where low scores are good, ``max`` where high ones are.
    """

    def __init__(
        self, folder: Path, monitor: str, config: dict[str, Any], every: int | None = None, mode: str = "min"
    ) -> None:
        self.folder = folder / "checkpoints"
        self.monitor = monitor
        self.config = config
        self.every = every
        self.sign = -1 if mode == "max" else 1
        self.best: Row | None = None  # the row of the best epoch
        self.saved = 0  # steps that the last checkpoint has seen

    @classmethod
    def of(cls, trainer: Trainer) -> Self | None:
        """The one among the Trainer's callbacks."""
        return next((c for c in trainer.checkpoint_callbacks if isinstance(c, cls)), None)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = trainer.strategy.broadcast(self.folder)  # only the first process knows which run it started

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self.folder.mkdir(exist_ok=True)
        self.saved = trainer.global_step
        last, previous = self.folder / "last.ckpt", self.folder / "previous.ckpt"
        if not last.is_file() and not trainer.fit_loop.restarted_mid_epoch:
            self.save(trainer)  # a training that ends within its first epoch can go on as well
        if trainer.is_global_zero and last.is_file() and not previous.is_file():
            hard_link(last, previous)  # which says that a training is under way

    def after_batch(self, trainer: Trainer) -> None:
        if self.every and trainer.global_step - self.saved >= self.every and may_stop(trainer):
            self.save(trainer)

    def after_epoch(self, trainer: Trainer, pl_module: LightningModule, row: Row) -> None:
        score = row.get(self.monitor, math.nan)  # nan: not validated in this epoch, or diverged
        improved = self.sign * score < (self.sign * self.best[self.monitor] if self.best else math.inf)
        if improved:
            self.best = row
        self.save(trainer, improved)

    def save(self, trainer: Trainer, improved: bool = False) -> None:
        """Replace ``last.ckpt``, and ``best.ckpt`` if this is the best yet; all processes have to call it."""
        self.saved = trainer.global_step
        new, last = self.folder / "new.ckpt", self.folder / "last.ckpt"
        trainer.save_checkpoint(new)
        if trainer.is_global_zero:
            if improved:
                hard_link(new, self.folder / "best.ckpt")
            if last.is_file():
                hard_link(last, self.folder / "previous.ckpt")
            new.replace(last)
            sync(self.folder)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"] = self.config

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        best = state_dict["best"]
        if not (best is None or (matches(best, Row) and self.monitor in best)):
            raise ValueError(f"the best epoch is {best}")
        self.best = best


def may_stop(trainer: Trainer) -> bool:
    """Whether a training can go on after this batch from what a checkpoint holds.

    It can't where gradients have yet to be added up, and Lightning would leave out a validation that comes next.
    """
    batches = trainer.fit_loop.batch_idx + 1
    every = trainer.val_check_batch or math.inf
    counted = batches if trainer.check_val_every_n_epoch is not None else trainer.fit_loop.total_batch_idx + 1
    stepped = batches % trainer.accumulate_grad_batches == 0
    return stepped and counted % every != 0 and not trainer.is_last_batch and not trainer.should_stop
