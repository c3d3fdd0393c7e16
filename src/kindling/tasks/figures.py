"""The pictures of a test, for each kind of task: see ``Task.figures``. Predictions and targets are on the CPU."""

import math
from functools import partial

from torch import Tensor

from kindling.facts import Facts
from kindling.pictures import classification, regression
from kindling.pictures.analysis import SHOWN_CLASSES, calibration, confusion
from kindling.pictures.style import Draw, clip

SHOWN_TARGETS, SHOWN_POINTS = 9, 2000


def of_classes(predictions: Tensor, targets: Tensor, facts: Facts, subject: str) -> dict[str, Draw]:
    """Confusion and reliability, of probabilities (N, C) and labels (N,) int64."""
    labels, matrix = confusion(predictions, targets)
    title = f"{subject}: accuracy {float((predictions.argmax(dim=1) == targets).float().mean()):.4f}"
    names = [facts.class_names[n] for n in labels]
    if len(labels) < len(facts.class_names):
        title += f"; the {len(labels)} most confused of {len(facts.class_names):,} classes"
        names.append("others")
    drawn: dict[str, Draw] = {"confusion": partial(classification.confusion, matrix.numpy(), names, title)}
    finite = predictions.isfinite().all(dim=1)
    if finite.any():
        counts, confidence, accuracy, error = calibration(predictions[finite], targets[finite])
        bins = counts.numpy(), confidence.numpy(), accuracy.numpy()
        title = f"{subject}: expected calibration error {error:.4f}"
        drawn["reliability"] = partial(classification.reliability, *bins, title)
    return drawn


def of_tags(
    predictions: Tensor, targets: Tensor, facts: Facts, subject: str, threshold: float = 0.5
) -> dict[str, Draw]:
    """Scores per tag, of probabilities (N, T) and targets (N, T) of 0 and 1; above ``threshold`` is a yes."""
    predicted, true = predictions > threshold, targets.bool()
    hits, found, there = (predicted & true).sum(dim=0), predicted.sum(dim=0), true.sum(dim=0)  # (T,)
    shown = there.argsort(descending=True, stable=True)[:SHOWN_CLASSES].sort().values
    parts = {"precision": (hits, found), "recall": (hits, there), "F1": (2 * hits, found + there)}
    scores = {name: (above / below.clamp(min=1))[shown].numpy() for name, (above, below) in parts.items()}
    names = [f"{clip(facts.class_names[n])} ({int(there[n]):,})" for n in shown.tolist()]
    title = f"{subject}: scores per tag (and how many samples have it)"
    if len(names) < len(facts.class_names):
        title += f"; the {len(names)} most frequent of {len(facts.class_names):,} tags"
    return {"tags": partial(classification.tag_scores, scores, names, title)}


def of_numbers(predictions: Tensor, targets: Tensor, facts: Facts, subject: str) -> dict[str, Draw]:
    """Predicted against true, of numbers (N, T) or with standard deviations (N, 2 T), and targets (N,) or (N, T)."""
    finite = predictions.isfinite().all(dim=1)
    if not finite.any():
        return {}
    y = targets[finite].view(int(finite.sum()), -1)  # (N, T)
    p, *std = (part[:, :SHOWN_TARGETS] for part in predictions[finite].split(y.shape[1], dim=1))
    y = y[:, :SHOWN_TARGETS]
    names = (facts.targets or (facts.target,))[: y.shape[1]]
    mae, square = (p - y).abs().mean(dim=0), (p - y).square().mean(dim=0)
    scores = zip(mae, square.sqrt(), 1 - square / y.var(dim=0, correction=0), strict=True)
    headings = [f"MAE {mae:.4g}  RMSE {rmse:.4g}  R² {r2:.4f}" for mae, rmse, r2 in scores]
    title = f"{subject}, the first {len(names)} targets" if len(names) < len(facts.targets) else subject
    points = [t[:: math.ceil(len(y) / SHOWN_POINTS)].numpy() for t in (p, y, *std)]
    return {"predicted": partial(regression.predicted_against_true, names, headings, title, *points)}
