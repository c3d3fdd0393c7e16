"""What is printed once, however many processes there are."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unicodedata import east_asian_width

_shown: list[str] = []  # the line that ``waiting`` has left on the terminal


def say(line: str) -> None:
    """Print a line at once."""
    if is_first_process():
        _clear()
        print(line, flush=True)


def width_of(text: str) -> int:
    """How wide a text is, in Latin letters: a Chinese one takes two."""
    return len(text) + sum(east_asian_width(letter) in "WF" for letter in text)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row of cells, the columns of all below each other."""
    widths = [max(map(width_of, column)) for column in zip(*rows, strict=True)]
    padded = ([text + " " * (width - width_of(text)) for text, width in zip(row, widths, strict=True)] for row in rows)
    return ["  ".join(row).rstrip() for row in padded]


def is_first_process() -> bool:
    if "lightning" not in sys.modules:  # a command that needs no torch
        return is_first_here()
    from lightning.pytorch.utilities import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) == 0


def is_first_here() -> bool:
    """Whether this is the first process on its machine, as torchrun, srun or Lightning number them; without torch."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "SLURM_LOCALID"))


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """On a terminal, say what is being waited for, until that is over or something else is said."""
    if is_first_here() and sys.stderr.isatty():
        _shown.append(what)
        print(f"{what} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        _clear()


def _clear() -> None:
    if _shown:
        blank = " " * len(f"{_shown.pop()} ...")  # not an escape sequence, which older consoles of Windows show
        print(f"\r{blank}\r", end="", file=sys.stderr, flush=True)
