"""Which run, and which of its checkpoints, is meant. Nothing here needs torch."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kindling.errors import RunError
from kindling.runs.folder import Run, newest_first, winner

LIMITS = ("max_epochs", "max_steps", "max_time", "min_epochs", "min_steps")  # of the Trainer


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file, and the run whose folder gets what is made of it.

    Args:
        others: Files to resume from instead where this one can't be read.
        is_last: Whether training that resumes from it continues in the run's own folder.
        other: Name of the run that would have been chosen next, where the newest of several was.
    """

    file: Path
    run: Run
    others: tuple[Path, ...] = ()
    is_last: bool = False
    other: str = ""


def find_to_resume(
    wanted: str, logs: Path, *, limits: Mapping[str, Any], model: str | None, program: str
) -> Checkpoint | None:
    """The checkpoint to resume training from, meant by ``--ckpt_path``; None for ``auto`` where every run has ended.

    Args:
        limits: How far to train, by the names in ``LIMITS``; None where the run's own options hold.
    """
    if wanted in ("last", "auto"):
        found = find_unfinished(logs, model=model, limits=limits)
        if found or wanted == "auto":
            return found
    return find(wanted, logs, resume=True, model=model, program=program)


def find(wanted: str, logs: Path, *, resume: bool = False, model: str | None, program: str) -> Checkpoint:
    """The checkpoint meant by ``--ckpt_path``.

    Args:
        wanted: ``best``, ``last``, a run's folder or its name, or a checkpoint file.
        resume: Whether to resume training: a run's folder then means its last checkpoint, else its best.
        model: Network that ``best`` and ``last`` are restricted to.

    Raises:
        RunError: There is no such run, checkpoint or file.
    """
    if wanted in ("best", "last"):
        runs = (one for run in newest_first(logs, model) for one in run.members or [run])
        files = (file for run in runs if (file := run.best if wanted == "best" else run.last).is_file())
        if best_or_last := next(files, None):
            return replace(at(best_or_last), other=_name_of_next(at(other).run for other in files))
        of = f" of {model}" if model else ""
        raise RunError(
            f"--ckpt_path {wanted}: no training run{of} with a {wanted}.ckpt under {logs}: "
            f"train one first, e.g. {program} fit --model {model or 'SimpleNet'}"
        )
    for folder in (Path(wanted), logs / wanted):
        if folder.is_dir():
            if (folder / "sweep.yaml").is_file() and not winner(folder):
                raise RunError(f"--ckpt_path {wanted}: no trial of this sweep has been trained here to its end yet")
            run = winner(folder) or Run(folder)
            if run.holds_several:
                if resume:
                    return resume_point(run)
                names = [member.name for member in run.members]
                which = f", such as the best, --ckpt_path {names[0]}" if run.best_member else f": {', '.join(names)}"
                raise RunError(f"--ckpt_path {wanted}: there are several runs in {run}: name one of them{which}")
            if resume and run.to_resume_from:
                return resume_point(run)
            if not resume and run.best.is_file():
                return at(run.best)
            raise RunError(f"--ckpt_path {wanted}: there is no {run.last if resume else run.best}")
    file = Path(wanted)
    if file.is_file():
        return at(file)
    there = ", ".join(run.name for run in newest_first(logs)) or "none"
    raise RunError(
        f"--ckpt_path {wanted}: no such file or run; give best, last, a file, or a run (under {logs}: {there})"
    )


def at(file: Path) -> Checkpoint:
    """A checkpoint file with the run that it lies in; one that lies elsewhere gets a folder of its own name."""
    run = Run(file.parent.parent)
    if file.parent.name != "checkpoints" or not run.config_file.is_file():
        return Checkpoint(file, Run(file.with_suffix("" if file.suffix else ".run")))
    return Checkpoint(file, run, is_last=file.resolve() == run.last.resolve())


def resume_point(run: Run) -> Checkpoint:
    """The checkpoint that training resumes from in the run's own folder; of several runs, the options of all."""
    if run.holds_several:
        return Checkpoint(run.config_file, run, is_last=True)
    file, *others = run.to_resume_from
    return Checkpoint(file, run, tuple(others), is_last=True)


def find_unfinished(logs: Path, *, model: str | None, limits: Mapping[str, Any]) -> Checkpoint | None:
    """The last checkpoint of the newest run that has not ended, or that is to be trained beyond its end; if any.

    Args:
        limits: How far to train, by the names in ``LIMITS``; None where the run's own options hold.

    Raises:
        RunError: What a run keeps about itself can't be read.
    """
    runs = (run for run in newest_first(logs, model) if not has_ended(run, limits))
    run = next(runs, None)
    return replace(resume_point(run), other=_name_of_next(runs)) if run else None


def _name_of_next(runs: Iterator[Run]) -> str:
    with suppress(RunError):  # of a run that is not asked for
        return next((run.name for run in runs), "")
    return ""


def has_ended(run: Run, limits: Mapping[str, Any]) -> bool:
    """Whether there is nothing to resume; of several runs, none that is to be resumed."""
    if run.unfinished.is_file():
        return False
    if members := run.members:
        return all(has_ended(member, limits) for member in members)
    return not (run.to_resume_from and (run.previous.is_file() or _goes_further(run, limits)))


def _goes_further(run: Run, limits: Mapping[str, Any]) -> bool:
    """Whether limits are given that are not the run's own, and that its training has not reached."""
    own = run.options("trainer")
    changed = {name: limit for name, limit in limits.items() if limit is not None and str(limit) != str(own.get(name))}
    # limits of -1 or None, and words, which the parser will refuse, are never reached
    texts = (str((own | changed).get(f"max_{unit}")) for unit in ("epochs", "steps"))
    return bool(changed) and not any(
        text.isdigit() and int(text) <= done for text, done in zip(texts, run.trained(), strict=True)
    )
