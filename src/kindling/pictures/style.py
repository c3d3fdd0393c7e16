"""The style that all pictures share. matplotlib is imported when the first is drawn: it takes half a second."""

import logging
import re
import warnings
from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kindling.console import say, width_of
from kindling.pictures.fonts import families_with

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[Any]
Draw = Callable[[], "Figure"]
GLYPH = re.compile(r"Glyph (\d+)")  # of matplotlib's warning that a font lacks a letter

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


_families = ["sans-serif"]  # each letter is drawn in the first of them that has it
_boxes: list[str] = []  # letters that no font of this machine has


def new_figure(width: float, height: float, title: str) -> "Figure":
    """An empty figure, in inches; wider where its title needs it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(width, 0.08 * width_of(title) + 0.2), height), layout="constrained")
    figure.suptitle(title)
    return figure


def paint(draw: Draw) -> NDArray[np.uint8]:
    """What ``draw`` makes, in our style, as pixels (height, width, 3).

    It is drawn once more where another font of this machine has letters that were lacking. The first time that none has
    them, a line says so.
    """
    pixels, lacking = _paint(draw)
    if any(letter not in _boxes for letter in lacking):
        if families := families_with(lacking):
            _families.extend(families)
            pixels, lacking = _paint(draw)
        boxes = [letter for letter in lacking if letter not in _boxes]
        if boxes and not _boxes:
            *some, last = boxes if len(boxes) <= 3 else (*boxes[:2], f"{len(boxes) - 2} more letters")
            letters = f"{', '.join(some)} and {last}" if some else last
            hint = "install one that does, e.g. apt install fonts-noto-cjk for Chinese"
            say(f"No font here has {letters}: pictures show boxes instead; {hint}")
        _boxes.extend(boxes)
    return pixels


def _paint(draw: Draw) -> tuple[NDArray[np.uint8], list[str]]:
    """The pixels, and the letters that are boxes there."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it warns where a font has no bold letters
    with rc_context(STYLE | {"font.family": _families}), warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", GLYPH.pattern)
        canvas = FigureCanvasAgg(draw())
        canvas.draw()
        pixels = np.array(canvas.buffer_rgba())[..., :3]
    lacking = dict[str, None]()  # in the order of the picture
    for warning in caught:
        if glyph := GLYPH.match(str(warning.message)):
            lacking[chr(int(glyph[1]))] = None
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return pixels, [letter for letter in lacking if letter.isprintable()]


def clip(text: object, limit: int = 20) -> str:
    """The text in one line that is at most ``limit`` letters wide, as ``width_of`` counts."""
    line = " ".join(str(text).split())
    if width_of(line) <= limit:
        return line
    return line[: sum(end < limit for end in accumulate(map(width_of, line)))] + "…"
