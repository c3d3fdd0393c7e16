"""What the machine does to a command: full disks, folders that are gone, processes and memory lost. None are bugs."""

import errno
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import _get_default_store

from kindling.cli import tracebacks
from kindling.errors import KindlingError, RunError, Stopped

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FULL_MEMORY = "the memory is full: lower --data.batch_size, or the size of the network or the data"
TAKEN = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR}
CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
SECONDS = 5  # until the first process, which makes the same mistake, has said so
LEFT_ALONE = "another process of this command has ended: see what it says"


@contextmanager
def answered() -> Iterator[None]:
    """
    Raises:
        RunError: In place of what the machine did, with its notes.
    """
    before, threading.excepthook = threading.excepthook, _in_thread
    try:
        yield
    except BrokenPipeError:
        raise  # whoever reads what we print has gone
    except OSError as error:
        if error.errno not in FULL | CLOSED and tracebacks.of_user(error):
            raise  # a file that their own code looks for, at a place that the traceback shows
        raise _error(error, _of_files(error)) from error
    except UnicodeEncodeError as error:
        what = f"{error.object} can't be written as {error.encoding}: rename it, or set PYTHONUTF8=1"
        raise _error(error, what) from error
    except UnicodeDecodeError as error:
        if error.encoding != "ascii":
            raise
        raise _error(error, "a file has letters that this locale can't read: set PYTHONUTF8=1") from error
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _error(error, FULL_MEMORY) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            raise _error(error, FULL_MEMORY) from error
        if isinstance(error, dist.DistError) or "by peer" in str(error) or "gloo" in str(error):
            raise _error(error, LEFT_ALONE) from error
        raise
    finally:
        threading.excepthook = before


@contextmanager
def said_once() -> Iterator[None]:
    """
    Raises:
        Stopped: In place of an error of processes that have met, with a line for those of them that are to say it.
    """
    try:
        yield
    except KindlingError as error:
        if not dist.is_available() or not dist.is_initialized():
            raise
        raise Stopped(2, "" if _said_by_first(error) else f"error: {' '.join(str(error).split())}") from None


def _said_by_first(error: KindlingError) -> bool:
    """Whether the first of the processes says the same, so that this one need not."""
    if str(error).startswith(LEFT_ALONE):
        return False
    store = _get_default_store()
    try:
        if dist.get_rank() == 0:
            store.set(str(error), "said")
            return False
        store.wait([str(error)], timedelta(seconds=SECONDS))
    except dist.DistStoreError:  # the first goes on, and learns of this process's end
        return False
    except dist.DistError:  # it has ended, for a reason of its own
        return dist.get_rank() > 0
    return True


def _in_thread(failed: threading.ExceptHookArgs) -> None:
    """TensorBoard writes in a thread of its own, whose errors come up again as soon as it is given more to write."""
    if not isinstance(failed.exc_value, OSError):
        threading.__excepthook__(failed)


def _error(error: Exception, what: str) -> RunError:
    return RunError("; ".join([what, *getattr(error, "__notes__", [])]))


def _of_files(error: OSError) -> str:
    file = re.sub(r"(\.[0-9a-f]{8})?\.part$", "", os.fsdecode(error.filename or "a file"))
    reason = error.strerror or str(error)
    if error.errno in FULL:
        return f"{file} can't be written ({reason}): make room"
    if error.errno in CLOSED:
        return f"{file} can't be used ({reason}): make it writable, or keep runs in another --trainer.default_root_dir"
    if error.errno == errno.ENOENT:
        return f"{file} is gone: was its folder moved or deleted while it was in use?"
    if error.errno in TAKEN:
        return f"{file} can't be used ({reason}): another kind of file has that name, so move it away"
    return f"{file}: {reason}"
