"""Callbacks for processes that are measured from outside: they write the time of an event into a file."""

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

FIRST_STEP, EPOCH_STARTS = Path("first_step"), Path("epoch_starts")


class TimeOfFirstStep(Callback):
    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 1:
            FIRST_STEP.write_text(repr(time.time()))


class TimesOfEpochStarts(Callback):
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            with EPOCH_STARTS.open("a") as file:
                print(time.time(), file=file)
