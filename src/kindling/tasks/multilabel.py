"""Several tags at once, each of which a sample has or has not."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MultilabelAccuracy, MultilabelF1Score

from kindling.pictures.style import Draw
from kindling.tasks import figures
from kindling.tasks.base import worst_first
from kindling.tasks.classification import Classification
from kindling.tasks.losses import TAG_LOSSES
from kindling.tasks.scores import TagAUROC


class Multilabel(Classification):
    """T tags: targets are (B, T) int64 of 0 and 1, predictions are the probability of each tag (B, T).

    A tag is predicted where its probability is above ``threshold``.
    """

    losses = TAG_LOSSES
    usual_loss = "BCEWithLogitsLoss"
    meaning = "several tags at once"
    baseline = "always the more frequent answer to each tag"

    @property
    def part_names(self) -> Sequence[str]:
        return self.facts.class_names

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()

    def metrics(self, stage: str) -> dict[str, Metric]:
        each: dict[str, Any] = {"num_labels": self.num_outputs, "average": "none", "validate_args": False}
        metrics: dict[str, Metric] = {"acc": MultilabelAccuracy(threshold=self.threshold, **each)}
        if stage != "train":
            metrics["f1"] = MultilabelF1Score(threshold=self.threshold, **each)
            metrics["auroc"] = TagAUROC(**each)
        return metrics

    def baseline_predictions(self, targets: Tensor) -> Tensor:
        """Each tag for all samples of the test or, where more than half of them don't have it, for none."""
        return (targets.float().mean(dim=0) > 0.5).float().expand(len(targets), -1)

    def target_texts(self, values: Tensor) -> list[str]:
        """The names of a sample's tags with commas between them."""
        return [
            ", ".join(name for name, value in zip(self.facts.class_names, row, strict=True) if value > self.threshold)
            for row in values.tolist()
        ]

    def mistakes(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Sequence[Any]]]:
        """How wrong one is: the highest probability that was given to a tag's wrong side."""
        wrong = (predictions > self.threshold) != (targets > 0)  # (N, T)
        probability = ((predictions - targets).abs() * wrong).amax(dim=1)
        rows = worst_first(probability, wrong.any(dim=1))
        return rows, {"prediction": self.target_texts(predictions[rows]), "probability": probability[rows].tolist()}

    def figures(self, predictions: Tensor, targets: Tensor, subject: str) -> dict[str, Draw]:
        return figures.of_tags(predictions, targets, self.facts, subject, self.threshold)
