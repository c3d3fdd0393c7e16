"""What Lightning's checkpoints lack for a training to go on from them as if it had never stopped."""

import random
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from kindling.callbacks.gather import gather
from kindling.data.recipe import Batches
from kindling.errors import UsageError
from kindling.models.scores import RunningScores
from kindling.models.supervised import SupervisedModule


class UnderWay(Callback):
    """Keeps in a checkpoint from within an epoch what each process has: its random numbers and its scores so far."""

    def __init__(self) -> None:
        self._states: list[dict[str, Any]] | None = None
        self._resumed = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        epochs: Any = trainer.fit_loop.epoch_progress.current
        if epochs.started > epochs.processed:
            scores = _scores(pl_module)
            own = {"random": _random_state(), "scores": scores.under_way() if scores else None}
            if isinstance(trainer.train_dataloader, Batches):
                own["batches"] = trainer.train_dataloader.state_dict()
            checkpoint["under_way"] = gather(trainer, own)
        elif epochs.processed == epochs.completed:
            # Between two epochs Lightning has counted the second as ready, though nothing of it was done; resumed from
            # there, it would skip that epoch's batches. At the end of training the counts agree; make them agree here.
            loop = checkpoint["loops"]["fit_loop"]
            for count in loop["epoch_progress"].values():
                count["ready"] = count["completed"]
            loop["state_dict"].pop("combined_loader", None)  # a new epoch starts with its first batch

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._states, self._resumed = checkpoint.get("under_way"), True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loop = trainer.fit_loop
        if not self._resumed or not loop.restarted_mid_epoch:
            # with a limit of steps, Lightning takes every checkpoint for one from within an epoch
            loop.on_iteration_done()
            loop.epoch_loop.on_iteration_done()
            self._resumed = False
        elif self._states is not None:
            if len(self._states) != trainer.world_size:
                raise UsageError(
                    f"--trainer.devices: the checkpoint is from within an epoch of {len(self._states)} processes, "
                    f"which {trainer.world_size} can't go on with"
                )
            own = self._states[trainer.global_rank]
            _set_random_state(own["random"])
            if "batches" in own:  # Lightning does so too, unless configure_optimizers asked it for the number of steps
                cast(Batches, trainer.train_dataloader).load_state_dict(own["batches"])
            scores = _scores(pl_module)
            if scores:
                scores.go_on(own["scores"])

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._resumed:  # else this whole epoch would count as a restart, at whose end no plateau is looked for
            trainer.fit_loop.on_iteration_done()
            self._resumed = False


def _scores(pl_module: LightningModule) -> RunningScores | None:
    scores = pl_module.scores_of("train") if isinstance(pl_module, SupervisedModule) else None
    return scores if isinstance(scores, RunningScores) else None


def _random_state() -> dict[str, Any]:
    """Of every generator, in plain data and tensors."""
    state: dict[str, Any] = {"python": random.getstate(), "torch": torch.get_rng_state()}
    name, keys, *rest = cast(tuple[Any, ...], np.random.get_state())
    state["numpy"] = (name, keys.tolist(), *rest)
    if torch.accelerator.is_available():
        state["device"] = torch.get_device_module().get_rng_state()
    return state


def _set_random_state(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if "device" in state and torch.accelerator.is_available():
        torch.get_device_module().set_rng_state(state["device"])
