"""One of two or more classes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from kindling.facts import Facts
from kindling.pictures.style import Draw
from kindling.tasks import figures
from kindling.tasks.base import Task, worst_first
from kindling.tasks.losses import BINARY_LOSSES, CLASS_LOSSES
from kindling.tasks.scores import AUROC, MacroF1


class Classification(Task):
    """One of C classes: targets are labels (B,) int64, predictions are probabilities (B, C)."""

    def __init__(self, facts: Facts, loss: nn.Module | None = None, default: str | None = None) -> None:
        self.binary = facts.kind == "binary"
        self.losses = CLASS_LOSSES | BINARY_LOSSES if self.binary else CLASS_LOSSES
        self.meaning = f"one of {'two' if self.binary else 'several'} classes"
        self.prediction_names = class_columns(facts.class_names)
        super().__init__(facts, loss, default)

    @property
    def one_output(self) -> bool:
        """Whether the network ends in the logit of the second class alone."""
        return self.binary and self.loss_name in BINARY_LOSSES

    @property
    def num_outputs(self) -> int:
        return 1 if self.one_output else len(self.facts.class_names)

    def compute_loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        if self.one_output:
            return BINARY_LOSSES[self.loss_name](self.loss, outputs[:, 0], y)
        return CLASS_LOSSES.get(self.loss_name, CLASS_LOSSES[self.usual_loss])(self.loss, outputs, y)

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

    def prediction_columns(self, predictions: Tensor) -> dict[str, Sequence[Any]]:
        columns = [self.target_texts(predictions), *predictions.T.tolist()]
        return dict(zip(self.prediction_names, columns, strict=True))

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


def class_columns(names: Sequence[str]) -> list[str]:
    """Names of the columns for the predicted class (or tags) and for the probability of each."""
    return ["prediction", *(f"p({name})" for name in names)]
