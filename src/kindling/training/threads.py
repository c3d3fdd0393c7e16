"""How many threads compute a batch on the CPU: as many as its arithmetic keeps busy."""

import os
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from kindling.models.base import SupervisedModule

CHOSEN_BY_USER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
USUAL = torch.get_num_threads()  # one a core, unless a variable says otherwise
# Floating-point operations of a batch's forward pass that keep a thread busy. Two threads against one on two cores, in
# steps per second: Net 0.9 with 53e6 (a batch of 64), 1.3 with 213e6; NeuralNetwork 0.6 with 86e6, 1.1 with 1,369e6
WORTH_A_THREAD = 200e6


class Threads(Callback):
    """Gives torch fewer threads than there are cores where a batch is small.

    Threads that wait for each other cost more than they save there, most of all beside another busy program. The count
    follows from network and batch size alone, so the same seed gives the same weights. What the user chose stands, and
    several processes share the cores as Lightning deals them out.
    """

    def __init__(self) -> None:
        self._before: int | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._before is None:
            self._before = torch.get_num_threads()
            if isinstance(pl_module, SupervisedModule) and trainer.world_size == 1:
                self._choose(trainer, pl_module, batch)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.on_train_batch_start(trainer, pl_module, batch, batch_idx)

    on_test_batch_start = on_predict_batch_start = on_validation_batch_start

    def _choose(self, trainer: Trainer, network: SupervisedModule, batch: Any) -> None:
        chosen = self._before != USUAL or any(name in os.environ for name in CHOSEN_BY_USER)
        if not chosen and isinstance(trainer.accelerator, CPUAccelerator):
            x = batch if isinstance(batch, Tensor) else batch[0]
            # not of this batch: a resumed training may begin with the last one of an epoch, which is smaller
            size = getattr(trainer.datamodule, "batch_size", len(x)) if trainer.state.fn == "fit" else len(x)  # type: ignore[attr-defined]
            torch.set_num_threads(count(flops(network, x[:1]) * size))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._before is not None:
            torch.set_num_threads(self._before)


def count(flops: float) -> int:
    """
    Args:
        flops: Floating-point operations of a batch's forward pass.
    """
    return max(1, min(USUAL, int(flops / WORTH_A_THREAD) + 1))


def flops(network: SupervisedModule, sample: Tensor) -> int:
    """Floating-point operations of one sample's forward pass.

    Args:
        sample: An input (1, ...).
    """
    training = [module for module in network.modules() if module.training]
    with isolate_rng(), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(sample)
    for module in training:
        module.training = True
    return counter.get_total_flops()
