"""One of two or more classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from kindling.facts import Facts
from kindling.pictures.style import Draw
from kindling.tasks import figures
from kindling.tasks.base import Task, worst_first
from kindling.tasks.losses import BINARY_LOSSES, CLASS_LOSSES, Feed
from kindling.tasks.scores import AUROC, MacroF1


class Classification(Task):
    """One of C classes: targets are labels (B,) int64, predictions are probabilities (B, C)."""

    losses: Mapping[str, Feed] = CLASS_LOSSES
    meaning = "one of several classes"
    baseline = "always the most frequent class of the test"

    def __init__(self, facts: Facts, loss: nn.Module | None = None, default: str | None = None) -> None:
        self.binary = facts.kind == "binary"
        if self.binary:
            self.losses, self.meaning = CLASS_LOSSES | BINARY_LOSSES, "one of two classes"
        super().__init__(facts, loss, default)

    @property
    def one_output(self) -> bool:
        """Whether the network ends in the logit of the second class alone."""
        return self.binary and self.loss_name in BINARY_LOSSES

    @property
    def num_outputs(self) -> int:
        return 1 if self.one_output else len(self.facts.class_names)

    def compute_loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        feed = self.losses.get(self.loss_name, self.losses[self.usual_loss])  # the latter for one of the user's own
        return feed(self.loss, outputs[:, 0] if self.one_output else outputs, y)

    def predict(self, outputs: Tensor) -> Tensor:
        if self.one_output:
            return torch.cat([-outputs, outputs], dim=1).sigmoid()  # (B, 1) -> (B, 2)
        return outputs.softmax(dim=1)

    def metrics(self, stage: str) -> dict[str, Metric]:
        classes = len(self.facts.class_names)
        metrics: dict[str, Metric] = {"acc": MulticlassAccuracy(classes, average="micro", validate_args=False)}
        if stage != "train":  # the rest costs too much for training
            metrics["f1"] = MacroF1(classes, validate_args=False)
            metrics["auroc"] = AUROC(classes, average="none", validate_args=False)
        return metrics

    def baseline_predictions(self, targets: Tensor) -> Tensor:
        """The classes' shares: how often each is in the training samples is known of no dataset but a table."""
        shares = targets[targets >= 0].bincount(minlength=len(self.facts.class_names)) / targets.numel()
        return shares.view(1, -1, *[1] * (targets.ndim - 1)).expand(len(targets), -1, *targets.shape[1:])  # (N, C, ...)

    def prediction_columns(self, predictions: Tensor) -> dict[str, Sequence[Any]]:
        probabilities = zip(self.facts.class_names, predictions.T.tolist(), strict=True)
        return {"prediction": self.target_texts(predictions)} | {f"p({name})": p for name, p in probabilities}

    def target_texts(self, values: Tensor) -> list[str]:
        labels = values if values.ndim == 1 else values.argmax(dim=1)
        return [self.facts.class_names[n] for n in labels.tolist()]

    def mistakes(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Sequence[Any]]]:
        """How wrong one is: the probability that was given to the wrong class."""
        probability, predicted = predictions.max(dim=1)
        rows = worst_first(probability, predicted != targets)
        return rows, {"prediction": self.target_texts(predicted[rows]), "probability": probability[rows].tolist()}

    def figures(self, predictions: Tensor, targets: Tensor, subject: str) -> dict[str, Draw]:
        return figures.of_classes(predictions, targets, self.facts, subject)
