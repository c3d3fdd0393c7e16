"""Where training runs live. Nothing here needs torch."""

import csv
import errno
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import Timeout

from kindling.errors import RunError, UsageError
from kindling.runs import atomic
from kindling.runs.csv_files import read_rows

LOGS = "lightning_logs"
USUAL_NAME = "version"  # of a run, before its number


@dataclass(frozen=True)
class Run:
    """One training run's folder."""

    folder: Path

    def check_writable(self) -> None:
        """
        Raises:
            PermissionError: The folder is there, and not for this user to write into.
        """
        if self.folder.is_dir() and not os.access(self.folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.folder))

    @property
    def best(self) -> Path:
        return self.folder / "checkpoints" / "best.ckpt"

    @property
    def last(self) -> Path:
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def previous(self) -> Path:
        """The last checkpoint but one; it is there until the training ends, so also where that was killed."""
        return self.folder / "checkpoints" / "previous.ckpt"

    @property
    def to_resume_from(self) -> list[Path]:
        """Checkpoints that training can resume from, newest first: the others stand in for one that is damaged."""
        return [file for file in (self.last, self.previous, self.best) if file.is_file()]

    @property
    def unfinished(self) -> Path:
        """An empty file in a folder of several runs; it is there until all of them have ended."""
        return self.folder / "unfinished"

    @property
    def holds_several(self) -> bool:
        return self.unfinished.is_file() or bool(self.members)

    @property
    def members(self) -> list["Run"]:
        """The runs in a folder of several, such as one for each fold: the best first, where that is known."""
        found = [Run(file.parent) for file in self.folder.glob("fold_*/config.yaml")]
        return sorted(found, key=lambda run: (run.folder.name != self.best_member, _number(run.folder)))

    @property
    def best_member(self) -> str:
        """Name of the best of them, which ``best.txt`` holds; empty before there is such a file."""
        file = self.folder / "best.txt"
        return file.read_text(encoding="utf-8").strip() if file.is_file() else ""

    @property
    def name(self) -> str:
        """As ``--ckpt_path`` takes it: ``version_3``, or ``version_4/fold_0`` for one in a folder of several."""
        return self.folder.as_posix().rpartition(f"{LOGS}/")[2]

    @property
    def root(self) -> str | None:
        """The ``--trainer.default_root_dir`` under which it lies; None for the working directory, and elsewhere."""
        above = self.folder.parent
        while above.resolve().name != LOGS:  # a run of a sweep, or of one of several folds, lies deeper
            if above.parent == above:
                return None
            above = above.parent
        return None if above.resolve().parent == Path.cwd() else str(above.parent)

    @property
    def config_file(self) -> Path:
        return self.folder / "config.yaml"

    def config(self) -> dict[str, Any]:
        """The options of the run, as in ``config.yaml``.

        Raises:
            RunError: The file is not there, or is no YAML.
        """
        try:
            config = yaml.safe_load(self.config_file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            why = " ".join(str(error).split())
            raise RunError(f"{self.config_file} can't be read ({why}): mend it, or give a checkpoint's file") from error
        if not isinstance(config, dict):
            raise RunError(f"{self.config_file} holds no options")
        return config

    def metrics(self) -> list[dict[str, str]]:
        """The rows of ``metrics.csv``, one per epoch; none where there is no such file."""
        return read_rows(self.folder / "metrics.csv")

    def trained(self) -> tuple[int, int]:
        """Epochs and optimizer steps up to the last row of ``metrics.csv``."""
        rows = self.metrics()
        return (int(rows[-1]["epoch"]), int(rows[-1]["step"])) if rows else (0, 0)

    @property
    def model(self) -> str:
        """Name of the network's class."""
        return str(self.options("model").get("class_path")).rpartition(".")[2]

    def options(self, key: str) -> dict[str, Any]:
        """What ``config.yaml`` holds under ``key``; a name alone is the name of a class."""
        found = self.config().get(key)
        return found if isinstance(found, dict) else {"class_path": found}

    def __str__(self) -> str:
        return str(self.folder)


def claim(logs: Path, name: str = USUAL_NAME) -> Run:
    """Make and return the next ``version_N``; two processes that ask at once get two.

    Args:
        name: What to call it instead of ``version``; the numbers go on over all names, so the highest is the newest.

    Raises:
        UsageError: The name is none for a folder.
        RunError: The folder can't be made.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UsageError(f"--name {name}: it is of letters, digits, - and _: for --name cars a run is called cars_0")
    try:
        logs.mkdir(parents=True, exist_ok=True)
        number = max((_number(f) for f in logs.iterdir()), default=-1) + 1
        while True:
            folder = logs / f"{name}_{number}"
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                return Run(folder)
    except OSError as error:
        raise RunError(f"no run can be kept in {logs} ({error.strerror}): give --trainer.default_root_dir") from error


@contextmanager
def locked(folder: Path, used: str = "trained") -> Iterator[None]:
    """Let this process alone work in the folder of a run, or of several.

    Raises:
        RunError: Another one does.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(atomic.locked(folder / ".lock", timeout=0))
        except Timeout as error:
            raise RunError(f"{folder} is being {used} by another process: wait for it, or stop it") from error
        yield


def newest_first(logs: Path, model: str | None = None) -> Iterator[Run]:
    """Training runs, newest first; only those of the network class ``model`` where it is given."""
    folders = [f for f in logs.iterdir() if _number(f) >= 0] if logs.is_dir() else []
    for folder in sorted(folders, key=_number, reverse=True):
        run = winner(folder) or Run(folder)
        if run.config_file.is_file() and (model is None or run.model == model):
            yield run


def sweeps(logs: Path) -> list[Path]:
    """Folders of sweeps, newest first."""
    folders = [f for f in logs.iterdir() if (f / "sweep.yaml").is_file()] if logs.is_dir() else []
    return sorted(folders, key=_number, reverse=True)


def winner(sweep: Path) -> Run | None:
    """The run of a sweep's best trial; None while there is none on this machine."""
    file = sweep / "sweep.csv"
    if not file.is_file():
        return None
    with file.open(newline="", encoding="utf-8") as lines:
        best = next(csv.DictReader(lines), {})
    run = Run(sweep / best.get("run", ""))
    return run if best.get("state") == "complete" and run.best.is_file() else None


def tensorboard(logs: Path) -> str:
    """What to type for the curves of the runs in ``logs``: as the README does, where make can be told to."""
    return "make tensorboard" if logs == Path(LOGS) and Path("Makefile").is_file() else f"tensorboard --logdir {logs}"


def _number(folder: Path) -> int:
    name, _, number = folder.name.rpartition("_")
    is_run = name == USUAL_NAME or Run(folder).config_file.is_file() or (folder / "sweep.yaml").is_file()
    return int(number) if is_run and re.fullmatch(r"[0-9]+", number) else -1
