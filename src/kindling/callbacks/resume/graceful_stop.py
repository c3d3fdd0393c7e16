"""What ends a training before its time: a signal, or a loss that is no number."""

import math
import signal
import sys
import threading
from itertools import islice
from types import FrameType
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from kindling.callbacks.resume.checkpoints import BestAndLast, may_stop
from kindling.data.loading import Batches
from kindling.errors import RunError, Stopped

# Ctrl-C, a polite kill, and what SLURM can be told to send some time before its kill
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]
LOOK = 50  # steps after which an accelerator's losses are read, for which it has to be waited
DIVERGED = 1000  # no signal's number


class Step(NamedTuple):
    """One step of this process; the first is 1."""

    number: int
    batch_idx: int
    lr: float
    loss: Tensor


class GracefulStop(Callback):
    """Stops a training where a signal asks for it, after this step and a checkpoint, or where the loss is not finite.

    A second Ctrl-C stops at once. All processes stop after the same step, whichever of them was told: each tells the
    others after every step, and hears what they said after the next, so that none has to wait.
    """

    def __init__(self) -> None:
        self._told = 0  # signal that this process was sent
        self._signal = 0  # that all agree on
        self._said = ""  # of this process's loss, to the others
        self._asked: tuple[Any, Tensor] | None = None
        self._steps: list[Step] = []  # whose losses were not looked at yet
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._speaks = trainer.is_global_zero
        if threading.current_thread() is not threading.main_thread():
            return  # Python tells no other thread
        # not before: there is nothing to save yet, and the command ends at once
        self._handlers = {number: signal.signal(number, self._note) for number in SIGNALS}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == self._told == signal.SIGINT:
            raise KeyboardInterrupt
        self._told = number
        if number == signal.SIGINT and self._speaks:
            print("\nCtrl-C: stopping after this step, saved (once more: now)", file=sys.stderr, flush=True)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        at_once = trainer.world_size == 1 and loss.device.type == "cpu"
        if at_once and math.isfinite(loss.item()):
            return
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self._steps.append(Step(trainer.global_step + 1, trainer.fit_loop.batch_idx, rate, loss.detach()))
        if at_once or (trainer.world_size == 1 and len(self._steps) == LOOK):
            self._look(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.world_size == 1:
            self._signal = self._told
        else:
            self._look(trainer)
            self._said = self._diverged(trainer)
            code = torch.tensor(DIVERGED if self._said else self._told, device=trainer.strategy.root_device)
            self._asked = dist.all_reduce(code, dist.ReduceOp.MAX, async_op=True), code

    def after_batch(self, trainer: Trainer) -> None:
        if self._signal and may_stop(trainer):
            keeper = BestAndLast.of(trainer)
            if keeper:
                keeper.save(trainer)
            raise Stopped(128 + self._signal)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer)
        if self._signal:  # the epoch before has just been saved
            raise Stopped(128 + self._signal)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._look(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.on_train_end(trainer, pl_module)

    def _look(self, trainer: Trainer) -> None:
        """
        Raises:
            RunError: A loss was not finite.
        """
        if trainer.world_size == 1:
            self._signal, diverged = self._told, self._diverged(trainer)
        elif self._asked is None:
            return
        else:
            (work, code), self._asked = self._asked, None
            work.wait()
            self._signal, diverged = int(code), ""
            if self._signal == DIVERGED:
                said: list[Any] = [None] * trainer.world_size
                dist.all_gather_object(said, self._said)
                diverged = next(filter(None, said))
        if diverged:
            raise RunError(diverged)

    def _diverged(self, trainer: Trainer) -> str:
        """What there is to say of the first loss that is not finite; empty if all are."""
        steps, self._steps = self._steps, []
        finite = torch.stack([step.loss for step in steps]).isfinite().tolist() if steps else []
        if all(finite):
            return ""
        step = steps[finite.index(False)]
        return (
            f"the loss is {step.loss.item()} at step {step.number} (epoch {trainer.current_epoch + 1}, learning rate "
            f"{step.lr:g}), {_samples(trainer, step.batch_idx)}: see whether these are what they should be, or train "
            "anew with a lower --optimizer.lr, or with --trainer.gradient_clip_val 1; checkpoints from before are kept"
        )


def _samples(trainer: Trainer, batch_idx: int) -> str:
    """Which samples a batch of this epoch is made of, counted from 0 in the training set."""
    loader = trainer.train_dataloader
    if not isinstance(loader, Batches):
        return f"batch {batch_idx + 1} of the epoch"
    indices = next(islice(iter(loader.batch_sampler or ()), batch_idx, None))
    return f"training samples {', '.join(map(str, indices))}"
