"""Names of columns, as they are typed in a list, and as a message shows them to be pasted."""

import csv
import shlex
from collections.abc import Collection, Iterable

from kindling.errors import DataError

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


class ColumnError(DataError):
    """A column that can't be used, which may be one of several.

    Args:
        message: The whole of it, but for how to leave the column out.
        name: Of the column.
        why: What is the matter with it, beginning with a verb.
        leave: Which words go before the option that leaves it out.
    """

    def __init__(self, message: str, name: str, why: str, leave: str = ": leave it out") -> None:
        super().__init__(message)
        self.name, self.why, self.leave = name, why, leave


def raise_all(errors: list[ColumnError], ignored: list[str], path: str) -> None:
    """Raise one error for all of them, with the option that leaves them out beside those ``ignored`` before."""
    if not errors:
        return
    ignore = f"--data.ignore {pasted([*ignored, *(error.name for error in errors)])}"
    if len(errors) == 1:
        raise DataError(f"{errors[0]}{errors[0].leave} with {ignore}")
    each = "; ".join(f"{error.name} {error.why}" for error in errors)
    raise DataError(f"{path}: {len(errors)} columns can't be used: {each}: leave them out with {ignore}")
