"""The picture of a learning-rate search: ``lr_find.png``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kindling.pictures.style import BLUE, VERMILION, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SKIPPED = 10  # steps at the start, whose smoothed loss still follows single batches


def steepest(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """The learning rate at which the loss falls fastest, per decade of the rate; None where it falls nowhere.

    Lightning's own suggestion takes the slope per unit of the rate, which is steepest among the smallest rates.
    """
    finite = np.isfinite(losses)
    x, y = np.log10(np.asarray(rates)[finite][SKIPPED:-1]), np.asarray(losses)[finite][SKIPPED:-1]
    if len(y) < 2:
        return None
    slopes = np.gradient(y, x)
    return float(10 ** x[slopes.argmin()]) if slopes.min() < 0 else None


def draw(rates: Sequence[float], losses: Sequence[float], found: float, title: str, unit: str) -> "Figure":
    """Draw the loss, in its unit, over the learning rates, and the rate that was found."""
    figure = new_figure(6, 3.6, title)
    axes = figure.subplots()
    axes.plot(rates, losses, color=BLUE, label="training loss, smoothed")
    axes.axvline(found, color=VERMILION, linestyle="--", label=f"falls fastest: {found:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel=f"loss{unit}")
    axes.xaxis.set_major_formatter(
        "{x:g}"
    )  # the usual one writes powers as mathematics, which our style prints as typed
    axes.grid(True)
    axes.legend()
    return figure
