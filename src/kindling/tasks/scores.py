"""The loss and the metrics of an epoch, gathered batch by batch."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection, R2Score
from torchmetrics.classification import MulticlassAUROC, MulticlassF1Score, MultilabelAUROC
from torchmetrics.utilities import dim_zero_cat

if TYPE_CHECKING:
    from kindling.tasks.base import Task

HELD = 64  # batches that are scored at once: one by one, the scores of a small network cost more than its forward pass
BASELINE = "baseline/"  # before the name of a score that is not of the network
HELD_NUMBERS = 2**26  # outputs in them, at most: those of a segmentation would fill the memory


class Scores(Metric):
    """Gathers the mean loss and any torchmetrics metrics over an epoch, and over all processes.

    Args:
        task: Makes predictions of outputs.
        metrics: By name.
        part_names: Of the entries of a metric that has several, to log each; None to log only their mean.
        baseline: Metrics by name for the task's ``baseline_predictions``, which are scored too.
    """

    full_state_update = False
    loss: Tensor
    samples: Tensor
    targets: list[Tensor]

    def __init__(
        self,
        task: "Task",
        metrics: Mapping[str, Metric],
        part_names: Sequence[str] | None = None,
        baseline: Mapping[str, Metric] | None = None,
    ) -> None:
        super().__init__()
        self.task, self.part_names = task, part_names
        self.metrics = MetricCollection({}, compute_groups=False)
        for name, metric in metrics.items():  # one by one, as it would sort them
            self.metrics.add_metrics({name: metric})
        # Batches that are not in the sums yet. The sums depend, in the last bit, on what is summed up at once.
        self.held: list[tuple[Tensor, Tensor, Tensor]] = []
        self.add_state("loss", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("samples", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.baseline = dict(baseline or {})  # no modules: they gather nothing
        if self.baseline:
            self.add_state("targets", [], dist_reduce_fx="cat")

    def hold(self, loss: Tensor, outputs: Tensor, targets: Tensor) -> None:
        """Take in a batch: its mean loss, the network's outputs (B, ...) and the targets (B, ...)."""
        self.held.append((loss.detach(), outputs.detach(), targets))
        if len(self.held) == HELD or len(self.held) * outputs.numel() > HELD_NUMBERS:
            self.settle()

    def settle(self) -> None:
        """Score the batches that are held; needed before ``compute``."""
        if self.held:
            self.update(*self._scored())
            self.held = []

    def _scored(self) -> tuple[Tensor, Tensor, Tensor]:
        """The batches that are held, as ``update`` takes them."""
        losses, outputs, targets = zip(*self.held, strict=True)
        sizes = torch.tensor([len(y) for y in targets], device=losses[0].device)
        predictions = self.task.predict(torch.cat(outputs).float())
        return (torch.stack(losses) * sizes).sum(), self.task.metric_inputs(predictions), torch.cat(targets)

    def update(self, loss: Tensor, inputs: Tensor, targets: Tensor) -> None:
        """Take in the sum of the samples' losses, what the metrics take (N, ...) and the targets (N, ...)."""
        self.loss += loss
        self.samples += len(targets)
        if self.baseline:
            self.targets.append(targets)
        for metric in self.metrics.values():
            keeps_samples = any(isinstance(state, list) for state in metric.metric_state.values())
            if len(targets) or keeps_samples:  # of none, as processes exchange what they keep; others refuse none
                metric.update(inputs, targets)
            else:
                metric._update_count += 1

    def compute(self) -> dict[str, Tensor]:
        """Name to score; of a metric with several entries their mean, and each under its own name."""
        values = self.metrics.compute()
        if self.baseline and self.samples:
            values |= self._baseline(dim_zero_cat(self.targets), values)
        scores = {"loss": self.loss / self.samples}
        for name, value in values.items():
            if value is None:
                continue
            scores[name] = _mean(value)
            if value.ndim and self.part_names is not None:
                parts = self.part_names if len(self.part_names) == len(value) else range(len(value))
                each = zip(parts, value, strict=True)
                scores |= {f"{name}_{part}": entry for part, entry in each if not entry.isnan()}
        return scores

    def _baseline(self, targets: Tensor, scores: Mapping[str, Any]) -> dict[str, Any]:
        """Scores of the task's baseline, for the targets (N, ...) of all processes; ``scores`` are the network's."""
        inputs = self.task.metric_inputs(self.task.baseline_predictions(targets))
        found = {}
        for name, metric in self.baseline.items():
            if isinstance(metric, AUROC | TagAUROC):  # 0.5 by definition, which would take long to compute
                found[name] = None if scores[name] is None else scores[name] * 0 + 0.5  # NaN stays NaN
            else:
                metric.to(inputs.device).update(inputs, targets)
                value = type(metric).compute(metric)  # that of the object asks other processes, and squeezes
                found[name] = None if value is None else value.squeeze()
                metric.reset()
        return {f"{BASELINE}{name}": value for name, value in found.items()}

    def so_far(self) -> dict[str, float]:
        """The scores of this process. What is held stays held: nothing changes because somebody looks at it."""
        held = self._scored() if self.held else (torch.zeros(()), torch.zeros(0), torch.zeros(0))
        scores = {"loss": (self.loss + held[0]) / (self.samples + len(held[2]))}
        for name, metric in self.metrics.items():
            state = deepcopy(metric.metric_state)
            # the methods of the class: torchmetrics has those of the object wait for the other processes
            if self.held:
                type(metric).update(metric, *held[1:])
            value = type(metric).compute(metric)
            scores |= {} if value is None else {name: _mean(value)}
            for attribute, kept in state.items():
                setattr(metric, attribute, kept)
        return {name: float(score) for name, score in scores.items()}

    def reset(self) -> None:
        self.held = []
        self.metrics.reset()
        super().reset()


class MacroF1(MulticlassF1Score):
    """Mean over the classes that are there or were predicted.

    torchmetrics' own update counts all pairs of classes, and with ``Trainer(deterministic=True)`` once per sample.
    """

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Probabilities (N, C, ...) and labels (N, ...)."""
        predicted = preds.argmax(dim=1)
        right, found, there = (
            torch.bincount(labels.flatten(), minlength=preds.shape[1])
            for labels in (target[predicted == target], predicted, target)
        )
        self._update_state(right, found - right, torch.zeros_like(right), there - right)


class AUROC(MulticlassAUROC):
    """Mean over the classes that are there; None for one class alone, which can't be ranked above another."""

    def compute(self) -> Tensor | None:  # type: ignore[override]
        present = dim_zero_cat(self.target).unique()
        return _quietly(super().compute)[present].mean() if len(present) > 1 else None


class TagAUROC(MultilabelAUROC):
    """One per tag, NaN for a tag that all samples have or none; None where that is so of all tags."""

    def compute(self) -> Tensor | None:  # type: ignore[override]
        y = dim_zero_cat(self.target)
        ranked = y.amin(dim=0) < y.amax(dim=0)  # (T,)
        return _quietly(super().compute).where(ranked, torch.nan) if ranked.any() else None


class R2(R2Score):
    """Coefficient of determination; None for a single sample.

    Args:
        units: The targets' mean and standard deviation, for a tensor of them: torchmetrics takes squares below 1e-4
            for 0, whatever the unit.
    """

    def __init__(self, units: Callable[[Tensor], tuple[Any, Any]], **options: Any) -> None:
        super().__init__(**options)
        self.units = units

    def update(self, preds: Tensor, target: Tensor) -> None:
        mean, std = self.units(target)
        super().update((preds - mean) / std, (target - mean) / std)

    def compute(self) -> Tensor | None:  # type: ignore[override]
        return super().compute() if self.total > 1 else None


def _mean(value: Tensor) -> Tensor:
    return value[~value.isnan()].mean() if value.ndim else value  # NaN: nothing to score, e.g. a tag that no sample has


def _quietly(compute: Any) -> Tensor:
    with warnings.catch_warnings():  # that a class is absent, which the caller leaves out
        warnings.filterwarnings("ignore", "No (positive|negative) samples in targets")
        scores: Tensor = compute()
    return scores
