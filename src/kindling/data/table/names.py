"""Names of columns, as they are typed in a list, and as a message shows them to be pasted."""

import csv
import shlex
from collections.abc import Collection, Iterable

from kindling.errors import DataError
from kindling.registry import nearest

LISTS = ("target", "features", "ignore", "categorical")  # options of TabularCSV that name columns


def names_in(given: list[str], known: Collection[str]) -> list[str]:
    """Each name of a list, whose texts may hold several with commas between them; quotes keep a comma in a name."""
    return [
        name
        for text in given
        for name in ([text] if text in known else next(csv.reader([text], skipinitialspace=True), []))
    ]


def pasted(names: Iterable[str]) -> str:
    """Names in one word for a shell, e.g. ``'id,Mileage (km)'``."""
    quoted = ['"' + name.replace('"', '""') + '"' if set(name) & set(',"[]{}') else name for name in names]
    return shlex.quote(",".join(quoted))


def check_columns(needed: Iterable[str], columns: Iterable[str], where: str) -> None:
    """Raise a DataError if one of those needed is missing."""
    for column in needed:
        if column not in columns:
            hint = nearest(column, columns)
            raise DataError(f"{where} has no column {column}, which the training table had: add it{hint}")


class CellError(DataError):
    """A cell that can't be used.

    Args:
        message: The whole of it.
        name: Of the column.
    """

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


class ColumnError(CellError):
    """A column that can't be used, which may be one of several.

    Args:
        message: The whole of it, but for how to leave the column out.
        name: Of the column.
        why: What is the matter with it, beginning with a verb.
        leave: Which words go before the option that leaves it out.
    """

    def __init__(self, message: str, name: str, why: str, leave: str = ": leave it out") -> None:
        super().__init__(message, name)
        self.why, self.leave = why, leave


def raise_all(errors: list[ColumnError], ignored: list[str], path: str) -> None:
    """Raise one error for all of them, with the option that leaves them out beside those ``ignored`` before."""
    if not errors:
        return
    ignore = f"--data.ignore {pasted([*ignored, *(error.name for error in errors)])}"
    if len(errors) == 1:
        raise DataError(f"{errors[0]}{errors[0].leave} with {ignore}")
    each = "; ".join(f"{error.name} {error.why}" for error in errors)
    raise DataError(f"{path}: {len(errors)} columns can't be used: {each}: leave them out with {ignore}")
