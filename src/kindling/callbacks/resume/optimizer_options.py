"""Options typed for an optimizer whose state comes from a checkpoint."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class OptimizerOptions(Callback):
    """Sets the options anew when training goes on: an optimizer's state brings back those that it was saved with.

    Args:
        options: As for the optimizer's class, e.g. ``{"lr": 0.01}``.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group.update({name: value for name, value in self.options.items() if name in group})
