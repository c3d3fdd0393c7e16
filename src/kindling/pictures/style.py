"""The style that all pictures share. matplotlib is imported when the first is drawn: it takes half a second."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[Any]
Draw = Callable[[], "Figure"]

# the palette of Okabe and Ito, which people with colour blindness can tell apart
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, VERMILION, YELLOW, BLACK = "#56B4E9", "#D55E00", "#F0E442", "#000000"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW, BLACK)
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


def new_figure(width: float, height: float, title: str) -> "Figure":
    """An empty figure, in inches; wider where its title needs it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(width, 0.08 * len(title) + 0.2), height), layout="constrained")
    figure.suptitle(title)
    return figure


def paint(draw: Draw) -> NDArray[np.uint8]:
    """What ``draw`` makes, in our style, as pixels (height, width, 3)."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+")  # letters that the font lacks are drawn as boxes
        canvas = FigureCanvasAgg(draw())
        canvas.draw()
        return np.array(canvas.buffer_rgba())[..., :3]


def clip(text: object, limit: int = 20) -> str:
    """The text in one line of at most ``limit`` letters."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
