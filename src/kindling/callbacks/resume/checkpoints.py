"""The two checkpoints that a run keeps: the best and the last."""

import math
import time
from copy import deepcopy
from pathlib import Path
from typing import Any, Self

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from kindling import __version__
from kindling.callbacks.after_epoch import EpochListener, Row
from kindling.errors import RunError
from kindling.runs.atomic import hard_link, replace, sync

SECONDS = 1.0  # from one checkpoint between epochs to the next: to bring one to the disk takes some milliseconds


class BestAndLast(Checkpoint, EpochListener):
    """Keeps ``checkpoints/last.ckpt`` after every epoch, and ``best.ckpt`` of the epoch with the best monitored score.

    Where epochs are shorter than a second, one process alone writes them once a second, and at the end, however that
    comes: only a power cut, or a kill that no program can answer, costs a second of the training.

    Until training ends, ``previous.ckpt`` is the last checkpoint but one, in case the last one can't be read. Without
    that file, training has ended.

    Lightning's ``ModelCheckpoint`` saves before the learning-rate schedulers step, calls the epoch that improved last
    "last", and stores absolute paths, so that a run's folder can't be moved.

    Args:
        folder: The run's folder.
        monitor: Name of the score; None for ``val/loss`` if the network logs that.
        config: Options of the run, as plain data; stored in each checkpoint, which is then enough to load the run.
        every: Steps from one checkpoint within an epoch to the next; None for none.
        mode: ``min`` if a low score is good, ``max`` if a high one is.
    """

    save_top_k = 1  # as for Lightning's loggers with ``log_model``, which upload the files named below

    def __init__(
        self,
        folder: Path,
        monitor: str | None,
        config: dict[str, Any],
        every: int | None = None,
        mode: str = "min",
    ) -> None:
        self.folder = folder / "checkpoints"
        self.monitor = monitor or "val/loss"
        self.required = monitor is not None
        self.config = config
        self.every = every
        self.mode = mode
        self.best: Row | None = None  # the row of the best epoch
        self.current_score = math.nan
        self.saved = 0  # optimizer steps that the last checkpoint has seen
        self._written = 0.0  # when it was, in seconds of a clock
        self._kept: dict[str, dict[str, Any]] = {}  # contents of last.ckpt and best.ckpt that are yet to be written

    @classmethod
    def of(cls, trainer: Trainer) -> Self | None:
        """The one among the Trainer's callbacks."""
        return next((c for c in trainer.checkpoint_callbacks if isinstance(c, cls)), None)

    @property
    def best_model_path(self) -> str:
        return str(self.folder / "best.ckpt")

    @property
    def best_model_score(self) -> float:
        return self.best[self.monitor] if self.best else math.nan

    @property
    def last_model_path(self) -> str:
        return str(self.folder / "last.ckpt")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = trainer.strategy.broadcast(self.folder)  # only the first process knows which run it started

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self.folder.mkdir(exist_ok=True)
        self.saved = trainer.global_step
        last, previous = self.folder / "last.ckpt", self.folder / "previous.ckpt"
        if not last.is_file() and not trainer.fit_loop.restarted_mid_epoch:
            self.save(trainer)  # so that a training that is stopped within its first epoch can be resumed
            self._written = 0.0  # that epoch is written, however short it is
        if trainer.is_global_zero and last.is_file() and not previous.is_file():
            hard_link(last, previous)  # from now on the run counts as unfinished

    def after_batch(self, trainer: Trainer) -> None:
        if self.every and trainer.global_step - self.saved >= self.every and may_stop(trainer):
            self.save(trainer)

    def after_epoch(self, trainer: Trainer, pl_module: LightningModule, row: Row) -> None:
        """
        Raises:
            RunError: The epoch has scores of that stage, but the monitored one is not among them.
        """
        stage = "train/" if self.monitor.startswith("train/") else "val/"
        scores = [name for name in row if name.startswith(stage)]
        if self.required and scores and self.monitor not in row and self.best is None:
            raise RunError(f"--monitor {self.monitor}: no score has that name; there are {', '.join(scores)}")
        self.current_score = row.get(self.monitor, math.nan)  # nan: not validated in this epoch, or diverged
        sign = -1 if self.mode == "max" else 1
        improved = sign * self.current_score < (sign * self.best_model_score if self.best else math.inf)
        if improved:
            self.best = row
        if trainer.world_size > 1 or time.monotonic() - self._written >= SECONDS:
            self.save(trainer, improved)
        else:
            self._keep(deepcopy(trainer._checkpoint_connector.dump_checkpoint()), improved)

    def after_last_epoch(self, trainer: Trainer) -> None:
        self._write_kept(trainer)

    def on_exception(self, trainer: Trainer, *_: Any) -> None:
        self._write_kept(trainer)

    def save(self, trainer: Trainer, improved: bool = False) -> None:
        """Replace ``last.ckpt``, and ``best.ckpt`` if this is the best yet; all processes have to call it."""
        self._keep(trainer._checkpoint_connector.dump_checkpoint(), improved)
        self._write_kept(trainer)

    def _keep(self, content: dict[str, Any], improved: bool) -> None:
        self.saved = content["global_step"]
        self._kept |= {"last": content} | ({"best": content} if improved else {})

    def _write_kept(self, trainer: Trainer) -> None:
        kept, self._kept = self._kept, {}
        if not kept:
            return
        self._written = time.monotonic()
        new, last = self.folder / "new.ckpt", self.folder / "last.ckpt"
        if trainer.is_global_zero:
            for listener in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(listener, EpochListener):
                    listener.before_write(trainer)
        if kept.get("best", kept["last"]) is not kept["last"]:
            trainer.strategy.save_checkpoint(kept["best"], self.folder / "best.ckpt")
        trainer.strategy.save_checkpoint(kept["last"], new)
        trainer.strategy.barrier("BestAndLast")
        if trainer.is_global_zero:
            if kept.get("best") is kept["last"]:
                hard_link(new, self.folder / "best.ckpt")
            if last.is_file():
                hard_link(last, self.folder / "previous.ckpt")
            replace(new, last)
            sync(self.folder)
            for logger in trainer.loggers:
                logger.after_save_checkpoint(self)  # type: ignore[arg-type]

    # not ``state_dict``: Lightning warns about each callback with one that a later command doesn't have
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint |= {"config": self.config, "best": self.best, "kindling_version": __version__}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        best = checkpoint.get("best")
        self.best = best if best and self.monitor in best else None  # another score may be monitored from now on


def may_stop(trainer: Trainer) -> bool:
    """Whether a checkpoint after this batch is enough to resume training from.

    It is not while gradients are being accumulated, and before a validation, which Lightning would leave out.
    """
    batches = trainer.fit_loop.batch_idx + 1
    every = trainer.val_check_batch or math.inf
    counted = batches if trainer.check_val_every_n_epoch is not None else trainer.fit_loop.total_batch_idx + 1
    stepped = batches % trainer.accumulate_grad_batches == 0
    return stepped and counted % every != 0 and not trainer.is_last_batch and not trainer.should_stop
