"""What a test found, in numbers: which samples were right, how sure the network was and how much of it justified."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kindling.facts import Facts

BINS = 10  # of confidence
SHOWN_CLASSES = 40  # in a table of which class was taken for which


class TestResult(NamedTuple):
    """What is known after a test, in the order of the test set.

    Args:
        predictions: Probabilities (N, classes), or numbers (N, 1 or 2), the first being the prediction.
        targets: Labels (N,) int64, or numbers (N,).
        features: What the last linear layer was given for some samples (M, D); (0, 0) where that is unknown.
        featured: Which samples these are, (M,) int64.
    """

    predictions: Tensor
    targets: Tensor
    features: Tensor
    featured: Tensor


class Calibration(NamedTuple):
    """Of as many equal parts of the confidences from 0 to 1, each (bins,), means being 0 where there is no sample."""

    counts: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def error(self) -> float:
        """The expected calibration error: mean distance from confidence to accuracy, over the samples."""
        distance = (self.confidence - self.accuracy).abs()
        return float((distance * self.counts).sum() / self.counts.sum())


def confusion(targets: Tensor, predictions: Tensor, most: int = SHOWN_CLASSES) -> tuple[list[int], Tensor]:
    """Labels (N,) and probabilities (N, C) to the labels of S classes, ascending, and counts of their samples.

    The counts have a row per true class and a column per predicted one: (C, C) where there are at most ``most``
    classes. Of more classes those that are confused most often are chosen, and if they are fewer than ``most``, the
    largest others: (S, S + 1), where the last column counts the samples predicted to be of a class not chosen.
    """
    classes, predicted = predictions.shape[1], predictions.argmax(dim=1)
    labels = list(range(classes))
    if classes > most:
        wrong = predicted != targets
        pairs, counts = (targets * classes + predicted)[wrong].unique(return_counts=True)  # never all C * C of them
        pairs = pairs[counts.argsort(descending=True, stable=True)]
        confused = torch.stack([pairs // classes, pairs % classes], dim=1).flatten()  # (2 * pairs,), worst first
        largest = torch.bincount(targets, minlength=classes).argsort(descending=True, stable=True)
        labels = sorted(list(dict.fromkeys(torch.cat([confused, largest]).tolist()))[:most])
    columns = min(classes, most + 1)
    place = torch.full((classes,), most)
    place[labels] = torch.arange(len(labels))
    rows, chosen = place[targets], place[targets] < most
    cells = torch.bincount((rows * columns + place[predicted])[chosen], minlength=len(labels) * columns)
    return labels, cells.view(len(labels), columns)


def calibration(probabilities: Tensor, targets: Tensor, bins: int = BINS) -> Calibration:
    """Probabilities (N, C) and labels (N,); a confidence on the border of two parts belongs to the lower one."""
    confidence, predicted = probabilities.max(dim=1)
    part = torch.bucketize(confidence, torch.arange(1, bins, dtype=confidence.dtype) / bins)
    counts = torch.bincount(part, minlength=bins)
    sums = (torch.bincount(part, w, minlength=bins) for w in (confidence.double(), (predicted == targets).double()))
    return Calibration(counts, *(s / counts.clamp(min=1) for s in sums))


def mistakes(predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The samples predicted wrongly, worst first, and how wrong each is.

    That is the probability that it gave to the wrong class, or the absolute error; one that isn't a number is worst.
    """
    if targets.is_floating_point():
        size = (predictions[:, 0] - targets).abs()
        wrong = size != 0
    else:
        size, predicted = predictions.max(dim=1)
        wrong = predicted != targets
    order = size.nan_to_num(nan=math.inf).argsort(descending=True, stable=True)
    order = order[wrong[order]]
    return order, size[order]


def in_order(parts: Sequence[Tensor], size: int, every: int = 1) -> tuple[Tensor, Tensor]:
    """What each process has of its samples, or of every so many-th: those of all in the order of the data, and where.

    The processes deal the samples out in turn. Lightning's own samplers begin again with the first ones where that
    would not come out even.
    """
    world = len(parts)
    places = torch.cat([rank + world * every * torch.arange(len(part)) for rank, part in enumerate(parts)])
    order = places.argsort()
    order = order[places[order] < size]
    samples = torch.cat([part for part in parts if len(part)] or [*parts])  # one without samples knows no width
    return samples[order], places[order]


def read(values: Tensor, facts: Facts) -> list[Any]:
    """Targets (N,) or predictions (N, K) as names of classes, or as numbers."""
    if facts.class_names:
        labels = values if values.ndim == 1 else values.argmax(dim=1)
        return [facts.class_names[n] for n in labels.tolist()]
    numbers: list[Any] = (values if values.ndim == 1 else values[:, 0]).tolist()
    return numbers
