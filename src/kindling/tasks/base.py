"""The base of all tasks: what a network learns of a dataset, how that is scored, and what its predictions mean."""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from kindling.errors import UsageError
from kindling.facts import Facts
from kindling.pictures.style import Draw

WEIGHTED = "CrossEntropyLoss, NLLLoss and MultiMarginLoss"


class Task:
    """A loss on outputs of any shape, without metrics, prediction columns or pictures.

    A task of your own overrides what it has: ``compute_loss`` and ``predict`` where the loss takes something else than
    (outputs, targets), ``metrics``, and the rest for ``predictions.csv``, ``mistakes.csv`` and the pictures of a test.

    Args:
        facts: Of the data.
        loss: A loss of torch.nn, or one of your own; None for the default.
        default: Name of a loss of torch.nn, which is taken where it suits the task; else it is ``usual_loss``.

    Raises:
        UsageError: The loss is for other tasks, or its options do not suit this one.
    """

    meaning = "a task of its own"  # what the target is, in words
    losses: Collection[str] = ()  # those of torch.nn that suit the task; empty: any
    usual_loss = "CrossEntropyLoss"
    monitor = "val/loss"  # the score that the best epoch is best at
    mode = "min"  # or max, where higher is better
    threshold = 0.5  # probability above which a tag is predicted, where there are several tags
    loss_unit = ""  # where the loss is in another unit than the targets, e.g. ``standard units``
    baseline = ""  # in words, what ``baseline_predictions`` predicts; empty: nothing

    def __init__(self, facts: Facts, loss: nn.Module | None = None, default: str | None = None) -> None:
        self.facts = facts
        name = default if default is not None and default in self.losses else self.usual_loss
        self.loss = loss or getattr(nn, name)()
        weight = getattr(self.loss, "weight", None)
        if isinstance(weight, Tensor) and not len(weight):
            self.loss.weight = self._balanced()
        if getattr(self.loss, "reduction", "mean") == "none":
            raise UsageError("--loss.reduction none: a loss to train by is one number: mean or sum")
        own = type(self.loss) is not getattr(nn, self.loss_name, None)
        if not self.losses or own:
            return
        if self.loss_name not in self.losses:
            raise UsageError(
                f"--loss {self.loss_name} is not for {facts.target}, which is {self.meaning}: "
                f"choose one of {', '.join(self.losses)}"
            )
        y = torch.zeros((2, len(self.part_names)) if self.part_names else 2)
        try:  # torch's losses look at most of their options when they are called
            self.compute_loss(torch.zeros(2, self.num_outputs), y.long() if facts.class_names else y)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError(f"--loss {self.loss_name}: {error}") from error

    def _balanced(self) -> Tensor:
        """A weight per class, by which all classes count the same in a loss."""
        if self.loss_name not in WEIGHTED:
            raise UsageError(f"--loss.weight balanced: {self.loss_name} has no weight per class, {WEIGHTED} have one")
        if not self.facts.class_counts:
            raise UsageError("--loss.weight balanced: the data doesn't count its classes: give a list of weights")
        counts = torch.tensor(self.facts.class_counts, dtype=torch.float32)
        return counts.sum() / (len(counts) * counts)

    @property
    def part_names(self) -> Sequence[str]:
        """Of the entries of a metric that has one per tag or target."""
        return self.facts.targets

    @property
    def loss_name(self) -> str:
        return type(self.loss).__name__

    @property
    def num_outputs(self) -> int:
        """How many numbers per sample (or per pixel) the network ends in."""
        return len(self.facts.class_names) or 1

    def compute_loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Outputs (B, num_outputs, ...) float32 and the data's targets to the mean loss, a scalar."""
        loss: Tensor = self.loss(outputs, y)
        return loss

    def predict(self, outputs: Tensor) -> Tensor:
        """Outputs (B, num_outputs, ...) float32 to predictions (B, ...)."""
        return outputs

    def metrics(self, stage: str) -> dict[str, Metric]:
        """New torchmetrics metrics by name, for ``train``, ``val`` or ``test``.

        They are given what ``metric_inputs`` makes of the predictions, and the targets. What returns several numbers
        is logged as their mean and, but for training, as each of them. What returns None is not logged.
        """
        return {}

    def metric_inputs(self, predictions: Tensor) -> Tensor:
        return predictions

    def baseline_predictions(self, targets: Tensor) -> Tensor:
        """The same prediction for each sample of a test (N, ...), whose scores say what a network has to beat."""
        raise NotImplementedError

    def prediction_columns(self, predictions: Tensor) -> dict[str, Sequence[Any]]:
        """The columns of ``predictions.csv`` beside the data's own; none: it is written to ``predictions.npy``."""
        return {}

    def target_texts(self, values: Tensor) -> list[Any]:
        """Targets (N, ...) or predictions (N, ...), as people read them."""
        texts: list[Any] = values.tolist()
        return texts

    def mistakes(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Sequence[Any]]]:
        """Indices of the samples that were predicted wrongly, worst first, and their columns in ``mistakes.csv``."""
        return torch.zeros(0, dtype=torch.int64), {}

    def figures(self, predictions: Tensor, targets: Tensor, subject: str) -> dict[str, Draw]:
        """Pictures of a whole test (N, ...) by file name, drawn when called; their titles begin with ``subject``."""
        return {}


def worst_first(size: Tensor, wrong: Tensor) -> Tensor:
    """Indices of the samples that are ``wrong`` (N,), the largest ``size`` (N,) first; NaN comes before all."""
    order = size.nan_to_num(nan=torch.inf).argsort(descending=True, stable=True)
    return order[wrong[order]]
