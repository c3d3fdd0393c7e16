"""Files that are complete or not there at all, whatever happens while they are written."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

DAY = 24 * 3600  # seconds
IN_USE = 5.0  # seconds that Windows may refuse to replace a file, as another program reads it


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
        replace(part, file)
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
        replace(part, name)
    finally:
        part.unlink(missing_ok=True)  # replacing leaves it where both names were the same file already


def replace(part: Path, file: Path) -> None:
    """Give a complete file its name, in place of the file that has it.

    Windows refuses that while a program has the other file open, be it a virus scanner; so it is tried for a while.

    Raises:
        PermissionError: The folder can't be written, or the file stays open.
    """
    end = time.monotonic() + (IN_USE if sys.platform == "win32" else 0)
    while True:
        try:
            part.replace(file)
            return
        except PermissionError:
            if time.monotonic() >= end:
                raise
        time.sleep(0.05)


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
    with locked(folder / ".writing.lock"):
        yield


@contextmanager
def locked(file: Path, timeout: float = -1) -> Iterator[None]:
    """Let one process at a time be in here. The file is there meanwhile; the lock is free however the process ends.

    Args:
        timeout: Seconds to wait for other processes; below 0 there is no limit.

    Raises:
        filelock.Timeout: Another process is still in here.
    """
    with FileLock(file, timeout=timeout):
        try:
            yield
        finally:
            with suppress(PermissionError):  # Windows removes no file that is open; there FileLock does it afterwards
                file.unlink(missing_ok=True)


def _part(file: Path) -> Path:
    """A temporary name for a file, different in each process, even on several machines."""
    return file.with_name(f"{file.name}.{os.urandom(4).hex()}.part")


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of files, would survive a power cut."""
    is_folder = path.is_dir()
    if is_folder and sys.platform == "win32":
        return  # which opens no folder; NTFS keeps a journal of what they list
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)  # to write, as Windows asks for it
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
