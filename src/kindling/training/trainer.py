"""Lightning's Trainer, with Kindling's callbacks and loggers."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.plugins.io import AsyncCheckpointIO
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher

from kindling.callbacks.after_epoch import EpochNotifier
from kindling.callbacks.report.progress import EpochLines, Progress
from kindling.callbacks.resume.mid_epoch import MidEpochState
from kindling.callbacks.resume.reseed import Reseed
from kindling.errors import UsageError
from kindling.runs import checkpoints
from kindling.runs.folder import Run
from kindling.training import loggers
from kindling.training.job import Job
from kindling.training.threads import Threads

DEFAULT_EPOCHS, DEFAULT_SEED = 10, 42
TRAINER_DEFAULTS = {"log_every_n_steps": 1, "enable_model_summary": False}


class Unprofiled(PassThroughProfiler):
    """Measures nothing. Lightning's own does so in 149 generators a step, one for each callback at each hook."""

    nothing: AbstractContextManager[Any] = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]
        return self.nothing


def make_trainer(job: Job, run: Run | None, callbacks: Sequence[Callback], **fixed: Any) -> Trainer:
    """
    Args:
        run: What the loggers write about; None for none.
        callbacks: Of the command.
        fixed: Arguments of the Trainer that the command sets.

    Raises:
        UsageError: The options of the Trainer don't go together, or not with what a run keeps.
    """
    options = TRAINER_DEFAULTS | job.trainer_options | fixed
    if options.get("barebones"):
        raise UsageError("--trainer.barebones true: no score is logged then, which all that follows needs: drop it")
    if options.get("profiler") == "xla" and find_spec("torch_xla") is None:
        raise UsageError("--trainer.profiler xla needs torch_xla, which is not installed: choose another")
    own = options.get("callbacks") or []
    own = list(own) if isinstance(own, list | tuple) else [own]
    shown: list[Callback] = [EpochLines()] if options.get("enable_progress_bar") is not False else []
    if shown and not any(isinstance(callback, ProgressBar) for callback in own):
        shown.append(Progress())
    options["callbacks"] = [*own, Threads(), Reseed(), MidEpochState(), *shown, *callbacks]
    options["profiler"] = options.get("profiler") or Unprofiled()
    if run is not None:
        step = job.content["global_step"] + 1 if job.resumes else None
        kept = job.content.get("trackers") if job.resumes or job.command != "fit" else None
        options["logger"] = loggers.make_loggers(options.get("logger"), run, job.command, step, kept)
    try:
        trainer = job.trainer = Trainer(**options)
    except (MisconfigurationException, ModuleNotFoundError, TypeError, ValueError) as error:
        chosen = {key: options.get(key) for key in ("accelerator", "devices", "strategy", "precision", "profiler")}
        typed = [f".{key} {value}" for key, value in chosen.items() if isinstance(value, str | int) and value != "auto"]
        raise UsageError(f"--trainer{' --trainer'.join(typed)}: {error}") from error
    _check_kept(trainer, options.get("strategy"))
    if job.command == "fit":
        trainer.callbacks.insert(0, EpochNotifier())  # type: ignore[attr-defined]
    # Lightning's own answer to SIGTERM has all processes meet, and hangs where one is waiting for another already
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # and no plugin of the user's
        file = job.checkpoint.file if job.checkpoint else None
        trainer.strategy.checkpoint_io = checkpoints.CheckpointFiles(file, job.content)
    return trainer


@contextmanager
def finishing(job: Job) -> Iterator[None]:
    """At the end, however it comes, end the runs of the loggers' trackers too."""
    try:
        yield
    finally:
        if job.trainer is not None:
            loggers.finish(job.trainer.loggers)


def _check_kept(trainer: Trainer, strategy: object) -> None:
    """
    Raises:
        UsageError: What the training leaves behind would be lost, or not be there when it is needed.
    """
    if type(trainer.strategy.launcher) is _MultiProcessingLauncher:
        raise UsageError(
            f"--trainer.strategy {strategy}: its processes, made for notebooks, keep to themselves what they find: "
            "choose ddp"
        )
    if isinstance(trainer.strategy.checkpoint_io, AsyncCheckpointIO):
        raise UsageError(
            "--trainer.plugins AsyncCheckpointIO: a checkpoint has to be whole before the next step, so that a "
            "run survives whatever ends it: drop it"
        )
