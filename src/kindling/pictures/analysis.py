"""What a test found, in numbers: confusion and calibration."""

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

BINS = 10  # of the confidence
SHOWN_CLASSES = 40  # in a confusion matrix


def confusion(probabilities: Tensor, targets: Tensor, most: int = SHOWN_CLASSES) -> tuple[list[int], Tensor]:
    """Count which class was taken for which.

    Args:
        probabilities: (N, C)
        targets: Labels (N,) int64.
        most: Of more classes than this, those with the most wrong samples are shown, and of equals the larger ones.

    Returns:
        The labels of the S classes shown, ascending, and counts with a row per true class and a column per predicted
        one: (C, C) where all classes are shown, otherwise (S, S + 1), whose last column counts predictions of others.
    """
    classes, predicted = probabilities.shape[1], probabilities.argmax(dim=1)
    wrong = predicted != targets
    involved = torch.bincount(torch.cat([targets[wrong], predicted[wrong]]), minlength=classes)
    sizes = torch.bincount(targets, minlength=classes)
    order = (involved * (len(targets) + 1) + sizes).argsort(descending=True, stable=True)
    labels = order[:most].sort().values
    position = torch.full((classes,), len(labels))  # the last one stands for all other classes
    position[labels] = torch.arange(len(labels))
    counts = multiclass_confusion_matrix(position[predicted], position[targets], num_classes=len(labels) + 1)
    return labels.tolist(), counts[:-1] if len(labels) < classes else counts[:-1, :-1]


def calibration(probabilities: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
    """Compare confidence and accuracy, from probabilities (N, C) and labels (N,) int64.

    Returns:
        For each of ten equal bins of the confidence the number of samples, and their mean confidence and accuracy, 0
        where there are none, all (10,). Then the expected calibration error: the mean distance between the two.
    """
    confidence, predicted = probabilities.max(dim=1)
    bin_of = torch.bucketize(confidence, torch.arange(1, BINS, dtype=confidence.dtype) / BINS)
    counts = torch.bincount(bin_of, minlength=BINS)
    values = confidence.double(), (predicted == targets).double()
    means = [torch.bincount(bin_of, value, minlength=BINS) / counts.clamp(min=1) for value in values]
    error = ((means[0] - means[1]).abs() * counts).sum() / counts.sum()
    return counts, means[0], means[1], float(error)
