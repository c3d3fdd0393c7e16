"""What Lightning's checkpoints lack for a training to be resumed from them as if it had never stopped."""

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
from torchmetrics import Metric, MetricCollection

from kindling.callbacks.gather import gather
from kindling.data.loading import StreamedBatches
from kindling.errors import UsageError

CPU = torch.device("cpu")


class MidEpochState(Callback):
    """Keeps the Trainer's state in a checkpoint, and within an epoch what each process has gathered since it began.

    The latter is its random numbers, the position in its data, the sums of ``self.log`` and of torchmetrics, and the
    network's buffers that are not persistent.
    """

    def __init__(self) -> None:
        self._trainer: dict[str, Any] = {}
        self._processes: list[dict[str, Any]] | None = None
        self._own: dict[str, Any] | None = None
        self._resumed = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if isinstance(trainer.precision_plugin, DoublePrecision):
            pl_module.double()  # Lightning does so after loading the weights, which are then rounded to float32
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, StochasticWeightAveraging):
                # It has one more epoch, without training, if a network has batch norm. That epoch is the only one
                # whose validation and checkpoints see the averaged weights, so all networks get it.
                callback.pl_module_contains_batch_norm = lambda module: True  # type: ignore[method-assign,assignment]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        state: dict[str, Any] = {
            "should_stop": trainer.should_stop,
            "averaged": [_buffers(average) for average in _averages(trainer)],
        }
        # schedulers and callbacks look at scores from before the checkpoint
        state |= {name: dict(getattr(trainer, name)) for name in ("callback_metrics", "logged_metrics")}
        checkpoint["trainer"] = move_data_to_device(state, CPU)
        epochs: Any = trainer.fit_loop.epoch_progress.current
        if epochs.started > epochs.processed:
            own = {"random": _random_state(), "accumulate_grad_batches": trainer.accumulate_grad_batches}
            own |= {"buffers": _buffers(pl_module), "metrics": _metrics(pl_module), "logged": _logged(trainer)}
            loader: Any = trainer.train_dataloader
            if hasattr(loader, "state_dict"):
                own["loader"] = loader.state_dict()
            checkpoint["mid_epoch"] = gather(trainer, move_data_to_device(own, CPU))
        elif epochs.processed == epochs.completed:
            # Between two epochs Lightning has counted the second as ready, though nothing of it was done; resumed from
            # there, it would skip that epoch's batches. At the end of training the counts agree; make them agree here.
            loop = checkpoint["loops"]["fit_loop"]
            for count in loop["epoch_progress"].values():
                count["ready"] = count["completed"]
            loop["state_dict"].pop("combined_loader", None)  # a new epoch starts with its first batch

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._trainer, self._processes = checkpoint.get("trainer", {}), checkpoint.get("mid_epoch")
        self._resumed = True
        trainer.num_sanity_val_steps = 0  # a validation that the unbroken training does not have at this point

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loop, was_loaded = trainer.fit_loop, self._resumed
        if self._trainer:
            # if training may end at once, it was over, and the user asks for more
            trainer.should_stop = self._trainer["should_stop"] and not loop._can_stop_early
            state = move_data_to_device(self._trainer, pl_module.device)
            for average, buffers in zip(_averages(trainer), state["averaged"], strict=False):
                _set_buffers(average, buffers)
            for name in ("callback_metrics", "logged_metrics"):
                getattr(trainer, name).update(state[name])
        if not self._resumed or not loop.restarted_mid_epoch:
            # with a limit of steps, Lightning takes every checkpoint for one from within an epoch
            loop.on_iteration_done()
            loop.epoch_loop.on_iteration_done()
            self._resumed = False
        elif self._processes is not None:
            if len(self._processes) != trainer.world_size:
                raise UsageError(
                    f"--trainer.devices: the checkpoint is from within an epoch of {len(self._processes)} processes, "
                    f"and {trainer.world_size} can't resume it: give as many"
                )
            self._own = self._processes[trainer.global_rank]
            _set_random_state(self._own["random"])
            if "loader" in self._own:  # Lightning does so too, unless configure_optimizers asked for the steps' number
                cast(Any, trainer.train_dataloader).load_state_dict(self._own["loader"])
        stream = trainer.train_dataloader
        if was_loaded and isinstance(stream, StreamedBatches):
            # Lightning has its first batch already, as it can't tell how many there are: perhaps not the right one
            stream.set_epoch(trainer.current_epoch)
            iter(cast(Any, loop._data_fetcher))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._resumed:  # else the whole epoch would count as a restart, and its end reach no plateau scheduler
            trainer.fit_loop.on_iteration_done()
            self._resumed = False
        if self._own is not None:
            own, self._own = move_data_to_device(self._own, pl_module.device), None
            trainer.accumulate_grad_batches = own["accumulate_grad_batches"]
            _set_buffers(pl_module, own["buffers"])
            for name, state in own["metrics"].items():
                _set_attributes(pl_module.get_submodule(name), state)
            _set_logged(trainer, pl_module, own["logged"])


def _averages(trainer: Trainer) -> list[nn.Module]:
    """The averaged networks of Lightning's callbacks."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    averages = (callback._average_model for callback in callbacks if isinstance(callback, WeightAveraging))
    return [average for average in averages if average is not None]


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    """Those that are in no checkpoint, as they are not persistent: sums of an epoch, or class weights.

    Averaging equal class weights may change their last bits, so a resumed training can't make the averages anew.
    """
    persistent = module.state_dict().keys()
    return {name: buffer for name, buffer in module.named_buffers() if name not in persistent}


def _set_buffers(module: nn.Module, saved: dict[str, Tensor]) -> None:
    buffers = _buffers(module)
    for name in buffers.keys() & saved.keys():
        buffers[name].data = saved[name]


def _metrics(pl_module: LightningModule) -> dict[str, dict[str, Any]]:
    """What each metric in the network has gathered, with the batches that a ``Scores`` has yet to add up."""
    states: dict[str, dict[str, Any]] = {}
    for name, part in pl_module.named_modules():
        if isinstance(part, MetricCollection):
            part.values()  # metrics that share their sums bring them up to date
        elif isinstance(part, Metric):
            states[name] = part.metric_state | {"_update_count": part.update_count}
        if hasattr(part, "held"):
            states[name] = states.get(name, {}) | {"held": part.held}
    return states


def _logged(trainer: Trainer) -> dict[str, dict[str, Any]]:
    """What ``self.log`` has summed up in this epoch."""
    kept = {}
    for key, result in trainer.fit_loop.epoch_loop._results.items():
        meta = {name: value for name, value in vars(result.meta).items() if name != "_sync"}
        meta["reduce_fx"] = result.meta.reduce_fx.__name__
        sync = {"_should": result.meta.sync.should, "rank_zero_only": result.meta.sync.rank_zero_only}
        state = {name: getattr(result, name) for name in ("has_reset", "_update_count", "_forward_cache")}
        state |= result.metric_state
        kept[key] = {"meta": meta, "sync": sync, "is_tensor": result.is_tensor, "state": state}
    return kept


def _set_logged(trainer: Trainer, pl_module: LightningModule, logged: dict[str, dict[str, Any]]) -> None:
    for key, kept in logged.items():
        meta = _Metadata(**kept["meta"])
        meta.sync = _Sync(fn=trainer.strategy.reduce, **kept["sync"])
        result = _ResultMetric(meta, kept["is_tensor"]).to(pl_module.device)
        if not kept["is_tensor"]:
            result.value = pl_module.get_submodule(kept["meta"]["metric_attribute"])
        _set_attributes(result, kept["state"])
        trainer.fit_loop.epoch_loop._results[key] = result
    trainer._logger_connector._first_loop_iter = False  # in the first iteration Lightning starts all sums anew


def _set_attributes(target: object, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(target, name, value)


def _random_state() -> dict[str, Any]:
    """The state of every generator, in plain data and tensors."""
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
