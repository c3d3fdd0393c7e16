"""The one abstract module: how a network that maps inputs to outputs is trained, scored and used."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from inspect import signature
from types import NoneType
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import Metric

from kindling.errors import UsageError
from kindling.facts import Facts
from kindling.registry import losses
from kindling.tasks import make_task
from kindling.tasks.base import Task
from kindling.tasks.scores import BASELINE, Scores


class SupervisedModule(LightningModule, ABC):
    """A network adds ``__init__`` and ``forward``; what it learns follows from the data and the loss.

    The arguments of the network's ``__init__`` have to be plain data (numbers, strings, lists, dicts): they go into
    the checkpoint, which is then loaded without running any code of its own. Logs once per epoch under ``train/``,
    ``val/`` and ``test/`` the ``loss`` and the metrics of the task.

    A network of your own can override two more methods. With one it scores something else:

        def configure_metrics(self, stage):
            return super().configure_metrics(stage) | {"top5": MulticlassAccuracy(num_classes=10, top_k=5)}

    With the other it learns something else, see ``tasks.base.Task``:

        @classmethod
        def configure_task(cls, facts, loss):
            return MyTask(facts, loss)
    """

    monitor: str | None = None  # the score that the best epoch is best at; None: the task's, usually val/loss
    mode: str | None = None  # min or max; None: as the metric has it
    threshold: float | None = None  # probability above which a tag is predicted; None: the task's, usually 0.5
    default_lr = 2e-3  # of Adam, which trains the network unless an optimizer is chosen
    # That rate falls where an epoch brings no lower validation loss. On FashionMNIST, 10 epochs, two seeds: Net 91.0 %
    # with it, 90.3 % with the best constant rate; and unlike a schedule over a fixed time it lets training go on.
    plateau: Mapping[str, Any] = {"factor": 0.3, "patience": 0}
    default_loss: str | None = None  # where it suits the task; otherwise the task's usual one
    takes_uneven_batches = True  # also empty ones, so that several processes use every sample exactly once
    facts: Facts | None = None  # from the data, then from the checkpoint

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # those of the network whose __init__ called this one
        self.loss: nn.Module | None = None
        self._task: Task | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the current hook's name here some fifty times a step, and torch asks each time whether it is
        # a parameter; a string in place of what isn't one is none either
        if type(value) in (str, NoneType) and name in self.__dict__:
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Inputs (B, ...) float32 to outputs (B, num_outputs, ...), with nothing after the last linear layer."""

    @classmethod
    def configure_task(cls, facts: Facts, loss: nn.Module | None) -> Task:
        """What the network learns, by the loss that the user chose, if any.

        Asked before the network is made, as ``num_outputs`` depends on it.

        Raises:
            UsageError: The loss is not for the task.
        """
        return make_task(facts, loss, cls.default_loss)

    def configure_metrics(self, stage: str) -> dict[str, Metric]:
        """New metrics by name, for ``train``, ``val`` or ``test``; each is logged as ``<stage>/<name>``."""
        return self.task.metrics(stage)

    @classmethod
    def usual_image_size(cls, options: Mapping[str, Any]) -> int | None:
        """Height and width of the images that it is made for with these options, for data that can give any size."""
        size = options.get("image_size", getattr(signature(cls).parameters.get("image_size"), "default", None))
        return size if isinstance(size, int) else None

    def parameter_groups(self) -> Iterable[Any]:
        """What any optimizer is given: parameters, or groups of them with options of their own."""
        return self.parameters()

    def begin(self) -> None:
        """Called before a training that starts from no checkpoint, once the network knows its task."""

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.facts.class_names if self.facts else ()

    def set_task(self, facts: Facts, loss: nn.Module | None = None) -> None:
        """Take on the task of some data, with a loss of torch.nn or one of your own; None for the usual one.

        Raises:
            UsageError: The loss is not for the task, or it is not known whether low or high is good for ``monitor``.
        """
        self.facts = facts
        self._task = task = self.configure_task(facts, loss)
        if self.threshold is not None:
            task.threshold = self.threshold
        self.loss = task.loss  # as a part of the module it follows it to its device
        for name, buffer in list(self.loss.named_buffers(recurse=False)):  # class weights are no weights to load
            self.loss.register_buffer(name, buffer, persistent=False)
        self.scores = nn.ModuleDict()
        for stage in ("train", "val", "test"):  # a module already has something called train
            parts = None if stage == "train" else task.part_names
            compared = task.metrics(stage) if stage == "test" and task.baseline else {}  # not by scores of one's own
            baseline = {name: metric for name, metric in self.configure_metrics(stage).items() if name in compared}
            self.scores[f"{stage}_"] = Scores(task, self.configure_metrics(stage), parts, baseline)
        if self.monitor in (None, task.monitor):
            self.monitor, self.mode = task.monitor, self.mode or task.mode
        self.mode = self.mode or self.mode_of(self.monitor)

    def mode_of(self, monitor: str) -> str:
        """``min`` or ``max``, as the metric itself says which is good.

        Raises:
            UsageError: It is none of the metrics.
        """
        stage, _, name = monitor.partition("/")
        if name == "loss":
            return "min"
        metrics = self.configure_metrics(stage).items()
        higher = next((m.higher_is_better for key, m in metrics if name == key or name.startswith(f"{key}_")), None)
        if higher is None:
            there = ", ".join(f"{stage}/{key}" for key in ["loss", *dict(metrics)])
            raise UsageError(
                f"--monitor {monitor}: no score of the task has that name; there are {there}; for one that the network "
                "logs itself, add --mode min or --mode max"
            )
        return "max" if higher else "min"

    def scores_of(self, stage: str) -> Scores:
        """What ``train``, ``val`` or ``test`` has gathered since its epoch began."""
        return cast(Scores, self.scores[f"{stage}_"])

    @property
    def task(self) -> Task:
        if self._task is None:
            raise RuntimeError("the network has no task yet: call set_task(facts), or train it")
        return self._task

    def setup(self, stage: str) -> None:
        facts = getattr(getattr(self.trainer, "datamodule", None), "facts", None)
        if facts is not None and facts != self.facts:
            self.set_task(facts, self.loss)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return self._step(batch, "train")[0]

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self._step(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        _, outputs = self._step(batch, "test")
        return {"predictions": self.task.predict(outputs.float()).detach(), "targets": batch[1]}

    def predict_step(self, batch: tuple[Tensor, ...]) -> Tensor:
        return self.task.predict(self._outputs(batch[0]).float())

    def _step(self, batch: tuple[Tensor, Tensor], stage: str) -> tuple[Tensor, Tensor]:
        x, y = batch
        y = y.float() if y.is_floating_point() else y  # whatever the precision of the network
        outputs = self._outputs(x)
        loss = self._compute_loss(outputs, y)
        self.scores_of(stage).hold(loss, outputs, y)
        if stage == "train" and self.trainer.world_size > 1 and self.trainer.is_last_batch:
            samples = self.trainer.strategy.reduce(torch.tensor(len(y), device=self.device), reduce_op="sum")
            loss = loss * len(y) * self.trainer.world_size / samples  # the processes' gradients will be averaged
        return loss, outputs

    def _compute_loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """In float32: some losses lose too much in half of it."""
        if not len(y):
            return outputs.sum()  # 0, that has a gradient
        kind = outputs.device.type
        with torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext():
            return self.task.compute_loss(outputs.float(), y)

    def _outputs(self, x: Tensor) -> Tensor:
        """Also of no sample, which is what several processes leave to some of them at the end, and layers refuse."""
        return self(x) if x.shape[0] else self(x.new_zeros(2, *x.shape[1:]))[:0]

    def on_train_epoch_end(self) -> None:
        self._log_scores("train")

    def on_validation_epoch_end(self) -> None:
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        self._log_scores("test")

    def _log_scores(self, stage: str) -> None:
        scores = self.scores_of(stage)
        scores.settle()
        # Kindling's callbacks write them to the loggers themselves, beside the loss per step, which has the same name
        written = any(getattr(c, "writes_scores", False) for c in self.trainer.callbacks)  # type: ignore[attr-defined]
        named = {k if k.startswith(BASELINE) else f"{stage}/{k}": v for k, v in scores.compute().items()}
        self.log_dict(named, logger=False if written else None, sync_dist=True)
        scores.reset()

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        # all that the optimizer's own does, but for marks in torch's profiler
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = Adam(self.parameter_groups(), lr=self.default_lr)
        if self.trainer.limit_val_batches == 0:
            return optimizer  # there is no validation loss to watch
        scheduler = ReduceLROnPlateau(optimizer, mode=cast(Any, self.mode or "min"), **self.plateau)
        every = self.trainer.check_val_every_n_epoch or 1
        schedule = {"scheduler": scheduler, "monitor": self.monitor, "frequency": every}
        return {"optimizer": optimizer, "lr_scheduler": cast(Any, schedule)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["facts"] = asdict(self.task.facts)
        checkpoint["loss"] = self.task.loss_name

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.facts is None and "facts" in checkpoint:  # read from Python: the command line has given both already
            loss = checkpoint["loss"]
            self.set_task(Facts(**checkpoint["facts"]), getattr(nn, loss)() if loss in losses() else None)


# Lightning asks for it at each step; worked out anew each time it costs a small network 3 % of its step
SupervisedModule.training_step.__signature__ = signature(SupervisedModule.training_step)  # type: ignore[attr-defined]
