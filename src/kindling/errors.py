"""Everything a user can get wrong, as exceptions whose message names the thing, the place and the remedy.

The command line prints the message as one line and exits with code 2. Any other exception is a bug of ours, or of the
user's own network or data (``tracebacks``).
"""

import signal

# Ctrl-C, a polite kill, what SLURM can be told to send some time before its kill, and Ctrl-Break, of Windows alone
_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGBREAK")
ENDING_SIGNALS: list[signal.Signals] = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


class KindlingError(Exception):
    """Base of all errors whose cause lies outside this package."""


class UsageError(KindlingError):
    """A command, option or name that does not exist, or options that contradict each other."""


class RunError(KindlingError):
    """A training run, or one of its checkpoints, that is not there or can't be resumed."""


class Diverged(RunError):  # noqa: N818
    """A training whose loss became NaN or infinite."""


class CheckpointError(KindlingError):
    """A checkpoint file that can't be read, or doesn't fit the network."""


class DataError(KindlingError):
    """Data that is missing, damaged, or of the wrong kind for the network."""


class Stopped(SystemExit):
    """Somebody asked for the command to end, and it did.

    Args:
        code: Of the command: 128 and the number of the signal.
        line: What there is yet to say of it.
    """

    code: int

    def __init__(self, code: int, line: str = "") -> None:
        super().__init__(code)
        self.line = line
