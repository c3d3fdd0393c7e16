"""What was decided about the columns of a table, for the screen and for the run's ``columns.csv``."""

from collections import defaultdict
from collections.abc import Sequence, Sized

import torch

from kindling.data.table.forms import DIGITS, shown
from kindling.data.table.learned import Learned, TableRows

NAMED = 12  # columns of one kind on the screen


def on_screen(learned: Learned, parts: Sequence[TableRows]) -> list[str]:
    """Lines about the columns, those read in a form of their own, and categories that may be meant to be one.

    Args:
        parts: Training, validation and test rows.
    """
    remarks = _read_as(learned) | {
        "left out": _left_out(learned, parts),
        "always the same": [name for name, known in learned.categorical.items() if len(known) == 1],
    }
    remark = "; ".join(f"{what}: {_some(names)}" for what, names in remarks.items() if names)
    return [_overview(learned, parts), *([remark[0].upper() + remark[1:]] if remark else []), *_alike(learned)]


def as_columns(learned: Learned, parts: Sequence[TableRows]) -> dict[str, list[object]]:
    """A row for each number and category that the network gets, each target, and each column that is left out."""
    gaps, rows = _gaps(learned, parts), []
    for name, (fill, mean, std) in learned.numeric.items():
        _, form, detail = learned.forms.get(name, [name, "", ""])
        written = shown(form, detail if form in DIGITS else "") if form else ""
        numbers = [f"{value:.6g}" for value in (fill, mean, std)]
        rows.append([name, "number", written, gaps[name], *numbers, ""])
    for name, known in learned.categorical.items():
        rows.append([name, "categories", "", gaps[name], "", "", "", " | ".join(known)])
    rows += [[name, "target", "", "", "", "", "", " | ".join(learned.classes)] for name in learned.targets.columns]
    for use, names in (("group", learned.options["group"]), ("left out", _left_out(learned, parts))):
        rows += [[name, use, *[""] * 6] for name in names]
    header = ("column", "use", "written", "gaps", "filled with", "mean", "std", "categories")
    return {name: list(cells) for name, cells in zip(header, zip(*rows, strict=True), strict=True)}


def _overview(learned: Learned, parts: Sequence[TableRows]) -> str:
    """How many columns and rows there are, which columns are of which kind, and which gaps were filled."""
    numeric = [name for name in learned.numeric if name in learned.columns]  # without the parts of dates
    categorical = [f"{name} {len(known)}" for name, known in learned.categorical.items()]
    kinds = [f"{_some(names)} {kind}" for kind, names in (("numbers", numeric), ("categories", categorical)) if names]
    count = len(learned.columns)
    line = f"{count} column{'s' if count > 1 else ''}: {'; '.join(kinds)}"
    if gaps := [f"{name} {count}" for name, count in _gaps(learned, parts).items() if count and name in numeric]:
        line += f"; gaps filled: {_some(gaps)}"
    line += f"; {_counts(parts)} rows to train, validate and test"
    if groups := [found for part in parts if (found := set(learned.groups(part)))]:
        line += f"; {len(set().union(*groups))} groups of {learned.options['group'][0]}: {_counts(groups)}"
    return line


def _read_as(learned: Learned) -> dict[str, list[str]]:
    """Columns that are written in a form of their own, by what they are read as."""
    read: dict[str, list[str]] = defaultdict(list)
    for name, (column, form, detail) in learned.forms.items():
        if name == column:
            also = [name.removeprefix(f"{column} ") for name, of in learned.forms.items() if of[0] == column != name]
            text = " with ".join([shown(form, detail), *([" and ".join(also)] if also else [])])
            read[f"read as {'numbers' if form in DIGITS else 'dates, as days'}"].append(f"{column} ({text})")
    return read


def _left_out(learned: Learned, parts: Sequence[TableRows]) -> list[str]:
    used = {*learned.columns, *learned.targets.columns, *learned.options["group"]}
    return [name for name in parts[0].table.columns if name not in used]


def _gaps(learned: Learned, parts: Sequence[TableRows]) -> dict[str, int]:
    """How many of all rows have a gap, by column."""
    x = torch.cat([part.tensors[0] for part in parts])
    codes = {name: len(known) for name, known in learned.categorical.items()}  # of a gap
    empty = {
        name: x[:, n] == codes[name] if name in codes else x[:, n].isnan()
        for n, name in enumerate(learned.features.names)
    }
    return {name: int(column.sum()) for name, column in empty.items()}


def _alike(learned: Learned) -> list[str]:
    """A line for each column, the target included, whose categories differ only in how they are written."""
    target = {learned.targets.columns[0]: learned.classes} if not learned.targets.several else {}
    lines = []
    for name, known in (learned.categorical | target).items():
        same: dict[str, list[str]] = defaultdict(list)
        for text in known:
            same["".join(text.split()).casefold()].append(text)
        if alike := "; ".join(", ".join(map(repr, texts)) for texts in same.values() if len(texts) > 1):
            lines.append(f"{name} has categories that differ only by case or spaces, each one of its own: {alike}")
    return lines


def _counts(parts: Sequence[Sized]) -> str:
    return "/".join(str(len(part)) for part in parts)


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
