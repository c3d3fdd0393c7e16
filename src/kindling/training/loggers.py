"""TensorBoard's events of a run. (The LOGGERS helper's file takes this one's place.)"""

from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger

from kindling.runs.folder import Run


class RunLogger(TensorBoardLogger):
    """TensorBoard's events alone: the options of a run are in ``config.yaml``, not in an ``hparams.yaml`` beside it."""

    def save(self) -> None:
        self.experiment.flush()


def make_loggers(given: Any, run: Run, command: str, resume_step: int | None, kept: Any = None) -> list[Logger]:
    """
    Args:
        given: ``--trainer.logger``.
        run: What is trained or tested.
        command: ``fit``, ``test``, ...
        resume_step: Optimizer steps that the checkpoint has seen, where training goes on from one.
        kept: What a checkpoint remembers of the trackers' own runs.
    """
    if given not in (None, True):
        return given if isinstance(given, list) else [given] if given else []
    purge = None if resume_step is None else resume_step + 1  # steps that follow the checkpoint will be done again
    suffix = "" if command == "fit" else f".{command}"
    # the queue holds what is written at the end of an epoch, so that nobody waits for the disk
    logs, version = run.folder.parent, run.folder.name
    return [RunLogger(logs, "", version=version, purge_step=purge, max_queue=1000, filename_suffix=suffix)]
