"""An exception that nobody foresaw: in one line where its traceback would not help the user."""

import os
import re
import sysconfig
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten

from kindling.project import KINDLING
from kindling.runs.folder import LOGS

PACKAGE = Path(__file__).parents[1]
INSTALLED = {"site-packages", "dist-packages"}
LONGEST = 500  # characters of an exception's own words


def of_user(error: BaseException) -> bool:
    """Whether an exception came through the user's own code, a network, a dataset or anything else."""
    return any(map(_is_users, _files(error)))


def keep(error: Exception) -> str:
    """Write the traceback into a file, beside the runs if there are any, and return what to say about it."""
    folder = LOGS if os.access(LOGS, os.W_OK) else None
    with tempfile.NamedTemporaryFile(
        "w", dir=folder, prefix="traceback-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.writelines(traceback.format_exception(error))
    words = shorten(f"{type(error).__name__}: {error}", LONGEST, placeholder=" ...")
    advice = f"this is a bug in Kindling or in your code; the traceback is in {file.name}"
    return "; ".join([f"{words}: {advice}", *getattr(error, "__notes__", [])])


def _files(error: BaseException | None) -> Iterator[str]:
    """The files that an exception, and those before it, came through."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # an exception may come after itself
        seen.add(id(error))
        yield from (frame.filename for frame in traceback.extract_tb(error.__traceback__))
        if isinstance(error, SyntaxError) and error.filename:
            yield error.filename
        yield from re.findall(r'File "(.+?)", line', str(error))  # another process's traceback, in words
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _is_users(name: str) -> bool:
    """Whether a file is the user's: it is of no installed package, or holds a network or a dataset."""
    file = Path(name)
    if file.is_relative_to(PACKAGE):
        module = ".".join(("kindling", *file.relative_to(PACKAGE).with_suffix("").parts))
        return module in {entry.module for entry in (*KINDLING.models.values(), *KINDLING.data.values())}
    standard = file.is_relative_to(sysconfig.get_path("stdlib"))
    return not (standard or INSTALLED & set(file.parts) or name.startswith("<"))
