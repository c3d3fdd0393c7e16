"""Callbacks that are called when everything about a training batch, or a training epoch, is done."""

import math
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils._pytree import tree_leaves

Row = dict[str, float]


class EpochListener(Callback):
    """A callback with two more hooks, which come when nothing of a batch or an epoch is pending.

    Lightning's own hooks come too early for a checkpoint. After ``on_train_batch_end`` the network may still log, and
    a validation may follow; after ``on_train_epoch_end`` the learning-rate schedulers have yet to step.
    """

    def after_batch(self, trainer: Trainer) -> None:
        """Called after each training batch."""

    def after_epoch(self, trainer: Trainer, pl_module: LightningModule, row: Row) -> None:
        """Called after each training epoch.

        Args:
            row: ``epoch`` (the first is 1), ``step`` (optimizer steps so far), ``lr`` of the last step, ``epoch_time``
                in seconds with validation, ``samples_per_second`` in training without it, every metric logged under
                ``train/``, and those under ``val/`` if the epoch had a validation.
        """

    def after_last_epoch(self, trainer: Trainer) -> None:
        """Called when training ends by itself, after ``after_epoch`` and before any other callback learns of it."""

    def before_write(self, trainer: Trainer) -> None:
        """Called in the first process before a checkpoint is written to the disk."""


class EpochNotifier(Callback):
    """Calls the listeners among the Trainer's callbacks, in their order.

    It has to be the first callback: when training ends, others put averaged weights into the network, which a
    checkpoint of the last epoch must not hold.
    """

    def __init__(self) -> None:
        self._row: Row | None = None  # of an epoch that the listeners don't know yet
        self._validated: Row = {}  # what the last validation of this epoch logged
        self._samples = 0
        self._start = self._last_batch = time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        self._listeners = [callback for callback in callbacks if isinstance(callback, EpochListener)]
        loop = trainer.fit_loop.epoch_loop

        def on_advance_end(data_fetcher: Any) -> None:
            type(loop).on_advance_end(loop, data_fetcher)
            for listener in self._listeners:
                listener.after_batch(trainer)

        loop.on_advance_end = on_advance_end  # type: ignore[method-assign]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._notify(trainer, pl_module)
        self._validated = {}
        self._samples = 0
        self._start = self._last_batch = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self._lr = trainer.optimizers[0].param_groups[0]["lr"] if trainer.optimizers else math.nan

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        samples = next((len(part) for part in tree_leaves(batch) if isinstance(part, Tensor)), 0)
        self._samples += samples * trainer.world_size
        self._last_batch = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._validated = _logged(trainer, "val/")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "lr": rounded(self._lr),
            "epoch_time": rounded(time.perf_counter() - self._start, 4),
            "samples_per_second": rounded(self._samples / max(self._last_batch - self._start, 1e-9), 4),
        }

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._notify(trainer, pl_module)
        for listener in self._listeners:
            listener.after_last_epoch(trainer)

    def _notify(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._row is None:
            return
        row, self._row = self._row | _logged(trainer, "train/") | self._validated, None
        for listener in self._listeners:
            listener.after_epoch(trainer, pl_module, row)

    # not ``state_dict``: Lightning warns about each callback with one that a later command doesn't have
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["validated"] = self._validated

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._validated = checkpoint.get("validated", {})


def _logged(trainer: Trainer, stage: str) -> Row:
    return {k: rounded(v) for k, v in trainer.callback_metrics.items() if k.startswith(stage)}


def rounded(value: Tensor | float, digits: int = 7) -> float:
    """In as many digits as it means; a float32 has seven."""
    return float(f"{value:.{digits}g}")


def short(value: float) -> str:
    """A score as lines on the screen show it."""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"


def loss_of(outputs: Any) -> Tensor | None:
    """The loss in what ``training_step`` returned, detached; None if the step was skipped."""
    loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
    return loss.detach() if isinstance(loss, Tensor) else None
