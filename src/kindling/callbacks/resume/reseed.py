"""Random numbers that a resumed run and an unbroken one share."""

import random
from os import environ

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class Reseed(Callback):
    """Seeds anew at the start of each epoch, from the run's seed, the epoch and the process.

    Dropout and the like then draw in epoch 7 what they draw in epoch 7 of a run that was never stopped, without the
    state of every generator in the checkpoint, and draw different numbers in different processes.
    """

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if "PL_GLOBAL_SEED" not in environ:  # --seed_everything false
            return
        entropy = (int(environ["PL_GLOBAL_SEED"]), trainer.current_epoch, trainer.global_rank)
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        if torch.accelerator.is_available():
            torch.manual_seed(seed)
        else:  # there torch.manual_seed would keep a stack trace for each call, to seed a GPU by that it may yet find
            torch.default_generator.manual_seed(seed)
