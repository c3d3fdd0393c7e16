"""Columns in a CSV file."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kindling.files import whole


def write(file: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Whole or not at all; the folder is made where it is not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole(file, newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def read_rows(file: Path) -> list[dict[str, str]]:
    """Rows by column name; none where there is no such file, and without one whose writing was cut short."""
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return [row for row in csv.DictReader(lines) if None not in row.values()]
