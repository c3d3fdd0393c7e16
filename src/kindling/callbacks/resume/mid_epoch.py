"""What Lightning's checkpoints lack for a training to go on from them as if it had never stopped."""

import random
from typing import Any, cast

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging
from lightning.pytorch.plugins import DoublePrecision
from lightning.pytorch.trainer.connectors.logger_connector.result import _Metadata, _ResultMetric, _Sync
from torch import Tensor, nn
from torchmetrics import Metric

from kindling.callbacks.gather import gather
from kindling.data.loading import Batches
from kindling.errors import UsageError
from kindling.tasks.scores import Scores

CPU = torch.device("cpu")


class MidEpochState(Callback):
    """Keeps in a checkpoint what the Trainer knows, and within an epoch what each process has gathered since it began.

    That is its random numbers, the sums of ``self.log`` and of torchmetrics, and the network's buffers that are not
    persistent.
    """

    def __init__(self) -> None:
        self._trainer: dict[str, Any] = {}
        self._states: list[dict[str, Any]] | None = None
        self._own: dict[str, Any] | None = None
        self._resumed = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if isinstance(trainer.precision_plugin, DoublePrecision):
            pl_module.double()  # Lightning does so when it has loaded the weights, rounded to what the network had then
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, StochasticWeightAveraging):
                # It has one more epoch, without training, where a network has batch norm. That epoch is the only one
                # whose validation and checkpoints see the averaged weights, so all networks get it.
                callback.pl_module_contains_batch_norm = lambda module: True  # type: ignore[method-assign,assignment]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["trainer"] = {
            "should_stop": trainer.should_stop,
            "callback_metrics": move_data_to_device(dict(trainer.callback_metrics), CPU),
            "logged_metrics": move_data_to_device(dict(trainer.logged_metrics), CPU),
            "averaged": [move_data_to_device(_buffers(average), CPU) for average in _averages(trainer)],
        }
        epochs: Any = trainer.fit_loop.epoch_progress.current
        if epochs.started > epochs.processed:
            own = {"random": _random_state(), "accumulate_grad_batches": trainer.accumulate_grad_batches}
            own |= {"buffers": _buffers(pl_module), "metrics": _metrics(pl_module), "logged": _logged(trainer)}
            if isinstance(trainer.train_dataloader, Batches):
                own["batches"] = trainer.train_dataloader.state_dict()
            checkpoint["mid_epoch"] = gather(trainer, move_data_to_device(own, CPU))
        elif epochs.processed == epochs.completed:
            # Between two epochs Lightning has counted the second as ready, though nothing of it was done; resumed from
            # there, it would skip that epoch's batches. At the end of training the counts agree; make them agree here.
            loop = checkpoint["loops"]["fit_loop"]
            for count in loop["epoch_progress"].values():
                count["ready"] = count["completed"]
            loop["state_dict"].pop("combined_loader", None)  # a new epoch starts with its first batch

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._trainer, self._states = checkpoint.get("trainer", {}), checkpoint.get("mid_epoch")
        self._resumed = True
        trainer.num_sanity_val_steps = 0  # a validation that the unbroken training does not have at this point

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loop = trainer.fit_loop
        if self._trainer:
            # where training may end at once, it was over, and the user asks for more
            trainer.should_stop = self._trainer["should_stop"] and not loop._can_stop_early
            for average, buffers in zip(_averages(trainer), self._trainer["averaged"], strict=False):
                _set_buffers(average, move_data_to_device(buffers, pl_module.device))
            for name in ("callback_metrics", "logged_metrics"):  # schedulers and callbacks look at those from before
                getattr(trainer, name).update(move_data_to_device(self._trainer[name], pl_module.device))
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
            self._own = self._states[trainer.global_rank]
            _set_random_state(self._own["random"])
            if "batches" in self._own:  # Lightning does so too, unless configure_optimizers asked for the steps' number
                cast(Batches, trainer.train_dataloader).load_state_dict(self._own["batches"])

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._resumed:  # else this whole epoch would count as a restart, at whose end no plateau is looked for
            trainer.fit_loop.on_iteration_done()
            self._resumed = False
        if self._own is not None:
            own, self._own = move_data_to_device(self._own, pl_module.device), None
            trainer.accumulate_grad_batches = own["accumulate_grad_batches"]
            _set_buffers(pl_module, own["buffers"])
            _set_metrics(pl_module, own["metrics"])
            _set_logged(trainer, pl_module, own["logged"])


def _averages(trainer: Trainer) -> list[nn.Module]:
    """Averaged networks of Lightning's callbacks."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    averages = (callback._average_model for callback in callbacks if isinstance(callback, WeightAveraging))
    return [average for average in averages if average is not None]


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    """Those that are in no checkpoint, as they are not persistent."""
    return {
        f"{path}.{name}": buffer
        for path, part in module.named_modules()
        for name, buffer in part.named_buffers(recurse=False)
        if name in part._non_persistent_buffers_set
    }


def _set_buffers(module: nn.Module, buffers: dict[str, Tensor]) -> None:
    there = _buffers(module)
    if buffers.keys() != there.keys():
        names = ", ".join(sorted(buffers.keys() ^ there.keys()))
        raise UsageError(f"the checkpoint is from within an epoch of a network with other buffers: {names}")
    for name, buffer in there.items():
        buffer.data = buffers[name]


def _metrics(pl_module: LightningModule) -> dict[str, dict[str, Any]]:
    """State of each torchmetrics module in the network."""
    return {
        name: {
            "state": metric.metric_state,
            "updates": metric._update_count,
            "held": metric.held if isinstance(metric, Scores) else [],
        }
        for name, metric in pl_module.named_modules()
        if isinstance(metric, Metric)
    }


def _set_metrics(pl_module: LightningModule, states: dict[str, dict[str, Any]]) -> None:
    for name, kept in states.items():
        metric = cast(Metric, pl_module.get_submodule(name))
        for attribute, value in kept["state"].items():
            setattr(metric, attribute, value)
        metric._update_count = kept["updates"]
        if isinstance(metric, Scores):
            metric.held = kept["held"]


def _logged(trainer: Trainer) -> dict[str, dict[str, Any]]:
    """What ``self.log`` has summed up in this epoch."""
    kept = {}
    for key, result in trainer.fit_loop.epoch_loop._results.items():
        meta = {name: value for name, value in vars(result.meta).items() if name not in ("reduce_fx", "_sync")}
        sync = {"_should": result.meta.sync.should, "rank_zero_only": result.meta.sync.rank_zero_only}
        state = result.metric_state | {"has_reset": result.has_reset, "_update_count": result._update_count}
        state["_forward_cache"] = result._forward_cache
        meta["reduce_fx"] = result.meta.reduce_fx.__name__
        kept[key] = {"meta": meta, "sync": sync, "is_tensor": result.is_tensor, "state": state}
    return kept


def _set_logged(trainer: Trainer, pl_module: LightningModule, logged: dict[str, dict[str, Any]]) -> None:
    for key, kept in logged.items():
        meta = _Metadata(**kept["meta"])
        meta.sync = _Sync(fn=trainer.strategy.reduce, **kept["sync"])
        result = _ResultMetric(meta, kept["is_tensor"]).to(pl_module.device)
        if not kept["is_tensor"]:
            result.value = pl_module.get_submodule(kept["meta"]["metric_attribute"])
        for name, value in kept["state"].items():
            setattr(result, name, value)
        trainer.fit_loop.epoch_loop._results[key] = result
    trainer._logger_connector._first_loop_iter = False  # in the first iteration Lightning starts all sums anew


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
