"""TensorBoard's HISTOGRAMS: how the weights and their gradients are distributed."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from kindling.callbacks.report.publish import boards


class Histograms(Callback):
    """Shows each parameter under ``weights/`` and the gradient of its last batch under ``gradients/``, once an epoch.

    What isn't finite is left out: a distribution has no place for it.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_last_batch:  # a validation, which comes next, frees the gradients
            for name, parameter in pl_module.named_parameters():
                _show(trainer, f"gradients/{name}", parameter.grad)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, parameter in pl_module.named_parameters():
            _show(trainer, f"weights/{name}", parameter)


def _show(trainer: Trainer, tag: str, tensor: Tensor | None) -> None:
    if tensor is None or not trainer.is_global_zero:
        return
    values = tensor.detach().float().flatten()
    values = values[values.isfinite()].cpu()
    for board in boards(trainer) if len(values) else []:
        board.add_histogram(tag, values, trainer.global_step)
