"""What was decided about the columns of a table, for the screen and for the run's ``columns.csv``."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch

from kindling.data.table.forms import DIGITS, shown
from kindling.data.table.learned import Learned, TableRows

NAMED = 12  # columns of one kind on the screen


def on_screen(learned: Learned, parts: Sequence[TableRows]) -> list[str]:
    """Lines about the columns, those read in a form of their own, and categories that may be meant to be one.

    Args:
        parts: Training, validation and test rows.
    """
    numeric = [name for name in learned.numeric if name in learned.columns]  # without the parts of dates
    categorical = [f"{name} {len(known)}" for name, known in learned.categorical.items()]
    kinds = [f"{_some(names)} {kind}" for kind, names in (("numbers", numeric), ("categories", categorical)) if names]
    count = len(learned.columns)
    line = f"{count} column{'s' if count > 1 else ''}: {'; '.join(kinds)}"
    if gaps := [f"{name} {count}" for name, count in _gaps(learned, parts).items() if count and name in numeric]:
        line += f"; gaps filled: {_some(gaps)}"
    lines = [f"{line}; {'/'.join(str(len(part)) for part in parts)} rows to train, validate and test"]
    read: dict[str, list[str]] = defaultdict(list)
    for name, (column, form, detail) in learned.forms.items():
        if name == column:
            also = [name.removeprefix(f"{column} ") for name, of in learned.forms.items() if of[0] == column != name]
            text = " with ".join([shown(form, detail), *([" and ".join(also)] if also else [])])
            read["numbers" if form in DIGITS else "dates, as days"].append(f"{column} ({text})")
    told = [f"read as {kind}: {_some(names)}" for kind, names in read.items()]
    used = {*learned.columns, *learned.targets.columns}
    left_out = [name for name in parts[0].table.columns if name not in used]
    told += [f"left out: {_some(left_out)}"] if left_out else []
    same = [name for name, known in learned.categorical.items() if len(known) == 1]
    told += [f"always the same: {_some(same)}"] if same else []
    text = "; ".join(told)
    lines += [text[0].upper() + text[1:]] if told else []
    target = {learned.targets.columns[0]: learned.classes} if not learned.targets.several else {}
    for name, known in (learned.categorical | target).items():
        if alike := _alike(known):
            lines.append(f"{name} has categories that differ only by case or spaces, each one of its own: {alike}")
    return lines


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
    used = {*learned.columns, *learned.targets.columns}
    rows += [[name, "left out", *[""] * 6] for name in parts[0].table.columns if name not in used]
    header = ("column", "use", "written", "gaps", "filled with", "mean", "std", "categories")
    return {name: list(cells) for name, cells in zip(header, zip(*rows, strict=True), strict=True)}


def _gaps(learned: Learned, parts: Sequence[TableRows]) -> dict[str, int]:
    """How many of all rows have a gap, by column."""
    x = torch.cat([part.tensors[0] for part in parts])
    codes = {name: len(known) for name, known in learned.categorical.items()}  # of a gap
    empty = {
        name: x[:, n] == codes[name] if name in codes else x[:, n].isnan()
        for n, name in enumerate(learned.features.names)
    }
    return {name: int(column.sum()) for name, column in empty.items()}


def _alike(known: Iterable[str]) -> str:
    same: dict[str, list[str]] = defaultdict(list)
    for text in known:
        same["".join(text.split()).casefold()].append(text)
    return "; ".join(", ".join(map(repr, texts)) for texts in list(same.values()) if len(texts) > 1)


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
