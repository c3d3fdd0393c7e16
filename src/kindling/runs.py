"""Where training runs live and which one, and which of its checkpoints, is meant.

A run is a folder ``lightning_logs/version_N`` with ``config.yaml``, ``metrics.csv`` and ``checkpoints/``. Nothing here
needs torch.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kindling.callbacks.columns import read_rows
from kindling.errors import RunError

LOGS = "lightning_logs"
FINISHED = "{what} has had its {done} {unit}: to go on, add e.g. --trainer.max_{unit} {more}"
LIMITS = ("max_epochs", "max_steps", "max_time", "min_epochs", "min_steps")  # of the Trainer


@dataclass(frozen=True)
class Run:
    """One training run's folder."""

    folder: Path

    @property
    def best(self) -> Path:
        return self.folder / "checkpoints" / "best.ckpt"

    @property
    def last(self) -> Path:
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def previous(self) -> Path:
        """What was the last checkpoint before; there while a training is under way, or was when it was killed."""
        return self.folder / "checkpoints" / "previous.ckpt"

    @property
    def to_go_on_from(self) -> list[Path]:
        """Checkpoints that are there to train on from, newest first: the others stand in for one that is damaged."""
        files = (self.last, self.previous, self.best)
        return [file for file in files if file.is_file()]

    def root(self, as_given: object = None) -> str | None:
        """The ``--trainer.default_root_dir`` under which it lies; None for the working directory, and elsewhere.

        Args:
            as_given: Another spelling of it, which is kept if it is the same folder.
        """
        place = self.folder.resolve().parent
        if place.name != LOGS:
            return None
        if isinstance(as_given, str) and Path(as_given).resolve() == place.parent:
            return as_given
        return None if place.parent == Path.cwd() else str(self.folder.parent.parent)

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
        """The rows of ``metrics.csv``, one an epoch; none where there is no such file."""
        return read_rows(self.folder / "metrics.csv")

    def trained(self) -> tuple[int, int]:
        """Epochs and optimizer steps that ``metrics.csv`` has seen."""
        rows = self.metrics()
        return (int(rows[-1]["epoch"]), int(rows[-1]["step"])) if rows else (0, 0)

    @property
    def model(self) -> str:
        """Name of the network's class."""
        return str(self.options("model").get("class_path")).rpartition(".")[2]

    def options(self, key: str) -> dict[str, Any]:
        """What ``config.yaml`` holds under ``key``; a name alone is a class."""
        found = self.config().get(key)
        return found if isinstance(found, dict) else {"class_path": found}

    def __str__(self) -> str:
        return str(self.folder)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file, and the folder that what is made of it goes into.

    Args:
        file: The checkpoint.
        run: It belongs to this.
        others: What stands in for the file, to train on from, where it can't be read.
        is_last: Whether training from it goes on in the run's own folder.
    """

    file: Path
    run: Run
    others: tuple[Path, ...] = ()
    is_last: bool = False


def claim(logs: Path) -> Run:
    """Make and return the next ``version_N``; two processes that ask at once get two.

    Raises:
        RunError: The folder can't be made.
    """
    try:
        logs.mkdir(parents=True, exist_ok=True)
        number = max((_number(f) for f in logs.iterdir()), default=-1) + 1
        while True:
            folder = logs / f"version_{number}"
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                return Run(folder)
    except OSError as error:
        raise RunError(f"no run can be kept in {logs} ({error.strerror}): give --trainer.default_root_dir") from error


def newest_first(logs: Path, model: str | None = None) -> Iterator[Run]:
    """Training runs, newest first; of the network class ``model`` alone where it is given."""
    folders = [f for f in logs.iterdir() if _number(f) >= 0] if logs.is_dir() else []
    for folder in sorted(folders, key=_number, reverse=True):
        run = Run(folder)
        if run.config_file.is_file() and (model is None or run.model == model):
            yield run


def find(wanted: str, logs: Path, *, resume: bool, model: str | None, program: str) -> Checkpoint:
    """The checkpoint meant by ``--ckpt_path``.

    Args:
        wanted: ``best``, ``last``, a run's folder or its name, or a checkpoint file.
        logs: Folder of the runs.
        resume: Whether to train on: a run's folder then means its last checkpoint, else its best.
        model: Network that ``best`` and ``last`` are restricted to.
        program: How the user calls us, for the remedy.

    Raises:
        RunError: There is no such run, checkpoint or file.
    """
    if wanted in ("best", "last"):
        for run in newest_first(logs, model):
            file = run.best if wanted == "best" else run.last
            if file.is_file():
                return at(file)
        of = f" of {model}" if model else ""
        raise RunError(
            f"--ckpt_path {wanted}: no training run{of} with a {wanted}.ckpt under {logs}: "
            f"train one first, e.g. {program} fit --model {model or 'SimpleNet'}"
        )
    for folder in (Path(wanted), logs / wanted):
        if folder.is_dir():
            run = Run(folder)
            if resume and run.to_go_on_from:
                return going_on(run)
            file = run.last if resume else run.best
            if file.is_file():
                return at(file)
            raise RunError(f"--ckpt_path {wanted}: there is no {file}")
    file = Path(wanted)
    if file.is_file():
        return at(file)
    there = ", ".join(run.folder.name for run in newest_first(logs)) or "none"
    raise RunError(
        f"--ckpt_path {wanted}: no such file or run; give best, last, a file, or a run (under {logs}: {there})"
    )


def at(file: Path) -> Checkpoint:
    """A checkpoint file with the run that it lies in; one that lies elsewhere gets a folder of its own name."""
    run = Run(file.parent.parent)
    inside = file.parent.name == "checkpoints" and run.config_file.is_file()
    is_last = file.resolve() == run.last.resolve()
    folder = file.with_suffix("" if file.suffix else ".run")
    return Checkpoint(file, run if inside else Run(folder), is_last=inside and is_last)


def going_on(run: Run) -> Checkpoint:
    """What to train on from, in the run's own folder."""
    file, *others = run.to_go_on_from
    return Checkpoint(file, run, tuple(others), is_last=True)


def find_unfinished(logs: Path, *, model: str | None, program: str, limits: Mapping[str, Any]) -> Checkpoint:
    """The last checkpoint of the newest run whose training has not ended, or is to go on beyond its end.

    Args:
        limits: How far to train, by the names in ``LIMITS``; what the run's own options say where one is None.

    Raises:
        RunError: There is no run with a last checkpoint, or none of them has anything to go.
    """
    newest, why = None, ""
    for run in newest_first(logs, model):
        if not run.to_go_on_from:
            continue
        own = run.options("trainer")
        epochs, steps = run.trained()
        to_go = [_or(limits[name], own.get(name)) for name in ("max_epochs", "max_steps")]
        reached = any(-1 < limit <= done for done, limit in zip((epochs, steps), to_go, strict=True))
        ended = run.last.is_file() and not run.previous.is_file() and bool(_stopped_by(own))
        more = any(value is not None and str(value) != str(own.get(name)) for name, value in limits.items())
        if run.previous.is_file() or not (reached or (ended and not more)):
            return going_on(run)
        if newest is None:
            newest = run
            why = FINISHED.format(what=run, done=epochs, unit="epochs", more=2 * epochs)
            why = why if reached else stopped(run, own, epochs)
    if newest is None:
        return find("last", logs, resume=True, model=model, program=program)  # says what is missing
    raise RunError(why)


def stopped(what: Path | Run, trainer: Mapping[str, Any], epochs: int) -> str:
    """What to say of a training that ended before its limits.

    Args:
        trainer: Its options.
    """
    by = _stopped_by(trainer) or "a callback"
    return f"{what} was ended by {by} after {epochs} epochs: to go on, add e.g. --trainer.min_epochs {2 * epochs}"


def _stopped_by(trainer: Mapping[str, Any]) -> str:
    early, timed = "EarlyStopping" in str(trainer.get("callbacks")), trainer.get("max_time")
    return " or ".join(["EarlyStopping"] * early + ["--trainer.max_time"] * bool(timed))


def _or(typed: str | int | None, own: int | None) -> int:
    """The limit that holds; -1 for none."""
    limit = own if typed is None else typed
    return -1 if limit is None or not str(limit).lstrip("-").isdigit() else int(limit)


def _number(folder: Path) -> int:
    match = re.fullmatch(r"version_(\d+)", folder.name)
    return int(match[1]) if match else -1
