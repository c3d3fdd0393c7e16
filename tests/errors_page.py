"""docs/errors.md: what a user can get wrong, and the very line that answers it, as the tests saw it."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from kindling.data import DATA
from kindling.models import MODELS

PAGE = Path(__file__).parents[1] / "docs/errors.md"
WRITE = "WRITE_ERRORS" in os.environ  # make errors
HEAD = """\
# What can go wrong, and what you see

Each of these ends with one line on standard error, `kindling: error: ...`, and exit code 2; nothing that was there is
lost, and nothing half written is left. Every row is a test, which sees the very line; `make errors` writes them anew.
"""


class Case(NamedTuple):
    """
    Args:
        what: The mistake, as the page names it.
        args: The command.
        says: A part of the answer that says what, where or how to mend.
        prepare: What comes before, in an empty working directory.
    """

    what: str
    args: tuple[str, ...]
    says: str
    prepare: Callable[[], object] = lambda: None


_seen: dict[str, list[str]] = {}


def check(section: str, case: Case, line: str) -> None:
    """Compare an answer with the page, or take it down for the page."""
    assert case.says in line, line
    command = " ".join(shlex.quote(arg) for arg in case.args)
    row = f"| {_cell(case.what)} | `{_cell(command)}` | {_cell(line)} |"
    _seen.setdefault(section, []).append(row)
    if not WRITE and _names_others(line):
        return  # an adopter's networks and datasets are others
    assert WRITE or row in rows(), f"make errors writes docs/errors.md anew, now with the row {row}"


def rows() -> list[str]:
    return [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]


def write() -> None:
    """What was seen in this session, in the order of the tests."""
    parts = [HEAD]
    for section, seen in _seen.items():
        parts.append(
            f"## {section}\n\n| what | typed | answer |\n|---|---|---|\n" + "".join(f"{row}\n" for row in seen)
        )
    PAGE.write_text("\n".join(parts), encoding="utf-8")


def _names_others(line: str) -> bool:
    """Whether an answer lists networks or datasets of this project."""
    listed = line.partition("there are ")[2] + line.partition("did you mean ")[2]
    return any(name in listed for name in (*MODELS, *DATA))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
