"""Pictures of a test of classes or tags: confusion, reliability, scores per tag, and the boundary in the plane."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kindling.pictures.style import BLACK, BLUE, COLORS, GREEN, ORANGE, SKY, Array, clip, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEGEND_ENTRIES = 16  # classes named in a legend


def confusion(counts: Array, names: Sequence[str], title: str) -> "Figure":
    """Draw a confusion matrix, each cell shaded by its share of the true class.

    Args:
        counts: Samples, a row per true class and a column per predicted one: (C, C), or (C, C + 1) with one for others.
        names: One per column.
    """
    from matplotlib.colors import LinearSegmentedColormap

    classes = len(counts)
    few = classes <= 12
    side = max(2.4, (0.62 if few else 0.3) * classes)  # inches
    figure = new_figure(side + (1.4 if few else 2.4), side + 1.4, title)
    axes = figure.subplots()
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    shading = axes.imshow(shares, cmap=LinearSegmentedColormap.from_list("share", ["white", BLUE]), vmin=0, vmax=1)
    for true, predicted in np.argwhere(counts):
        count, share = counts[true, predicted], shares[true, predicted]
        text = f"{count:,}\n{share:.0%}" if few else str(count)
        color, size = "white" if share > 0.5 else BLACK, 8 if few else 6
        # to measure a text takes as long as to draw it, so the layout leaves these out
        axes.text(predicted, true, text, color=color, fontsize=size, ha="center", va="center", in_layout=False)
    labels = [clip(name) for name in names]
    slant: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if few else {"rotation": 90}
    axes.set_xticks(range(len(labels)), labels, **slant)
    axes.set_yticks(range(classes), labels[:classes])
    axes.set(xlabel="predicted", ylabel="true")
    if not few:
        figure.colorbar(shading, ax=axes, label="share of the true class", shrink=0.8, format="{x:.0%}")
    return figure


def reliability(counts: Array, confidence: Array, accuracy: Array, title: str) -> "Figure":
    """Draw accuracy over confidence, above a histogram of the confidence.

    Args:
        counts: Samples in each of the equal bins of the confidence from 0 to 1: (bins,).
        confidence: Mean in each bin: (bins,).
        accuracy: Mean in each bin: (bins,).
    """
    bins, filled = len(counts), counts > 0
    edges = np.arange(bins) / bins
    figure = new_figure(5, 5.6, title)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    bars: dict[str, Any] = {"width": 1 / bins, "align": "edge", "edgecolor": "white"}
    upper.bar(edges, accuracy, color=BLUE, label="accuracy", **bars)
    left, right = edges[filled], edges[filled] + 1 / bins
    upper.hlines(confidence[filled], left, right, color=ORANGE, linewidth=3, label="mean confidence")
    upper.plot([0, 1], [0, 1], color=BLACK, linestyle="--", linewidth=1, label="perfectly calibrated")
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    upper.legend(loc="upper left")
    drawn = lower.bar(edges, counts, color=SKY, **bars)
    lower.bar_label(drawn, [f"{n:,}" if n else "" for n in counts.tolist()], fontsize=7, padding=1)
    lower.set(xlabel="confidence: probability of the predicted class", ylabel="samples")
    lower.margins(y=0.2)
    return figure


def tag_scores(scores: dict[str, Array], names: Sequence[str], title: str) -> "Figure":
    """Draw a group of bars per tag.

    Args:
        scores: Up to three, each (tags,) from 0 to 1, by the name that the legend shows.
        names: One per tag.
    """
    places = np.arange(len(names))
    figure = new_figure(6.5, 0.42 * len(names) + 1.3, title)
    axes = figure.subplots()
    for n, ((label, values), color) in enumerate(zip(scores.items(), (BLUE, SKY, GREEN), strict=False)):
        axes.barh(places + 0.26 * (n - 1), values, height=0.26, color=color, label=label)
    axes.set_yticks(places, names)
    axes.invert_yaxis()  # the first tag on top
    axes.set(xlim=(0, 1), xlabel="score")
    axes.grid(True, axis="x")
    figure.legend(loc="outside right center")
    return figure


def boundary(
    extent: Sequence[float],
    points: tuple[Array, Array, Array],
    feature_names: Sequence[str],
    class_names: Sequence[str],
    title: str,
    predicted: Array,
    rule: Array | None = None,
) -> "Figure":
    """Draw the classes that a network predicts over the plane of two features.

    Args:
        extent: Lowest and highest first feature, then second.
        points: Of some samples the features (N, 2), labels (N,) int64, and whether the prediction is wrong (N,) bool.
        predicted: The class at each place, from the lowest second feature up: (H, W) int64.
        rule: Likewise the true class, where it is known.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.lines import Line2D

    x, labels, wrong = points
    colors = np.array([to_rgb(COLORS[n % len(COLORS)]) for n in range(len(class_names))])
    figure = new_figure(6.2, 4.6, title)
    axes: Any = figure.subplots()
    axes.imshow(1 - (1 - colors[predicted]) * 0.3, extent=extent, origin="lower", aspect="auto")
    edges = np.where(wrong, BLACK, "white")
    axes.scatter(*x.T, s=np.where(wrong, 40, 22), c=colors[labels], edgecolors=edges, linewidths=0.7)
    named = zip(class_names[:LEGEND_ENTRIES], colors, strict=False)
    keys: list[Any] = [axes.scatter([], [], s=30, c=[color], label=clip(name)) for name, color in named]
    if len(class_names) > LEGEND_ENTRIES:
        keys.append(Line2D([], [], linestyle="", label=f"and {len(class_names) - LEGEND_ENTRIES:,} more"))
    keys.append(axes.scatter([], [], s=40, c="none", edgecolors=BLACK, label="wrong prediction"))
    if rule is not None:
        levels = [n + 0.5 for n in range(int(rule.min()), int(rule.max()))]
        if levels:
            axes.contour(rule, levels, extent=extent, colors=BLACK, linestyles="--", linewidths=1.2)
        keys.append(Line2D([], [], color=BLACK, linestyle="--", label="true rule"))
    axes.set(xlabel=feature_names[0], ylabel=feature_names[1])
    figure.legend(handles=keys, loc="outside right center", title="shade: predicted class")
    return figure
