"""Columns in a CSV file."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kindling.errors import RunError
from kindling.runs.atomic import atomic_write


def write(file: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns of one length, atomically. A number of float32 gets the fewest digits that it is read back from."""
    with atomic_write(file, newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(columns)
        writer.writerows(zip(*map(_in_few_digits, columns.values()), strict=True))


def _in_few_digits(cells: Sequence[Any]) -> Sequence[Any]:
    """A column of float32 as such, as its 0.30000001192092896 is written 0.3; any other column as it is."""
    import numpy as np  # late: whoever reads a run's files alone has no use for it

    if not all(type(cell) is float for cell in cells):
        return cells
    with np.errstate(over="ignore"):
        narrow = np.asarray(cells, np.float64).astype(np.float32)
    if not np.array_equal(narrow.astype(np.float64), cells, equal_nan=True):
        return cells
    return [float(digits) for digits in narrow.astype(str)]


def read_rows(file: Path) -> list[dict[str, str]]:
    """Rows of a ``metrics.csv``, but for one that was cut short; none where there is no such file.

    Raises:
        RunError: The file doesn't hold the numbers of epochs.
    """
    if not file.is_file():
        return []
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = [row for row in csv.DictReader(lines) if None not in row.values()]
        for row in rows:
            _ = int(row["epoch"]), int(row["step"]), [float(cell) for cell in row.values() if cell]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{file} doesn't hold a number in each cell any more: mend it, or move it away") from error
    return rows
