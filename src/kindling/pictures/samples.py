"""Pictures of single samples: a grid of images, or a table."""

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

from kindling.console import width_of
from kindling.pictures.style import SKY, Array, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def image_grid(images: Array, captions: Sequence[str], title: str) -> "Figure":
    """Draw images in rows of six.

    Args:
        images: (N, C, H, W) uint8, with one or three channels.
        captions: Of two lines each: (N).
    """
    across = min(len(images), 6)
    down = ceil(len(images) / across)
    figure = new_figure(1.55 * across + 0.2, 1.75 * down + 0.4, title)
    axes = figure.add_subplot()  # a single one: an axes for each image would take ten times as long
    for n, (image, caption) in enumerate(zip(images, captions, strict=True)):
        x, y = n % across, 1.13 * (n // across)
        pixels = image.transpose(1, 2, 0) if len(image) == 3 else image[0]
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=(x + 0.1, x + 0.9, y + 1, y + 0.2))
        axes.text(x + 0.5, y + 0.17, caption, ha="center", va="bottom", fontsize=7, in_layout=False)
    axes.set(xlim=(0, across), ylim=(1.13 * down, -0.12), aspect="equal")
    axes.set_axis_off()
    return figure


def table(columns: dict[str, list[str]], title: str) -> "Figure":
    """Draw a column of cells under each name."""
    from matplotlib import rcParams

    families = ["monospace", *rcParams["font.family"][1:]]  # the others have letters that the first lacks
    widths = [2 + max(map(width_of, [name, *cells])) for name, cells in columns.items()]  # Latin letters
    rows = len(next(iter(columns.values())))
    figure = new_figure(max(4.0, 0.078 * sum(widths)), 0.2 * (rows + 1) + 0.35, title)
    axes = figure.add_subplot(xlim=(0, sum(widths)), ylim=(rows - 0.5, -1.5))
    axes.set_axis_off()
    for row in range(0, rows, 2):
        axes.axhspan(row - 0.5, row + 0.5, color=SKY, alpha=0.15, linewidth=0)
    x = 1
    for (name, cells), width in zip(columns.items(), widths, strict=True):
        for y, text in enumerate([name, *cells], start=-1):
            weight = "bold" if y < 0 else "normal"
            axes.text(x, y, text, va="center", fontsize=8, family=families, fontweight=weight, in_layout=False)
        x += width
    return figure
