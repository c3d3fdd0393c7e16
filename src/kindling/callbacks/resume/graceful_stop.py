"""What ends a training before its time: a signal, or a loss that is NaN or infinite."""

import math
import signal
import sys
import threading
from itertools import islice
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from kindling.callbacks.after_epoch import EpochListener
from kindling.callbacks.resume.checkpoints import BestAndLast, may_stop
from kindling.errors import ENDING_SIGNALS, Diverged, Stopped

READ_EVERY = 50  # steps; reading a loss waits for the accelerator
DIVERGED = 1000  # not the number of any signal


class GracefulStop(EpochListener):
    """Stops training after a signal, when the step is done and a checkpoint is saved, or when the loss is not finite.

    A second Ctrl-C stops at once. All processes stop after the same step, whichever of them got the signal: each sends
    a number to the others after every step, and reads theirs one step later, so that none has to wait.
    """

    def __init__(self) -> None:
        self._received = 0  # the signal that this process got
        self._signal = 0  # the signal that all processes know of
        self._problem = ""  # with the loss of this process
        self._exchange: tuple[Any, Tensor] | None = None  # the number that is being sent and received
        self._unread: list[tuple[Tensor, int, int, float]] = []  # losses not read yet: of which step, batch and rate
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._prints = trainer.is_global_zero
        if threading.current_thread() is threading.main_thread():  # Python allows handlers in no other thread
            # not earlier: there is nothing to save yet, and the command ends at once
            self._handlers = {number: signal.signal(number, self._receive) for number in ENDING_SIGNALS}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == self._received == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = number
        if number == signal.SIGINT and self._prints:
            print("\nCtrl-C: saving after this step; press again to stop at once", file=sys.stderr, flush=True)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if trainer.world_size == 1 and loss.device.type == "cpu" and math.isfinite(loss.item()):
            return
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        self._unread.append((loss.detach(), trainer.global_step + 1, trainer.fit_loop.batch_idx, lr))
        every = 1 if loss.device.type == "cpu" else READ_EVERY
        if trainer.world_size == 1 and len(self._unread) >= every:
            self._check(trainer)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self._check(trainer, read=False)
        if trainer.world_size > 1:
            self._problem = self._read_losses(trainer)
            number = torch.tensor(DIVERGED if self._problem else self._received, device=trainer.strategy.root_device)
            self._exchange = dist.all_reduce(number, dist.ReduceOp.MAX, async_op=True), number

    def after_batch(self, trainer: Trainer) -> None:
        if self._signal and may_stop(trainer):
            if keeper := BestAndLast.of(trainer):
                keeper.save(trainer)
            raise Stopped(128 + self._signal)

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        self._check(trainer)
        if self._signal:  # the epoch before has just been kept
            raise Stopped(128 + self._signal)

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        self._check(trainer)

    on_save_checkpoint = on_train_epoch_end  # type: ignore[assignment]

    def on_train_end(self, *_: Any) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    on_exception = on_train_end  # type: ignore[assignment]

    def _check(self, trainer: Trainer, read: bool = True) -> None:
        """
        Args:
            read: Whether to read the losses of a single process, which waits for the accelerator.

        Raises:
            Diverged: A loss was not finite.
        """
        problem = ""
        if trainer.world_size == 1:
            self._signal, problem = self._received, self._read_losses(trainer) if read else ""
        elif self._exchange is not None:
            (work, number), self._exchange = self._exchange, None
            work.wait()
            self._signal = int(number)
            if self._signal == DIVERGED:
                problems: list[Any] = [None] * trainer.world_size
                dist.all_gather_object(problems, self._problem)
                problem = next(filter(None, problems))
        if problem:
            raise Diverged(problem)

    def _read_losses(self, trainer: Trainer) -> str:
        """What to say about the first loss that is not finite; empty if all are."""
        steps, self._unread = self._unread, []
        losses = torch.stack([loss for loss, *_ in steps]).tolist() if steps else []
        finite = [math.isfinite(loss) for loss in losses]
        if all(finite):
            return ""
        loss, step, batch_idx, lr = steps[finite.index(False)]
        return (
            f"the loss is {loss.item()} at step {step} (epoch {trainer.current_epoch + 1}, learning rate {lr:g}), "
            f"{_samples(trainer, batch_idx)}: see whether these are what they should be, or train "
            "anew with a lower --optimizer.lr, or with --trainer.gradient_clip_val 1; checkpoints from before are kept"
        )


def _samples(trainer: Trainer, batch_idx: int) -> str:
    """Which samples a batch of this epoch is made of, counted from 0 in the training set."""
    loader: Any = trainer.train_dataloader
    # only a loader that can be resumed yields the same batches again, and a stream has no indices
    if not (hasattr(loader, "load_state_dict") and hasattr(loader, "batch_sampler")):
        return f"batch {batch_idx + 1} of the epoch"
    indices = next(islice(iter(loader.batch_sampler), batch_idx, None))
    return f"training samples {', '.join(map(str, indices))}"
