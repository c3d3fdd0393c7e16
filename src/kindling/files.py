"""Files that are there whole, or not at all, whatever happens while they are written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def whole(file: Path, mode: str = "w", **options: Any) -> Iterator[IO[Any]]:
    """Open a file to be written, which takes its name when it is complete and on the disk.

    What had that name before stays until then, and stays if writing fails.

    Args:
        file: In a folder that is there.
        mode: ``w`` or ``wb``.
        options: As ``open`` takes them; a text is UTF-8.

    Raises:
        OSError: It can't be written.
    """
    part = file.with_name(f"{file.name}.part")
    if mode == "w":
        options = {"encoding": "utf-8", "newline": "\n"} | options
    try:
        with part.open(mode, **options) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
        sync(file.parent)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(file)
        raise


def second_name(file: Path, name: Path) -> None:
    """Let ``name`` stand for the bytes of ``file`` too, however many they are, in place of what it stood for."""
    part = name.with_name(f"{name.name}.part")
    part.unlink(missing_ok=True)
    try:
        part.hardlink_to(file)
    except OSError:  # the file system has no such thing
        with whole(name, "wb") as copy, file.open("rb") as original:
            copy.write(original.read())
    else:
        part.replace(name)
        part.unlink(missing_ok=True)  # still there where both names stood for the same bytes already


def sync(path: Path) -> None:
    """Wait until what was written into a file, or which files a folder has, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
