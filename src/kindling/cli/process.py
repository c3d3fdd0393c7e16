"""What a command has from whoever called it: standard output and error, and signals that ask it to end."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from types import FrameType
from typing import Any, TextIO

from kindling.errors import Stopped

# a polite kill, and what SLURM can be told to send some time before its own; Windows has no second
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
ENDED_TOO: list[Callable[[], object]] = []  # what a signal calls first, to end other processes


class Output:
    """A stream that costs nobody their training: it escapes letters that it lacks, and is given up where it is full.

    Args:
        stream: Written to.
        read: Whether a reader that has gone, as in ``list | head -1``, is reason to stop.
    """

    def __init__(self, stream: TextIO, read: bool = False) -> None:
        self._stream = stream
        self._read = read
        self.error: OSError | None = None  # for which it was given up
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, call: Callable[[], object]) -> None:
        try:
            call()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())  # also what is in the buffer
            if self._read and isinstance(error, BrokenPipeError):
                raise
            self.error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def streams() -> Iterator[Output]:
    """Print what can be printed, and go on. Gives standard output."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed; the next file to be opened would have its number
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: PTH123, SIM115
    with redirect_stdout(Output(sys.stdout, read=True)) as out, redirect_stderr(Output(sys.stderr)):
        yield out


def repeats() -> bool:
    """Whether another process on this machine was started alike, by torchrun or srun, and says the same."""
    ranks = [os.environ.get(name, "0") for name in ("LOCAL_RANK", "SLURM_LOCALID")]
    return ranks[1] != "0" or (ranks[0] != "0" and "RANK" in os.environ)  # Lightning's own know no RANK


@contextmanager
def signals() -> Iterator[None]:
    """Let a signal end the command wherever it stands, as Ctrl-C does: what it holds open is removed, not left behind.

    Raises:
        Stopped: One came; also in place of an error that this led to.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return  # Python tells no other thread
    told: list[int] = []

    def line() -> str:
        return "" if repeats() else f"stopped by {signal.Signals(told[0]).name}"

    def stop(number: int, frame: FrameType | None) -> None:
        told.append(number)
        if len(told) > 1:  # it may be the same one, sent to this process and to its group; the next ends it at once
            signal.signal(number, signal.SIG_DFL)
            return
        for end in ENDED_TOO:
            end()
        raise Stopped(128 + number, line())

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *SIGNALS)}  # Lightning ignores the first
    for number in SIGNALS:
        signal.signal(number, stop)
    try:
        yield
    except Exception as error:
        if told:
            raise Stopped(128 + told[0], line()) from error
        raise
    finally:
        ENDED_TOO.clear()
        for number, handler in before.items():
            signal.signal(number, handler)
