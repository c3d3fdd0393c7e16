"""Files that are complete or not there at all, whatever happens while they are written."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

DAY = 24 * 3600  # seconds


@contextmanager
def atomic_write(file: Path, mode: str = "w", **options: Any) -> Iterator[IO[Any]]:
    """Open a file for writing; it gets its name when it is complete and on the disk.

    A file that had that name stays until then, and stays if writing fails. Where several processes write one file at
    the same time, the last to finish wins.

    Args:
        options: As ``open`` takes them; text is UTF-8, with escapes for what isn't: the bytes of some file names.

    Raises:
        OSError: It can't be written.
    """
    remove_leftovers(file.parent, f"{file.name}.*.part", age=DAY)
    part = _part(file)
    if mode == "w":
        options = {"encoding": "utf-8", "errors": "backslashreplace", "newline": "\n"} | options
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


def hard_link(file: Path, name: Path) -> None:
    """Make ``name`` a second name of ``file``, whatever it was before; a copy where the file system has no links."""
    part = _part(name)
    try:
        part.hardlink_to(file)
    except OSError:
        with atomic_write(name, "wb") as copy, file.open("rb") as original:
            copy.write(original.read())
    else:
        part.replace(name)
    finally:
        part.unlink(missing_ok=True)  # replace() leaves it where both names were the same file already


def remove_leftovers(folder: Path, *patterns: str, age: float = 0) -> None:
    """Remove what killed processes left behind in a folder.

    Args:
        age: Seconds since they were last written to; large enough that no process can still be writing.
    """
    for pattern in patterns:
        for left in folder.glob(pattern):
            with suppress(OSError):  # another process was faster
                if time.time() - left.stat().st_mtime >= age:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Let one process at a time write into a folder, so that files that belong together stay together."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _part(file: Path) -> Path:
    """A temporary name for a file, different in each process, even on several machines."""
    return file.with_name(f"{file.name}.{os.urandom(4).hex()}.part")


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of files, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
