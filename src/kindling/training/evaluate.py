"""What is done with a trained network: test, validate, predict and export; and the search for a learning rate."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lightning.pytorch.tuner import Tuner

from kindling.callbacks.after_epoch import rounded
from kindling.callbacks.report import publish
from kindling.callbacks.report.predictions import Predictions, PredictionWriter
from kindling.callbacks.report.score_files import ScoreFile, unit_of
from kindling.callbacks.report.test_report import TestReport
from kindling.console import say
from kindling.data.base import DataModule
from kindling.errors import DataError, RunError, UsageError
from kindling.export import write
from kindling.models.base import SupervisedModule
from kindling.pictures import lr_search, style
from kindling.runs.find import Checkpoint
from kindling.runs.folder import LOGS
from kindling.training import loggers
from kindling.training.job import Job, say_choice
from kindling.training.trainer import make_trainer

VERBS = {"test": "Testing", "validate": "Validating", "predict": "Predicting with", "export": "Exporting"}


def evaluate(job: Job) -> dict[str, float]:
    """Test or validate, in the folder of the run that the checkpoint is of.

    Returns:
        The scores by their names.
    """
    checkpoint = _announce(job)
    trainer = make_trainer(job, checkpoint.run, [ScoreFile(checkpoint.run.folder), TestReport(checkpoint.run.folder)])
    score = trainer.test if job.command == "test" else trainer.validate
    loggers.start(trainer.loggers)
    if job.trainer_options.get("logger") is None and (others := loggers.others(job.content.get("trackers", {}))):
        # what was given in Python is an object, which the file can't hold
        is_typed = "class_path" in str(job.content["config"]["trainer"]["logger"])
        remedy = f": for these scores there too, add -c {checkpoint.run.config_file}" if is_typed else ""
        say(f"Left out: {', '.join(others)}, which the training had{remedy}")
    score(job.model, datamodule=job.data, ckpt_path=checkpoint.file, weights_only=True, verbose=False)
    return {name: rounded(value) for name, value in trainer.callback_metrics.items()}


def predict(job: Job) -> None:
    """Write ``predictions.csv`` into the folder of the run that the checkpoint is of."""
    checkpoint = _announce(job)
    _predict(job, lambda found: found.write(checkpoint.run.folder))


def predict_fold(job: Job) -> tuple[list[Any], Predictions]:
    """What the network says of the samples that it was validated with.

    Returns:
        Also by what these are sorted among those of the other folds.
    """
    data: Any = job.data
    data.setup("validate")
    data.predict_set = data.val_set
    data.setup = lambda stage: None
    found: list[Predictions] = []
    _predict(job, found.append)
    order = getattr(data.val_set, "order", range(len(data.val_set)))
    return [order[row] for row in found[0].rows], found[0]


def _predict(job: Job, write: Callable[[Predictions], object]) -> None:
    assert job.checkpoint
    trainer = make_trainer(job, None, [PredictionWriter(write)], logger=False)
    trainer.predict(
        job.model, datamodule=job.data, ckpt_path=job.checkpoint.file, weights_only=True, return_predictions=False
    )


def export(job: Job, format: str = "weights") -> Path:
    """Write the trained network into a file that can be used elsewhere, checked in a process of its own.

    Args:
        format: weights (state_dict and safetensors), onnx, or pt2 (torch.export).

    Returns:
        The folder of the file.

    Raises:
        UsageError: The network or the data is of a kind that can't be exported, or a package is missing.
        RunError: The file, loaded anew, gives other predictions.
    """
    model, data = job.model, job.data
    if not (isinstance(model, SupervisedModule) and isinstance(data, DataModule)):
        kinds = f"{type(model).__name__} on {type(data).__name__}"
        raise UsageError(f"export needs a SupervisedModule on data that is a kindling.data DataModule, not {kinds}")
    write.check_installed(format)
    checkpoint = _announce(job)
    model.load_state_dict(job.content["state_dict"])
    data.prepare_data()
    try:
        data.setup("test")
    except DataError:  # there is no test set, and others will do to see whether two networks say the same
        data.setup("validate")
        data.test_set = data.val_set
    folder = checkpoint.run.folder / "export"
    try:
        write.export(format, model.eval(), data, checkpoint, job.content, folder)
    finally:
        with suppress(OSError):
            folder.rmdir()  # where nothing came of it
    return folder


def lr_find(job: Job, min_lr: float, max_lr: float, num_training: int) -> tuple[float, Path]:
    """Find a learning rate: the one at which the loss falls fastest while the rate rises step by step.

    Args:
        min_lr: Rate of the first step.
        max_lr: Rate of the last step.
        num_training: Steps; the search ends earlier where the loss grows to four times its lowest.

    Returns:
        The learning rate, and the picture of the search.

    Raises:
        UsageError: The options leave nothing to search.
        RunError: The loss fell nowhere, or was not finite.
    """
    if not 0 < min_lr < max_lr:
        raise UsageError(f"--min_lr {min_lr} --max_lr {max_lr}: the first has to be above 0 and below the second")
    if num_training < 20:
        raise UsageError(f"--num_training {num_training}: at least 20 steps are needed to see a slope")
    if job.options["trainer"]["fast_dev_run"]:
        raise UsageError("--trainer.fast_dev_run true leaves no steps to search a learning rate with")
    aside = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    with TemporaryDirectory() as folder:  # Lightning keeps a checkpoint there while it searches
        # the steps are counted instead of the epochs
        trainer = make_trainer(job, None, [], **aside, max_epochs=-1, default_root_dir=folder)
        finder: Any = Tuner(trainer).lr_find(
            job.model, datamodule=job.data, min_lr=min_lr, max_lr=max_lr, num_training=num_training, update_attr=False
        )
    found = lr_search.steepest(finder.results["lr"], finder.results["loss"])
    if found is None:
        raise RunError("the loss fell at no learning rate, so there is none to suggest: try another --min_lr")
    picture = Path(job.options["trainer"]["default_root_dir"] or "") / LOGS / "lr_find.png"
    if trainer.is_global_zero:
        name, unit = type(job.model).__name__, unit_of("loss", job.model)
        curve = partial(lr_search.draw, finder.results["lr"], finder.results["loss"], found, name, unit)
        publish.save(picture, style.paint(curve))
    return found, picture


def _announce(job: Job) -> Checkpoint:
    """Say which weights are used.

    Raises:
        PermissionError: The run's folder can't be written into.
    """
    assert job.checkpoint
    job.run = job.checkpoint.run
    job.run.check_writable()
    epoch = f", epoch {job.content['epoch']}" if "epoch" in job.content else ""
    say(f"{VERBS[job.command]} {job.checkpoint.file} ({type(job.model).__name__}{epoch})")
    say_choice(job.checkpoint)
    return job.checkpoint
