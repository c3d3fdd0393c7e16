"""A user's callbacks, for processes that are measured from outside: they note the time in files."""

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

FIRST_STEP, EPOCH_STARTS = Path("first_step"), Path("epoch_starts")


class FirstStep(Callback):
    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step == 1:
            FIRST_STEP.write_text(repr(time.time()))


class EpochStarts(Callback):
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            with EPOCH_STARTS.open("a") as file:
                print(time.time(), file=file)
