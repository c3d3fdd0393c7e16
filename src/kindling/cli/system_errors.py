"""What the machine does to a command: full disks, lost folders, processes and memory. None of it is a bug."""

import errno
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from kindling.cli import tracebacks
from kindling.errors import KindlingError, RunError, Stopped

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
TAKEN = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR}
FULL_MEMORY = "the memory is full: lower --data.batch_size, or the size of the network or the data"
LEFT_ALONE = "another process of this command has ended: see what it says"
SECONDS = 5  # to wait until the first process, which makes the same mistake, has said so


@contextmanager
def answered() -> Iterator[None]:
    """
    Raises:
        RunError: In place of what the machine did, with its notes.
    """
    before, threading.excepthook = threading.excepthook, _in_thread
    try:
        yield
    except (OSError, MemoryError, RuntimeError) as error:
        own = tracebacks.of_user(error) and getattr(error, "errno", None) not in FULL | CLOSED
        what = "" if own and isinstance(error, OSError) else _explain(error)
        if not what:
            raise
        raise RunError("; ".join([what, *getattr(error, "__notes__", [])])) from error
    finally:
        threading.excepthook = before


def _explain(error: Exception) -> str:
    """What happened and how to mend it; empty for what the machine has no part in."""
    if isinstance(error, OSError):
        return "" if isinstance(error, BrokenPipeError) else _explain_file(error)  # nobody reads what we print
    import torch  # late: the front door answers without it
    import torch.distributed as dist

    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        return FULL_MEMORY
    return LEFT_ALONE if isinstance(error, dist.DistError) or re.search("by peer|gloo", str(error)) else ""


def _explain_file(error: OSError) -> str:
    file = re.sub(r"(\.[0-9a-f]{8})?\.part$", "", os.fsdecode(error.filename or "a file or the output"))
    reason = error.strerror or str(error)
    if error.errno in FULL:
        return f"{file} can't be written ({reason}): make room"
    if error.errno in CLOSED:
        shut = "close the program that has it open, " if sys.platform == "win32" else ""
        remedy = f"{shut}make it writable, or keep runs in another --trainer.default_root_dir"
        return f"{file} can't be used ({reason}): {remedy}"
    if error.errno == errno.ENOENT:
        return f"{file} is not there: check its name, and whether it was moved or deleted"
    if error.errno in TAKEN:
        return f"{file} can't be used ({reason}): another kind of file has that name, so move it away"
    return f"{file}: {reason}"


def _in_thread(failed: threading.ExceptHookArgs) -> None:
    """TensorBoard writes in a thread of its own, whose errors are raised again when it is given more to write."""
    if not isinstance(failed.exc_value, OSError):
        threading.__excepthook__(failed)


@contextmanager
def said_once() -> Iterator[None]:
    """
    Raises:
        Stopped: In place of an error of processes that have met, with a line for those of them that are to say it.
    """
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import _get_default_store

    try:
        yield
    except KindlingError as error:
        if not dist.is_available() or not dist.is_initialized():
            raise
        line = f"error: {' '.join(str(error).split())}"
        if str(error).startswith(LEFT_ALONE):
            pass  # the store may be lost, too
        elif dist.get_rank() == 0:
            _get_default_store().set(str(error), "said")
        else:
            with suppress(dist.DistStoreError):  # the first does not say it: it continues until this process is gone
                with suppress(dist.DistNetworkError):  # the first has ended
                    _get_default_store().wait([str(error)], timedelta(seconds=SECONDS))
                line = ""
        raise Stopped(2, line) from None
