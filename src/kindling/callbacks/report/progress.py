"""What a run shows while it runs: one line per epoch, and a bar on a terminal or in a notebook."""

import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from torch import Tensor
from tqdm.auto import tqdm

from kindling.callbacks.after_epoch import EpochListener, Row, loss_of, short
from kindling.models.base import SupervisedModule

WIDTH = 80  # of a line
REDRAW = 0.1  # seconds; reading the loss off a GPU more often would stall it
DELAY = 1.0  # seconds in which a notebook, which keeps what is printed, shows no bar: most epochs have ended by then


class EpochLines(EpochListener):
    """Prints one line per epoch."""

    def after_epoch(self, trainer: Trainer, pl_module: LightningModule, row: Row) -> None:
        if not trainer.is_global_zero:
            return
        both = {f"val/{k.partition('/')[2]}" for k in row if k.startswith("train/")}  # the rest is in metrics.csv
        shown = {k: v for k, v in row.items() if k.startswith("train/") or k in both or not (both & row.keys())}
        title, took = _title(int(row["epoch"]), trainer.max_epochs), f"  {row['epoch_time']:.1f} s"
        names = list(dict.fromkeys(k.partition("/")[2] for k in shown if "/" in k))
        while len(scores := _scores(shown, names)) > WIDTH - len(title + took) and len(names) > 1:
            names.pop()
        print(f"{title}{scores}{took}", flush=True)


class Progress(ProgressBar):
    """A bar with loss, accuracy, speed and time left."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: tqdm[Any] | None = None
        self._enabled = True
        self._losses: Tensor | float = 0.0

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.fit_loop.restarted_mid_epoch:  # that epoch won't start again
            self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._open(trainer, _title(trainer.current_epoch + 1, trainer.max_epochs), self.total_train_batches)
        self._losses = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._bar is None:
            return
        scores: Any = pl_module.scores_of("train") if isinstance(pl_module, SupervisedModule) else None
        if scores is None and (loss := loss_of(outputs)) is not None:  # a network that keeps no sums of its own
            self._losses += loss
        if self._advance(batch_idx):
            means = {"loss": float(self._losses) / (batch_idx + 1)} if scores is None else scores.so_far()
            self._bar.set_postfix({name: short(mean) for name, mean in means.items()}, refresh=True)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":  # in fit the bar is the training epoch's
            self._open(trainer, "validate", trainer.num_val_batches[0])

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._open(trainer, "test", trainer.num_test_batches[0])

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._open(trainer, "predict", trainer.num_predict_batches[0])

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if trainer.state.fn != "fit":
            self._advance(batch_idx)

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end  # type: ignore[assignment]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit":
            self._close()

    def on_test_end(self, *_: Any) -> None:
        self._close()

    on_train_epoch_end = on_predict_epoch_end = on_exception = on_test_end  # type: ignore[assignment]

    def _open(self, trainer: Trainer, title: str, batches: int | float) -> None:
        self._close()
        watched = sys.stderr.isatty() or "ipykernel" in sys.modules  # a terminal, or a notebook
        if self._enabled and trainer.is_global_zero and watched:
            total = int(batches) if batches < float("inf") else None
            delay = 0.0 if sys.stderr.isatty() else DELAY
            self._bar = tqdm(desc=title, total=total, unit="batch", leave=False, dynamic_ncols=True, delay=delay)
            self._drawn = time.monotonic() + delay

    def _advance(self, batch_idx: int) -> bool:
        """Move the bar, at most ten times a second; return whether it moved."""
        if self._bar is None or time.monotonic() - self._drawn < REDRAW:
            return False
        self._bar.update(batch_idx + 1 - self._bar.n)
        self._drawn = time.monotonic()
        return True

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _scores(row: Row, names: list[str]) -> str:
    """Of each stage, e.g. ``  train loss 0.4309 acc 0.8387  val loss 0.1955 acc 0.9900``."""
    shown = ""
    for stage in ("train", "val"):
        of_stage = [f" {name} {short(row[f'{stage}/{name}'])}" for name in names if f"{stage}/{name}" in row]
        shown += f"  {stage}{''.join(of_stage)}" if of_stage else ""
    return shown


def _title(epoch: int, epochs: int | None) -> str:
    return f"epoch {epoch:{len(str(epochs))}}/{epochs}" if epochs and epochs > 0 else f"epoch {epoch}"
