"""What the machine does to a command: full disks, folders that are gone, processes and memory lost. None are bugs."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from kindling import tracebacks
from kindling.errors import RunError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FULL_MEMORY = "the memory is full: lower --data.batch_size, or the size of the network or the data"
TAKEN = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR}
CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}


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
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _error(error, FULL_MEMORY) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            raise _error(error, FULL_MEMORY) from error
        if isinstance(error, dist.DistError) or "by peer" in str(error) or "gloo" in str(error):
            raise _error(error, "another process of this command has ended: see what it says") from error
        raise
    finally:
        threading.excepthook = before


def _in_thread(failed: threading.ExceptHookArgs) -> None:
    """TensorBoard writes in a thread of its own, whose errors come up again as soon as it is given more to write."""
    if not isinstance(failed.exc_value, OSError):
        threading.__excepthook__(failed)


def _error(error: Exception, what: str) -> RunError:
    return RunError("; ".join([what, *getattr(error, "__notes__", [])]))


def _of_files(error: OSError) -> str:
    file = os.fsdecode(error.filename or "a file").removesuffix(".part")
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
