"""Random numbers that a resumed run and an unbroken one share."""

from os import environ
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from kindling.data.loading import global_seed, seed_generators


class Reseed(Callback):
    """Seeds the generators at the start of each epoch, from the run's seed, the epoch and the process.

    Dropout and the like then draw in epoch 7 what they draw in epoch 7 of a run that was never stopped, without the
    state of every generator in the checkpoint, and draw different numbers in different processes.
    """

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        if "PL_GLOBAL_SEED" in environ:  # not with --seed_everything false
            seed = seed_generators(global_seed(), trainer.current_epoch, trainer.global_rank)
            if torch.accelerator.is_available():  # else torch would keep a stack trace for each call
                torch.manual_seed(seed)
