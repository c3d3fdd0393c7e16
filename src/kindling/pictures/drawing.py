"""The style that all pictures share, how those of a test are drawn, and the two places where they go.

Each function that draws takes numbers and returns a figure; matplotlib is imported when the first one is drawn. Where
there are many texts they are left out of the layout: to measure one takes as long as to draw it.
"""

import warnings
from collections.abc import Callable, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[Any]

# Okabe and Ito's colours, told apart by everyone
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, VERMILION, YELLOW, BLACK = "#56B4E9", "#D55E00", "#F0E442", "#000000"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW, BLACK)
NAMED = 16  # classes in a legend
STYLE: Any = {
    "figure.dpi": 100,
    "font.size": 9,
    "figure.titlesize": 10,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "text.parse_math": False,  # a class may be called "$5 to $10"
}


def figure(width: float, height: float, title: str) -> "Figure":
    """An empty picture, in inches; wider where its title is."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(max(width, 0.08 * len(title) + 0.2), height), layout="constrained")
    made.suptitle(title)
    return made


def paint(draw: Callable[[], "Figure"]) -> NDArray[np.uint8]:
    """What ``draw`` makes, in our style: pixels (height, width, 3)."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+")  # letters that the font lacks are drawn as boxes
        canvas = FigureCanvasAgg(draw())
        canvas.draw()
        return np.array(canvas.buffer_rgba())[..., :3]


def clip(text: object, limit: int = 20) -> str:
    """One line of at most ``limit`` letters."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def confusion(counts: Array, names: Sequence[str], title: str) -> "Figure":
    """
    Args:
        counts: Samples, a row per true class and a column per predicted one: (C, C), or (C, C + 1) with one for others.
        names: Of the columns.
    """
    from matplotlib.colors import LinearSegmentedColormap

    classes = len(counts)
    few = classes <= 12
    side = max(2.4, (0.62 if few else 0.3) * classes)  # inches
    made = figure(side + (1.4 if few else 2.4), side + 1.4, title)
    axes = made.subplots()
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    shown = axes.imshow(shares, cmap=LinearSegmentedColormap.from_list("share", ["white", BLUE]), vmin=0, vmax=1)
    for true, predicted in np.argwhere(counts):
        count, share = counts[true, predicted], shares[true, predicted]
        axes.text(
            predicted,
            true,
            f"{count:,}\n{share:.0%}" if few else str(count),
            color="white" if share > 0.5 else BLACK,
            fontsize=8 if few else 6,
            ha="center",
            va="center",
            in_layout=False,
        )
    labels = [clip(name) for name in names]
    slant: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if few else {"rotation": 90}
    axes.set_xticks(range(len(labels)), labels, **slant)
    axes.set_yticks(range(classes), labels[:classes])
    axes.set(xlabel="predicted", ylabel="true")
    if not few:
        made.colorbar(shown, ax=axes, label="share of the true class", shrink=0.8, format="{x:.0%}")
    return made


def image_grid(images: Array, captions: Sequence[str], title: str) -> "Figure":
    """
    Args:
        images: (N, C, H, W) uint8, in rows of six.
        captions: (N), of two lines each.
    """
    across = 6
    down = ceil(len(images) / across)
    made = figure(1.55 * min(len(images), across) + 0.2, 1.75 * down + 0.4, title)
    axes = made.add_subplot()  # a single one: an axes for each image would take ten times as long
    for n, (image, caption) in enumerate(zip(images, captions, strict=True)):
        x, y = n % across, 1.13 * (n // across)
        pixels = image.transpose(1, 2, 0) if len(image) == 3 else image[0]
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=(x + 0.1, x + 0.9, y + 1, y + 0.2))
        axes.text(x + 0.5, y + 0.17, caption, ha="center", va="bottom", fontsize=7, in_layout=False)
    axes.set(xlim=(0, min(len(images), across)), ylim=(1.13 * down, -0.12), aspect="equal")
    axes.set_axis_off()
    return made


def table(columns: dict[str, list[str]], title: str) -> "Figure":
    """A column of cells under each name."""
    letters = [2 + max(map(len, [name, *cells])) for name, cells in columns.items()]
    rows = len(next(iter(columns.values())))
    made = figure(max(4.0, 0.078 * sum(letters)), 0.2 * (rows + 1) + 0.35, title)
    axes = made.add_subplot(xlim=(0, sum(letters)), ylim=(rows - 0.5, -1.5))
    axes.set_axis_off()
    for row in range(0, rows, 2):
        axes.axhspan(row - 0.5, row + 0.5, color=SKY, alpha=0.15, linewidth=0)
    x = 1
    for (name, cells), width in zip(columns.items(), letters, strict=True):
        for y, text in enumerate([name, *cells], start=-1):
            weight = "bold" if y < 0 else "normal"
            axes.text(x, y, text, va="center", fontsize=8, family="monospace", fontweight=weight, in_layout=False)
        x += width
    return made


def reliability(counts: Array, confidence: Array, accuracy: Array, title: str) -> "Figure":
    """
    Args:
        counts: (bins,) samples whose confidence is in each of the equal parts of 0 to 1; likewise the next two.
        confidence: Mean.
        accuracy: Mean.
    """
    bins = len(counts)
    edges = np.arange(bins) / bins
    made = figure(5, 5.6, title)
    upper, lower = made.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    width: dict[str, Any] = {"width": 1 / bins, "align": "edge", "edgecolor": "white"}
    upper.bar(edges, accuracy, color=BLUE, label="accuracy", **width)
    some = counts > 0
    upper.hlines(
        confidence[some], edges[some], edges[some] + 1 / bins, color=ORANGE, linewidth=3, label="mean confidence"
    )
    upper.plot([0, 1], [0, 1], color=BLACK, linestyle="--", linewidth=1, label="as sure as right")
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    upper.legend(loc="upper left")
    bars = lower.bar(edges, counts, color=SKY, **width)
    lower.bar_label(bars, [f"{n:,}" if n else "" for n in counts.tolist()], fontsize=7, padding=1)
    lower.set(xlabel="confidence: probability of the predicted class", ylabel="samples")
    lower.margins(y=0.2)
    return made


def boundary(
    predicted: Array,
    ruled: Array | None,
    extent: tuple[float, float, float, float],
    points: tuple[Array, Array, Array],
    names: tuple[Sequence[str], Sequence[str]],
    title: str,
) -> "Figure":
    """
    Args:
        predicted: (H, W) int64, the network's class at each place of the plane, from the lowest second feature up.
        ruled: (H, W) int64, the true one, where there is a rule.
        extent: Lowest and highest first feature, then second.
        points: Raw features (N, 2), labels (N,) int64, and which of them were predicted wrongly.
        names: Of the features, and of the classes.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.lines import Line2D

    x, labels, wrong = points
    colors = np.array([to_rgb(COLORS[n % len(COLORS)]) for n in range(len(names[1]))])
    made = figure(6.2, 4.6, title)
    axes: Any = made.subplots()
    axes.imshow(1 - (1 - colors[predicted]) * 0.3, extent=extent, origin="lower", aspect="auto")
    keys: list[Any] = []
    forms: list[Any] = [{"c": [color], "marker": marker} for color, marker in zip(COLORS, "os^DvP*h", strict=True)]
    for n, form in enumerate(forms):  # the classes that look alike at once: there may be thousands
        for chosen, edge, size in ((~wrong, "white", 22), (wrong, BLACK, 40)):
            axes.scatter(*x[(labels % len(forms) == n) & chosen].T, s=size, edgecolors=edge, linewidths=0.7, **form)
    for label, name in enumerate(names[1][:NAMED]):
        keys.append(axes.scatter([], [], s=30, label=clip(name), **forms[label % len(forms)]))
    if len(names[1]) > NAMED:
        keys.append(Line2D([], [], linestyle="", label=f"and {len(names[1]) - NAMED:,} more"))
    keys.append(axes.scatter([], [], s=40, c="none", edgecolors=BLACK, label="predicted wrongly"))
    if ruled is not None:
        levels = [n + 0.5 for n in range(int(ruled.min()), int(ruled.max()))]
        if levels:
            axes.contour(ruled, levels, extent=extent, colors=BLACK, linestyles="--", linewidths=1.2)
        keys.append(Line2D([], [], color=BLACK, linestyle="--", label="true rule"))
    axes.set(xlabel=names[0][0], ylabel=names[0][1])
    made.legend(handles=keys, loc="outside right center", title="shade: predicted class")
    return made


def predicted_against_true(predictions: Array, targets: Array, name: str, title: str) -> "Figure":
    """
    Args:
        predictions: (N, 1), or (N, 2) with a standard deviation.
        targets: (N,)
        name: Of the target.
    """
    made = figure(5, 4.8, title)
    axes = made.subplots()
    value, *std = predictions.T
    if std:
        axes.vlines(
            targets, value - std[0], value + std[0], color=SKY, alpha=0.4, linewidth=0.8, zorder=0, label="± std"
        )
    axes.scatter(targets, value, s=9, color=BLUE, alpha=0.6, linewidths=0, label="test samples")
    ends = [float(targets.min()), float(targets.max())]
    axes.plot(ends, ends, color=VERMILION, linestyle="--", linewidth=1, label="predicted = true")
    axes.set(xlabel=f"true {clip(name, 40)}", ylabel=f"predicted {clip(name, 40)}")
    axes.grid(True)
    axes.legend()
    return made
