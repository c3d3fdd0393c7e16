"""The one abstract module: how a network that maps inputs to class logits is trained, scored and used."""

from abc import ABC, abstractmethod
from typing import Any, cast

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Adam
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MeanMetric

SCORES = ("loss", "acc")
# The learning rate falls where an epoch brings no lower validation loss. On FashionMNIST, 10 epochs, two seeds: Net
# 91.0 % with it, 90.3 % with the best constant rate; and unlike a schedule over a fixed time it lets training go on.
PLATEAU: dict[str, Any] = {"factor": 0.3, "patience": 0}


class SupervisedModule(LightningModule, ABC):
    """Trains by cross-entropy; a network adds ``__init__`` and ``forward``, nothing else.

    The arguments of the network's ``__init__`` have to be plain data (numbers, strings, lists, dicts): they go into
    the checkpoint, which is then loaded without running any code of its own. Logs ``loss`` and ``acc`` once an epoch
    under ``train/``, ``val/`` and ``test/``.
    """

    monitor = "val/loss"  # what the best checkpoint is best at, lower being better
    default_lr = 2e-3  # of Adam, which trains the network unless an optimizer is chosen
    class_names: tuple[str, ...] = ()  # in label order; from the data, then from the checkpoint

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # those of the network whose __init__ called this one
        self.metrics = nn.ModuleDict({f"{s}_{m}": MeanMetric() for s in ("train", "val", "test") for m in SCORES})

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Inputs (B, ...) float32 to logits (B, num_outputs)."""

    def setup(self, stage: str) -> None:
        facts = getattr(getattr(self.trainer, "datamodule", None), "facts", None)
        if facts is not None:
            self.class_names = facts.class_names

    def training_step(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return self._step(batch, "train")

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self._step(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self._step(batch, "test")

    def predict_step(self, batch: tuple[Tensor, ...]) -> Tensor:
        return self(batch[0]).softmax(dim=1)  # (B, num_outputs) probabilities

    def _step(self, batch: tuple[Tensor, Tensor], stage: str) -> dict[str, Tensor]:
        x, y = batch
        logits = self(x)
        loss = cross_entropy(logits, y)
        scores = {"loss": loss.detach(), "acc": (logits.argmax(dim=1) == y).float().mean()}
        for name, value in scores.items():
            metric = cast(MeanMetric, self.metrics[f"{stage}_{name}"])
            metric.update(value, weight=len(y))
            # logger=False: a callback writes these, beside the loss per step, which has the same name
            self.log(f"{stage}/{name}", metric, on_step=False, on_epoch=True, batch_size=len(y), logger=False)
        return scores | {"loss": loss}  # the bar shows the running mean of both

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = Adam(self.parameters(), lr=self.default_lr)
        scheduler = ReduceLROnPlateau(optimizer, **PLATEAU)
        every = self.trainer.check_val_every_n_epoch or 1
        schedule = {"scheduler": scheduler, "monitor": self.monitor, "frequency": every}
        return {"optimizer": optimizer, "lr_scheduler": cast(Any, schedule)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["class_names"] = list(self.class_names)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.class_names = tuple(checkpoint.get("class_names", ()))
