"""What a command shares with whoever called it: its output, the signals that end it, and its exit code."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from kindling import project
from kindling.cli import tracebacks
from kindling.console import is_first_here
from kindling.errors import ENDING_SIGNALS, KindlingError, Stopped

ENDED_TOO: list[Callable[[], object]] = []  # called first when a signal comes, to end other processes


def exit_code(command: Callable[[], int]) -> int:
    """Run a command; whatever stops it becomes one line on standard error and an exit code.

    Returns:
        The command's own exit code, or 2 where the user has something to mend; 130 after Ctrl-C, 143 and 138 after
        SIGTERM and SIGUSR1; 141 where nobody reads the output, as in ``list | head -1``; 1 for what nobody foresaw.

    Raises:
        Exception: One that came out of the user's own code: the traceback is what they need.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed; the next file to be opened would get its number
            nowhere = open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8")  # noqa: PTH123, SIM115
            setattr(sys, name, nowhere)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # letters that its encoding lacks
    code, line = _run(command)
    try:
        sys.stdout.flush()
    except OSError as error:  # what is still unwritten is given up, as the interpreter would try again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 141
        if code == 0:
            code, line = 2, f"error: standard output can't be written ({error.strerror}): make room"
    if line:
        print(f"{project.current().name}: {line}", file=sys.stderr)
    return code


def _run(command: Callable[[], int]) -> tuple[int, str]:
    """Exit code and the line to print, if any."""
    try:
        with signals():
            return command(), ""
    except KindlingError as error:
        return 2, "" if repeats() else f"error: {' '.join(str(error).split())}"
    except Stopped as stop:
        return stop.code, stop.line
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the terminal's ^C has a line of its own
        return 130, "interrupted"
    except BrokenPipeError:
        return 141, ""
    except Exception as error:
        if tracebacks.of_user(error):
            raise
        return 1, f"error: {tracebacks.keep(error)}"


def program() -> str:
    """How the user called us, for the commands in our messages."""
    called, name = Path(sys.argv[0]), project.current().name
    if called.name == "__main__.py":
        return f"python -m {name}"
    return name if called.stem == name else "python scripts/main.py"


def repeats() -> bool:
    """Whether another process on this machine was started alike, by torchrun or srun, and says the same."""
    by_lightning = "LOCAL_RANK" in os.environ and "RANK" not in os.environ  # torchrun sets both, srun neither
    return not (is_first_here() or by_lightning)


@contextmanager
def signals() -> Iterator[None]:
    """Let a signal end the command wherever it is, as Ctrl-C does: what it holds open is removed, not left behind.

    Raises:
        Stopped: A signal came; also in place of an error that this led to.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return  # Python gives signals to the main thread alone
    received: list[int] = []

    def stopped() -> Stopped:
        return Stopped(128 + received[0], "" if repeats() else f"stopped by {signal.Signals(received[0]).name}")

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:  # perhaps the same one, sent to this process and to its group; a third ends it at once
            signal.signal(number, signal.SIG_DFL)
            return
        for end in ENDED_TOO:
            end()
        raise stopped()

    before = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    for number in before.keys() - {signal.SIGINT}:  # Ctrl-C is a KeyboardInterrupt, which Lightning would ignore later
        signal.signal(number, stop)
    try:
        yield
    except Exception as error:
        if received:
            raise stopped() from error
        raise
    finally:
        ENDED_TOO.clear()
        for number, handler in before.items():
            signal.signal(number, handler)
