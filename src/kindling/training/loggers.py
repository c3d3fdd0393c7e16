"""Where a run's scores go beside its own files: TensorBoard, and the loggers that ``--trainer.logger`` names."""

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from kindling.callbacks.report.publish import board_tag
from kindling.errors import RunError
from kindling.runs.folder import Run


class RunTensorBoard(TensorBoardLogger):
    """TensorBoard's events alone: the options of a run are in ``config.yaml``, not in an ``hparams.yaml`` beside it."""

    def save(self) -> None:
        self.experiment.flush()

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        super().log_metrics({board_tag(name): value for name, value in metrics.items()}, step)


class RunCSV(CSVLogger):
    """Keeps the rows that its file has already, up to a step; Lightning's own deletes them."""

    resume_step: int | None = None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            file = Path(self.log_dir) / "metrics.csv"
            rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines())) if file.is_file() else []
            writer: Any = super().experiment
            writer.metrics = [row for row in rows if self.resume_step is None or int(row["step"]) < self.resume_step]
            writer.save()
        return self._experiment


def make_loggers(
    given: Logger | Iterable[Logger] | bool | None,
    run: Run,
    command: str,
    resume_step: int | None = None,
    kept: Mapping[str, str] | None = None,
) -> list[Logger]:
    """The loggers of a run. One logger takes TensorBoard's place, a list of loggers is added to it.

    A relative folder that a logger writes into is inside the run's folder.

    Args:
        given: The value of ``--trainer.logger``; None and True stand for TensorBoard alone.
        run: The run that is trained or tested.
        command: ``fit``, ``test`` or ``validate``.
        resume_step: The first step that a resumed training will do again; what was logged of it before is removed.
        kept: What the checkpoint remembers of its loggers: name of the class to the tracker's id of the run.
    """
    if given is False:
        return []
    loggers = [given] if isinstance(given, Logger) else [] if given in (None, True) else list(given)  # type: ignore
    if not isinstance(given, Logger) and not any(isinstance(logger, TensorBoardLogger) for logger in loggers):
        loggers.insert(0, RunTensorBoard(run.folder))
    return [_place(logger, run.folder, command, resume_step, kept or {}) for logger in loggers]


def _place(logger: Logger, folder: Path, command: str, resume_step: int | None, kept: Mapping[str, str]) -> Logger:
    """Let a logger write into the run's folder, and its tracker's run; Lightning's names for these are private."""
    known = kept.get(type(logger).__name__)
    if isinstance(logger, TensorBoardLogger):
        logger._root_dir, logger._name, logger._version = str(folder.parent), "", folder.name
        # the queue holds what is written at the end of an epoch, so that nobody waits for the disk
        logger._kwargs |= {"purge_step": resume_step, "max_queue": 1000}
        logger._kwargs["filename_suffix"] = "" if command == "fit" else f".{command}"
    elif type(logger) is CSVLogger:
        name = "" if logger._name == "lightning_logs" else logger._name
        version = "" if logger._version is None else logger._version
        flush = logger._flush_logs_every_n_steps
        logger = RunCSV(folder / logger._save_dir, name, version, logger._prefix, flush)
        logger.resume_step = resume_step
    elif isinstance(logger, WandbLogger):
        logger._save_dir = logger._wandb_init["dir"] = str(folder / (logger._save_dir or ""))
        logger._id = logger._wandb_init["id"] = logger._id or known
    elif isinstance(logger, MLFlowLogger):
        logger._run_id = logger._run_id or known
    return logger


def start(loggers: list[Logger]) -> None:
    """Have the trackers begin, or find, their runs before anything is computed; TensorBoard has none.

    Raises:
        RunError: One of them can't, e.g. as nobody has logged in.
    """
    for logger in (logger for logger in loggers if not isinstance(logger, TensorBoardLogger)):
        try:
            _ = logger.experiment  # type: ignore[attr-defined]
        except Exception as error:  # each tracker has classes of its own
            reason = " ".join(str(error).split()) or type(error).__name__
            raise RunError(f"--trainer.logger {_name(logger)}: {reason}") from error


def finish(loggers: list[Logger]) -> None:
    """End the runs of W&B: the next run of the same program would be logged into one that has not ended."""
    for logger in loggers:
        if isinstance(logger, WandbLogger) and logger._experiment is not None:
            logger._experiment.finish()


def left_behind(run: Run, loggers: list[Logger]) -> str:
    """What a training has written, for the last lines that it prints."""
    names = [
        name
        for name in ("config.yaml", "columns.csv", "files.csv", "metrics.csv", "curves.png")
        if (run.folder / name).is_file()
    ]
    names += ["checkpoints/"] if run.last.is_file() else []
    for logger in loggers:
        tracked = f"{_name(logger)} {logger.version}".strip()
        names.append("TensorBoard events" if isinstance(logger, TensorBoardLogger) else tracked)
    return ", ".join(names)


def others(kept: Iterable[str]) -> list[str]:
    """Those of a training's loggers, as the checkpoint remembers them, that were asked for."""
    return [_typed(name) for name in kept if name not in ("RunTensorBoard", "TensorBoardLogger")]


def _name(logger: Logger) -> str:
    return _typed(type(logger).__name__)


def _typed(class_name: str) -> str:
    """As it is typed."""
    return class_name.replace("RunCSV", "CSVLogger")


def truncate_events(folder: Path, sizes: Mapping[str, int]) -> None:
    """Shorten TensorBoard's files to what they were at a checkpoint: what came after it will be done again."""
    for file in folder.glob("events.out.*"):
        if file.name in sizes:
            os.truncate(file, min(file.stat().st_size, sizes[file.name]))
        elif file.suffix not in (".test", ".validate"):
            file.unlink()
