"""The last resort: an exception that nobody foresaw, in one line, where its traceback would tell the user nothing."""

import re
import sys
import sysconfig
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from kindling.runs.folder import Run

PACKAGE = Path(__file__).parents[1]
INSTALLED = {"site-packages", "dist-packages"}
# in the networks' and the datasets' folders, but neither a network nor a dataset
SHARED = {"__init__", "base", "loading", "augment"}
LONGEST = 500  # characters of an exception's own words


def answer(error: Exception) -> int:
    """Say what happened in one line, and keep the traceback.

    Returns:
        The exit code, 1.

    Raises:
        Exception: The same again, where it came out of the user's own code: then the traceback is what they need.
    """
    if of_user(error):
        raise error
    file = _keep(error)
    words = " ".join([type(error).__name__ + ":", *str(error).split()])
    words = words if len(words) <= LONGEST else f"{words[:LONGEST]} ..."
    advice = f"this is a bug in Kindling or in your code; the traceback is in {file}"
    print("kindling: error:", "; ".join([f"{words}: {advice}", *getattr(error, "__notes__", [])]), file=sys.stderr)
    return 1


def of_user(error: BaseException) -> bool:
    """Whether an exception came through the user's own code, a network, a dataset or anything else."""
    return any(map(_is_users, _files(error)))


def _files(error: BaseException | None) -> Iterator[str]:
    """The files that an exception came through, and those before it."""
    outermost = error
    while error is not None:
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        if error is outermost or not all(map(_is_users, files)):  # else it was raised before the command was called
            yield from files
        if isinstance(error, SyntaxError) and error.filename:
            yield error.filename
        yield from re.findall(r'File "(.+?)", line', str(error))  # another process's traceback, in words
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _is_users(name: str) -> bool:
    """Whether a file is neither Python's, nor an installed package's, nor this project's own machinery."""
    file = Path(name)
    if file.is_relative_to(PACKAGE):  # where an adopter's networks and datasets lie beside ours
        return file.parent in (PACKAGE / "models", PACKAGE / "data") and file.stem not in SHARED
    standard = file.is_relative_to(sysconfig.get_path("stdlib"))
    return not (standard or INSTALLED & set(file.parts) or name.startswith("<"))


def _keep(error: Exception) -> Path:
    """Write the traceback into the run's folder, or where that can't be, into the temporary one."""
    text = "".join(traceback.format_exception(error))
    for frame, _ in traceback.walk_tb(error.__traceback__):
        run = getattr(frame.f_locals.get("job"), "run", None)
        if isinstance(run, Run) and run.folder.is_dir():
            with suppress(OSError):
                file = run.folder / "traceback.txt"
                file.write_text(text, encoding="utf-8")
                return file
    with tempfile.NamedTemporaryFile("w", prefix="kindling-", suffix=".txt", delete=False, encoding="utf-8") as kept:
        kept.write(text)
    return Path(kept.name)
