"""TensorBoard's HISTOGRAMS: how the weights and their gradients are distributed."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from kindling.callbacks.report.publish import board_tag, boards


class Histograms(Callback):
    """Shows parameters under ``weights/``, and gradients of the last batch under ``z_gradients/``, once per epoch.

    NaN and infinite values are left out: a histogram has no place for them.
    """

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.is_last_batch:  # the validation that follows frees the gradients
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
        board.add_histogram(board_tag(tag), values, trainer.global_step)
