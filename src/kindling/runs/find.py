"""Which run, and which of its checkpoints, is meant. Nothing here needs torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kindling.errors import RunError
from kindling.runs.folder import Run, newest_first

FINISHED = "{what} has had its {done} {unit}: to go on, add e.g. --trainer.max_{unit} {more}"
LIMITS = ("max_epochs", "max_steps", "max_time", "min_epochs", "min_steps")  # of the Trainer


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
