"""Columns in a CSV file."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kindling.errors import RunError
from kindling.runs.atomic import atomic_write


def write(file: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns of one length, atomically."""
    with atomic_write(file, newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


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
