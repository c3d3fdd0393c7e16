from typing import TYPE_CHECKING

from kindling.errors import Stopped
from kindling.runs import trust
from kindling.runs.folder import Run

if TYPE_CHECKING:
    from kindling.training.job import Job


def fit(job: "Job", test_after_fit: bool = False, histograms: bool = False, name: str | None = None) -> None:
    """Train a network: fit --model SimpleNet.

    Args:
        test_after_fit: Test the best checkpoint at the end.
        histograms: Show the weights' distributions in TensorBoard.
        name: What to call the run: cars for lightning_logs/cars_0.
    """
    from kindling.console import say
    from kindling.training.fit import fit as train

    try:
        run = train(job, test_after_fit, histograms, name)
    except (KeyboardInterrupt, SystemExit) as stop:
        say(f"\nInterrupted: {_remedy(job) or 'before anything was saved'}")
        raise Stopped(stop.code if isinstance(stop, Stopped) else 130) from None
    except Exception as error:
        if remedy := _remedy(job):
            error.add_note(remedy)
        raise
    if run is not None:
        best = f"--ckpt_path best{_naming(job, run, 'model', 'data', 'loss')}"
        curves = "  |  make tensorboard" if any(run.folder.glob("events.out.*")) else ""
        needs = getattr(job.data, "predict_needs", "")
        steps = [f"predict {best} {needs}", f"export {best}"] if needs else [f"test {best}", f"predict {best}"]
        say(f"Next: {job.program} {'  |  '.join(steps)}{curves}")


def _remedy(job: "Job") -> str:
    """How to resume a training; empty where nothing of it was saved."""
    if job.run is None or not job.saved:
        return ""
    which = job.run if job.options["trainer"]["default_root_dir"] else "last"
    return f"{job.program} fit --ckpt_path {which}{_naming(job, job.run, *job.options)}  resumes after step {job.saved}"


def _naming(job: "Job", run: Run, *options: str) -> str:
    """What to type beside ``--ckpt_path``: of some of a run's options, what its checkpoint alone may not bring."""
    unknown = any(trust.unknown({key: job.options[key] for key in options if key in job.options}))
    return f" -c {run.config_file}" if unknown else ""
