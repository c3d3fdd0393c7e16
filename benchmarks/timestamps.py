"""Callbacks for processes that are measured from outside: they write the time of an event into a file."""

import time
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

EPOCH_STARTS = Path("epoch_starts")


class TimesOfEpochStarts(Callback):
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            with EPOCH_STARTS.open("a", encoding="utf-8") as file:
                print(time.time(), file=file)
