"""What surrounds a command: its seed, its silence and its answer to Ctrl-C, all undone at its end."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from os import environ
from pathlib import Path
from threading import current_thread, main_thread

from lightning.pytorch import seed_everything

from kindling.errors import Stopped


@contextmanager
def session(seed: int | bool | None) -> Iterator[None]:
    """All of a command happens in here: it is seeded, quiet, and leaves the program around it as it was.

    Args:
        seed: False or None for none.

    Raises:
        KeyboardInterrupt: Where Lightning, which makes an exit of Ctrl-C, would end the program.
    """
    log = logging.getLogger("lightning.pytorch")
    before = (log.propagate, log.handlers, logging.getLogger("lightning.fabric").level)
    names = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")
    variables = {name: environ.get(name) for name in names}
    on_ctrl_c = signal.getsignal(signal.SIGINT)  # which Lightning ignores after the first
    with warnings.catch_warnings():
        _hush(log)
        try:
            if seed not in (None, False):
                seed_everything(seed, workers=True, verbose=False)
            yield
        except SystemExit as stop:
            if stop.code != 1 or isinstance(stop, Stopped):
                raise
            raise KeyboardInterrupt from None
        finally:
            log.propagate, log.handlers = before[:2]
            logging.getLogger("lightning.fabric").setLevel(before[2])
            for name, value in variables.items():
                environ.pop(name, None)
                if value is not None:
                    environ[name] = value
            if current_thread() is main_thread():
                signal.signal(signal.SIGINT, on_ctrl_c)


class _AskedFor(logging.Handler):
    """Prints what was asked for and Lightning only logs: a profile, a summary, why a callback ended the training."""

    def emit(self, record: logging.LogRecord) -> None:
        if Path(record.pathname).parent.name in ("callbacks", "profilers") and record.levelno == logging.INFO:
            print(record.getMessage().strip(), flush=True)


def _hush(log: logging.Logger) -> None:
    """Silence what says nothing new: tips, devices found, advice that does not hold here."""
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    log.propagate = False
    log.handlers = [_AskedFor(), *filter(None, [logging.lastResort])]  # the second prints warnings
    # Lightning 2.6 asks torch 2.15 for it in the old way
    warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", FutureWarning)
    # Kindling's optimizer_zero_grad does what the optimizer's own does
    warnings.filterwarnings("ignore", r"When using `Trainer\(accumulate_grad_batches != 1\)` and overriding")
    # RunCSV appends to the rows that are there
    warnings.filterwarnings("ignore", "Experiment logs directory .* exists and is not empty")
    # of image files that it can read all the same
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # a width of 0, which would be trained
    warnings.filterwarnings("error", r"Initializing zero-element tensors")
