"""The moments at which all about a training batch, or epoch, is done."""

import math
import time
from collections.abc import Sequence
from typing import Any, Protocol

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from kindling.schema import matches

Row = dict[str, float]


class Told(Protocol):
    """A callback that wants to know how an epoch went."""

    def after_epoch(self, trainer: Trainer, pl_module: LightningModule, row: Row) -> None:
        """
        Args:
            row: ``epoch`` (1 is the first), ``step`` (optimizer steps so far), ``lr`` of the last step, ``epoch_time``
                in seconds with validation, ``samples_per_second`` in training without it, every metric logged under
                ``train/``, and those under ``val/`` where the epoch had a validation.
        """


class BatchTold(Protocol):
    """A callback that wants to know when Lightning has done with a batch.

    That is later than ``on_train_batch_end``: there the network's own ``on_train_batch_end``, what it logs for the step
    and a validation are still to come, and a checkpoint would lack them.
    """

    def after_batch(self, trainer: Trainer) -> None: ...


class AfterEpoch(Callback):
    """Tells other callbacks about each training epoch, in their order, when nothing of it is pending.

    That is later than ``on_train_epoch_end``: there the network has yet to log what it computes in its own
    ``on_train_epoch_end``, and the learning-rate schedulers have yet to step, so a checkpoint would lack both. It comes
    first among the Trainer's callbacks: others begin the next epoch then, or put averaged weights into the network when
    training ends, which a checkpoint of this epoch must not hold.
    """

    def __init__(self, told: Sequence[Told], batch_told: Sequence[BatchTold]) -> None:
        self.told, self.batch_told = told, batch_told
        self._row: Row | None = None
        self._validated: dict[str, float] = {}  # what the epoch's last validation logged
        self._samples = 0
        self._start = self._last_batch = time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loop = trainer.fit_loop.epoch_loop

        def on_advance_end(data_fetcher: Any) -> None:
            type(loop).on_advance_end(loop, data_fetcher)
            for callback in self.batch_told:
                callback.after_batch(trainer)

        loop.on_advance_end = on_advance_end  # type: ignore[method-assign]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finish(trainer, pl_module)
        self._validated = {}
        self._samples = 0
        self._start = self._last_batch = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._lr = trainer.optimizers[0].param_groups[0]["lr"] if trainer.optimizers else math.nan

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._samples += _samples_in(batch) * trainer.world_size
        self._last_batch = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._validated = _logged(trainer, "val/")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "lr": self._lr,
            "epoch_time": time.perf_counter() - self._start,
            "samples_per_second": self._samples / max(self._last_batch - self._start, 1e-9),
        }

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finish(trainer, pl_module)

    def _finish(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._row is None:
            return
        row, self._row = self._row | _logged(trainer, "train/") | self._validated, None
        for callback in self.told:
            callback.after_epoch(trainer, pl_module, row)

    def state_dict(self) -> dict[str, Any]:
        seconds, training = time.perf_counter() - self._start, self._last_batch - self._start
        return {"seconds": seconds, "training": training, "samples": self._samples, "validated": self._validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if not matches(state_dict["validated"], Row) or not matches(state_dict["samples"], int):
            raise ValueError(f"the epoch has {state_dict}")
        self._start = time.perf_counter() - state_dict["seconds"]
        self._last_batch = self._start + state_dict["training"]
        self._samples, self._validated = state_dict["samples"], state_dict["validated"]


def _logged(trainer: Trainer, stage: str) -> Row:
    """As float32 has them, in the fewest digits."""
    return {k: float(f"{v:.7g}") for k, v in trainer.callback_metrics.items() if k.startswith(stage)}


def short(value: float) -> str:
    """A score as lines on the screen show it."""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"


def loss_of(outputs: Any) -> Tensor | None:
    """The loss in what ``training_step`` returned, detached; None where the step was skipped."""
    loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
    return loss.detach() if isinstance(loss, Tensor) else None


def _samples_in(batch: Any) -> int:
    """Length of the first tensor in a batch, however it is nested."""
    while not isinstance(batch, Tensor):
        batch = next(iter(batch.values() if isinstance(batch, dict) else batch))
    return len(batch)
