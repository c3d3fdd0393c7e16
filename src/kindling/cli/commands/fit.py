from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kindling.errors import Stopped
from kindling.runs import trust
from kindling.runs.folder import Run, tensorboard

if TYPE_CHECKING:
    from kindling.training.job import Job


def fit(job: "Job", test_after_fit: bool = False, histograms: bool = False, name: str | None = None) -> None:
    """Train a network: fit --model SimpleNet.

    Args:
        test_after_fit: Test the best checkpoint at the end.
        histograms: Show the weights' distributions in TensorBoard.
        name: What to call the run: cars for lightning_logs/cars_0.
    """
    from kindling.training.fit import fit as train

    with resumable(job):
        run = train(job, test_after_fit, histograms, name)
    if run is not None:
        say_next(job, run)


@contextmanager
def resumable(job: "Job", several: Run | None = None) -> Iterator[None]:
    """Say how training resumes, whatever ends it.

    Args:
        several: The folder of all runs where this is one of several.
    """
    from kindling.console import say

    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        say(f"\nInterrupted: {_remedy(job, several) or 'before anything was saved'}")
        raise Stopped(stop.code if isinstance(stop, Stopped) else 130) from None
    except Exception as error:
        if remedy := _remedy(job, several):
            error.add_note(remedy)
        raise


def say_next(job: "Job", run: Run) -> None:
    """What to type next, where ``--ckpt_path best`` means this run."""
    from kindling.console import say

    best = f"--ckpt_path best{_naming(job, run, 'model', 'data', 'loss')}"
    curves = f"  |  {tensorboard(run.folder.parent)}" if any(run.folder.glob("events.out.*")) else ""
    needs = getattr(job.data, "predict_needs", "")
    steps = [f"predict {best} {needs}", f"export {best}"] if needs else [f"test {best}", f"predict {best}"]
    say(f"Next: {job.program} {'  |  '.join(steps)}{curves}")


def _remedy(job: "Job", several: Run | None) -> str:
    """How to resume a training; empty where nothing of it was saved."""
    run = several or job.run
    if run is None or not (job.saved or run.members):
        return ""
    which = run if job.options["trainer"]["default_root_dir"] else "last"
    of = f" of {job.run.folder.name}" if several and job.run else ""
    after = f" after step {job.saved}{of}" if job.saved else ""
    return f"{job.program} fit --ckpt_path {which}{_naming(job, run, *job.options)}  resumes{after}"


def _naming(job: "Job", run: Run, *options: str) -> str:
    """What to type beside ``--ckpt_path``: of some of a run's options, what its checkpoint alone may not bring."""
    unknown = any(trust.unknown({key: job.options[key] for key in options if key in job.options}))
    return f" -c {run.config_file}" if unknown else ""
