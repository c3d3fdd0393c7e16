"""What is told of one epoch's predictions beside the loss."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional import mean_squared_error, r2_score
from torchmetrics.functional.classification import multiclass_auroc
from torchmetrics.utilities import dim_zero_cat

HELD = 64  # batches that are scored at once: one by one, the scores of a small network cost more than its forward pass


class Scores(Metric, ABC):
    """Gathers batches over an epoch, and over all processes.

    Args:
        task: ``binary``, ``multiclass`` or ``regression``.
        read: Outputs (B, num_outputs) to predictions: probabilities (B, classes), or numbers (B, 1 or 2), the first
            being the prediction.
    """

    full_state_update = False
    loss: Tensor
    samples: Tensor

    def __init__(self, task: str, read: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.regression = task == "regression"
        self.first = "mae" if self.regression else "acc"  # the one score that is cheap enough for training
        self.read = read
        self._held: list[tuple[Tensor, Tensor, Tensor]] = []
        self.add_state("loss", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("samples", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def hold(self, loss: Tensor, outputs: Tensor, targets: Tensor) -> None:
        """Take a batch in.

        Args:
            loss: Mean loss of the batch.
            outputs: Of the network (B, num_outputs).
            targets: Labels (B,) int64, or numbers (B,).
        """
        self._held.append((loss.detach(), outputs.detach(), targets))
        if len(self._held) == HELD:
            self.settle()

    def settle(self) -> None:
        """Score the batches that are held; needed before ``compute``."""
        if self._held:
            self.update(*self._scored())
            self._held = []

    def _scored(self) -> tuple[Tensor, Tensor, Tensor]:
        """The batches held, as ``update`` takes them."""
        losses, outputs, targets = zip(*self._held, strict=True)
        sizes = torch.tensor([len(y) for y in targets], device=losses[0].device)
        return (torch.stack(losses) * sizes).sum(), self.read(torch.cat(outputs)), torch.cat(targets)

    def reset(self) -> None:
        self._held = []
        super().reset()

    @abstractmethod
    def update(self, loss: Tensor, predictions: Tensor, targets: Tensor) -> None:
        """
        Args:
            loss: Sum over the samples.
            predictions: As ``read`` gives them (N, K).
            targets: Labels (N,) int64, or numbers (N,).
        """

    @abstractmethod
    def compute(self) -> dict[str, Tensor]:
        """Name to score, on the samples of the epoch so far."""


class RunningScores(Scores):
    """Loss, and accuracy or mean absolute error: what can be summed up, so that nothing is kept of a sample."""

    score: Tensor

    def __init__(self, task: str, read: Callable[[Tensor], Tensor]) -> None:
        super().__init__(task, read)
        self.add_state("score", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, loss: Tensor, predictions: Tensor, targets: Tensor) -> None:
        if not len(targets):
            return  # there is no mean
        self.loss += loss
        self.samples += len(targets)
        self.score += first_score(predictions, targets) * len(targets)

    def compute(self) -> dict[str, Tensor]:
        return {"loss": self.loss / self.samples, self.first: self.score / self.samples}

    def so_far(self) -> dict[str, float]:
        """The scores of this process. Settles nothing, as sums would then be rounded by when they are looked at."""
        loss, score, samples = self.loss, self.score, self.samples
        if self._held:
            more, predictions, y = self._scored()
            loss, score, samples = loss + more, score + first_score(predictions, y) * len(y), samples + len(y)
        return {"loss": float(loss / samples), self.first: float(score / samples)}

    @property
    def held(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Batches that are not in the sums yet: those depend, in the last bit, on what is summed up at once."""
        return self._held

    @held.setter
    def held(self, batches: list[tuple[Tensor, Tensor, Tensor]]) -> None:
        self._held = batches


class AllScores(Scores):
    """Loss; accuracy, macro F1 and AUROC; or mean absolute error, root mean square error and R2.

    Keeps all predictions of the epoch.
    """

    predictions: list[Tensor]
    targets: list[Tensor]

    def __init__(self, task: str, read: Callable[[Tensor], Tensor]) -> None:
        super().__init__(task, read)
        self.add_state("predictions", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, loss: Tensor, predictions: Tensor, targets: Tensor) -> None:
        self.loss += loss
        self.samples += len(targets)
        self.predictions.append(predictions)
        self.targets.append(targets)

    def compute(self) -> dict[str, Tensor]:
        p, y = dim_zero_cat(self.predictions), dim_zero_cat(self.targets)  # (N, K), (N,)
        scores = {"loss": self.loss / self.samples, self.first: first_score(p, y)}
        if not self.regression:
            scores["f1"] = _macro_f1(p, y)
            present = y.unique()
            if len(present) > 1:  # one class alone can't be ranked above another
                with warnings.catch_warnings():  # that a class is absent, which the mean leaves out
                    warnings.filterwarnings("ignore", "No (positive|negative) samples in targets")
                    scores["auroc"] = multiclass_auroc(p, y, num_classes=p.shape[1], average="none")[present].mean()
        else:
            scores["rmse"] = mean_squared_error(p[:, 0], y, squared=False)
            if len(y) > 1:
                scores["r2"] = r2_score(p[:, 0], y)
        return scores


def first_score(predictions: Tensor, targets: Tensor) -> Tensor:
    """Accuracy, or mean absolute error."""
    if targets.is_floating_point():
        return (predictions[:, 0] - targets).abs().mean()
    return (predictions.argmax(dim=1) == targets).float().mean()


def _macro_f1(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Mean over the classes that are there or were predicted.

    torchmetrics' own counts all pairs of classes, where ``Trainer(deterministic=True)`` once for each sample.
    """
    classes, predicted = probabilities.shape[1], probabilities.argmax(dim=1)
    right = torch.bincount(labels[predicted == labels], minlength=classes)
    counts = torch.bincount(torch.cat([labels, predicted]), minlength=classes)
    return (2 * right / counts.clamp(min=1) / (counts > 0).sum()).sum()
