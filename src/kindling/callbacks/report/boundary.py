"""The picture of a network's boundary, for data of two features."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from kindling.data.base import DataModule
from kindling.data.loading import take
from kindling.facts import Facts
from kindling.pictures import classification
from kindling.pictures.style import Draw

GRID = 300  # places along each axis at which the network is asked
SHOWN_POINTS = 2000


def boundary(
    facts: Facts,
    data: DataModule,
    predict: Callable[[Tensor], Tensor],
    predictions: Tensor,
    targets: Tensor,
    subject: str,
) -> dict[str, Draw]:
    """``boundary.png``; nothing for data of more features, of other tasks than classification, or of gaps alone.

    Args:
        predict: Runs the network on raw inputs.
        predictions: Probabilities (N, C) of the whole test set.
        targets: Labels (N,) int64.
    """
    if facts.kind not in ("binary", "multiclass") or facts.in_features != 2 or len(facts.feature_names) != 2:
        return {}
    chosen = torch.arange(0, len(targets), math.ceil(len(targets) / SHOWN_POINTS))
    x = take(data.test_set, chosen.tolist())[0]  # (M, 2)
    known = x.isfinite().all(dim=1)  # a gap has no place in the plane
    if not known.any():
        return {}
    x, chosen = x[known], chosen[known]
    low, high = x.amin(dim=0), x.amax(dim=0)
    margin = torch.where(high > low, 0.05 * (high - low), 1.0)
    extent = torch.stack([low - margin, high + margin], dim=1)
    across, up = (torch.linspace(float(start), float(end), GRID) for start, end in extent)
    plane = torch.cartesian_prod(up, across).flip(1)  # (GRID * GRID, 2), row by row
    regions = [predict(plane).argmax(dim=1)]
    if rule := getattr(data, "rule", None):
        regions.append(rule(plane))
    images = [classes.view(GRID, GRID).numpy() for classes in regions]
    wrong = targets != predictions.argmax(dim=1)
    points = x.numpy(), targets[chosen].numpy(), wrong[chosen].numpy()
    title = f"{subject}: {int(wrong.sum()):,} wrong predictions"
    names = facts.feature_names, facts.class_names
    return {"boundary": partial(classification.boundary, extent.flatten().tolist(), points, *names, title, *images)}
