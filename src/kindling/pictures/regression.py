"""The picture of a test of numbers: predicted against true values."""

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

from kindling.pictures.style import BLUE, SKY, VERMILION, Array, clip, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def predicted_against_true(
    names: Sequence[str],
    headings: Sequence[str],
    title: str,
    predictions: Array,
    targets: Array,
    std: Array | None = None,
) -> "Figure":
    """Draw one panel per target, three in a row.

    Args:
        names: Of the targets: (T).
        headings: Of the panels: (T).
        predictions: (N, T)
        targets: (N, T)
        std: Standard deviation of each prediction (N, T), where the network gives one.
    """
    across = min(len(names), 3)
    down = ceil(len(names) / across)
    figure = new_figure(1.4 + 3.6 * across, 0.8 + 4 * down, title)
    grid = figure.subplots(down, across, squeeze=False).flat
    for n, (name, axes) in enumerate(zip(names, grid, strict=False)):
        predicted, true = predictions[:, n], targets[:, n]
        if std is not None:
            low, high = predicted - std[:, n], predicted + std[:, n]
            axes.vlines(true, low, high, color=SKY, alpha=0.4, linewidth=0.8, zorder=0, label="± std")
        axes.scatter(true, predicted, s=9, color=BLUE, alpha=0.6, linewidths=0, label="test samples")
        ends = [float(true.min()), float(true.max())]
        axes.plot(ends, ends, color=VERMILION, linestyle="--", linewidth=1, label="predicted = true")
        axes.set(title=headings[n], xlabel=f"true {clip(name, 40)}", ylabel=f"predicted {clip(name, 40)}")
        axes.locator_params(nbins=6)
        axes.grid(True)
        axes.legend()
    for axes in grid:  # those left over in the last row
        axes.remove()
    return figure
