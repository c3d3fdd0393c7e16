"""Columns in a CSV file."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kindling.errors import RunError
from kindling.runs.atomic import atomic_write


def write(file: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Whole or not at all; the folder is made where it is not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file, newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def read_rows(file: Path) -> list[dict[str, str]]:
    """Rows of a ``metrics.csv``; none where there is no such file, and without one whose writing was cut short.

    A spreadsheet program may have saved it anew, with semicolons and decimal commas.

    Raises:
        RunError: The file doesn't hold the numbers of epochs.
    """
    if not file.is_file():
        return []
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            by = max(",;\t", key=lines.readline().count)
            lines.seek(0)
            rows = [row for row in csv.DictReader(lines, delimiter=by) if None not in row.values()]
        if by != ",":
            rows = [{name: cell.replace(",", ".") for name, cell in row.items()} for row in rows]
        for row in rows:
            _ = int(row["epoch"]), int(row["step"]), [float(cell) for cell in row.values() if cell]
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise RunError(f"{file} doesn't hold a number in each cell any more: mend it, or move it away") from error
    return rows
