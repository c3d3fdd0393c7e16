"""Training: a job becomes a run."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import yaml
from lightning.pytorch import Callback, Trainer

from kindling.callbacks.report.curves import Curves
from kindling.callbacks.report.graph import Graph
from kindling.callbacks.report.histograms import Histograms
from kindling.callbacks.report.metrics_writer import COLUMNS, MetricsWriter
from kindling.callbacks.report.score_files import ScoreFile, in_lines, unit_of
from kindling.callbacks.report.test_report import TestReport
from kindling.callbacks.resume.checkpoints import BestAndLast
from kindling.callbacks.resume.graceful_stop import GracefulStop
from kindling.console import is_first_process, say
from kindling.data.base import DataModule
from kindling.errors import RunError, UsageError
from kindling.models.base import SupervisedModule
from kindling.registry import import_class
from kindling.runs import csv_files
from kindling.runs.atomic import atomic_write, remove_leftovers
from kindling.runs.folder import LOGS, USUAL_NAME, Run, claim, locked
from kindling.runs.trust import Options
from kindling.training import loggers
from kindling.training.job import Job, say_choice
from kindling.training.parts import describe
from kindling.training.resume import flat
from kindling.training.trainer import make_trainer


def fit(
    job: Job,
    test_after_fit: bool = False,
    histograms: bool = False,
    name: str | None = None,
    folder: Path | None = None,
    is_drawn: bool = True,
) -> Run | None:
    """Train.

    Args:
        test_after_fit: Test the best checkpoint at the end.
        histograms: Show the distributions of weights and gradients in TensorBoard.
        name: What the run's folder is called before its number; None for ``version``.
        folder: The run's folder, such as one of several in the folder of a sweep; None for the next number.
        is_drawn: Whether to draw the curves of its scores.

    Returns:
        The run; None for a ``fast_dev_run``, which keeps nothing.

    Raises:
        Stopped: A signal ended it; training can be resumed from what was saved.
        KindlingError: The user has something to mend.
    """
    if test_after_fit and isinstance(job.data, DataModule) and job.data.predict_needs:
        raise UsageError("--test_after_fit true: the data has no test set: leave the option out, or add one")
    run = job.run = _run_folder(job, name, folder)
    _change_optimizer_options(job)
    try:
        trainer = make_trainer(job, run, _callbacks(job, run, test_after_fit, histograms, is_drawn))
        with _opened(job, run):
            _announce(job, run, trainer)
            loggers.start(trainer.loggers)
            trainer.fit(job.model, datamodule=job.data, ckpt_path=job.checkpoint.file if job.checkpoint else None)
    except BaseException:
        if run and not job.resumes and not job.saved and not run.metrics() and is_first_process():
            shutil.rmtree(run.folder)  # of a training that never began; one that is resumed may be another's
        raise
    if run is None:
        return None
    run = job.run = Run(trainer.strategy.broadcast(run.folder))
    _summarize(run, trainer)
    if test_after_fit:
        if not run.best.is_file():
            raise RunError(f"--test_after_fit: {run.folder} has no best checkpoint to test")
        say(f"Testing {run.best}")
        trainer.test(job.model, datamodule=job.data, ckpt_path=run.best, weights_only=True, verbose=False)
    if trainer.is_global_zero:
        run.previous.unlink(missing_ok=True)  # as all that comes at the end has come
    return run


def _run_folder(job: Job, name: str | None, folder: Path | None) -> Run | None:
    if job.options["trainer"]["fast_dev_run"]:
        return None  # keeps nothing
    if job.resumes and job.checkpoint:
        run = job.checkpoint.run
        check_name(run, name)
        run.check_writable()
        return run
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        return Run(folder)
    logs = Path(job.options["trainer"]["default_root_dir"] or "") / LOGS
    # other processes of this training learn the folder from the first, when they have met
    return claim(logs, name or USUAL_NAME) if is_first_process() else Run(logs / "version_x")


def check_name(run: Run, name: str | None) -> None:
    """
    Raises:
        UsageError: A run that is resumed has another name.
    """
    if name is not None and run.folder.name.rpartition("_")[0] != name:
        raise UsageError(f"--name {name}: training resumes in {run}, which has its name already: leave it out")


def _callbacks(job: Job, run: Run | None, test_after_fit: bool, histograms: bool, is_drawn: bool) -> list[Callback]:
    callbacks: list[Callback] = []
    if run is not None:
        if test_after_fit:
            callbacks += [ScoreFile(run.folder), TestReport(run.folder)]
        shown = flat(job.options | {"trainer": {"max_epochs": job.options["trainer"]["max_epochs"]}})
        shown = {key: value for key, value in shown.items() if value != "null"}
        every = job.options["checkpoint_every"]
        callbacks += [MetricsWriter(run.folder, shown, _changed(job.options))]
        callbacks += [Curves(run.folder), Graph()] if is_drawn else []
        callbacks += [Histograms()] if histograms else []
        if job.options["trainer"]["enable_checkpointing"] is not False:
            callbacks.append(BestAndLast(run.folder, job.monitor.name, job.options, every, job.monitor.mode))
    return [*callbacks, GracefulStop()]


def _changed(options: Options) -> str:
    """The options of network, data, loss and optimizer that differ from their defaults, for a column of HPARAMS."""
    changed = []
    for key in ("model", "data", "loss", "optimizer"):
        spec = options.get(key) or {}
        if "class_path" in spec:
            described = describe(key, import_class(spec["class_path"], f"--{key}"))
            usual = flat(described, key) if described else {}
            given = {k: v for k, v in flat(spec, key).items() if k not in COLUMNS.values()}
            changed += [f"{k}={v}" for k, v in given.items() if v != usual.get(k, "null")]
    return " ".join(changed)


def _change_optimizer_options(job: Job) -> None:
    """Let options typed for an optimizer hold, whose state in the checkpoint has those that it was saved with."""
    both = (job.content.get("config", {}), job.options)
    then, now = ((options.get("optimizer") or {}).get("init_args", {}) for options in both)
    changed = {name: value for name, value in now.items() if then and value != then.get(name)}
    for state in job.content.get("optimizer_states", []):
        for group in state.get("param_groups", []):
            group.update({name: value for name, value in changed.items() if name in group})


@contextmanager
def _opened(job: Job, run: Run | None) -> Iterator[None]:
    """Make a run's folder ready to be trained in, by this process alone.

    Raises:
        RunError: It is being trained in, or its metrics can't be read.
    """
    if run is None or not is_first_process():
        yield
        return
    run.metrics()  # where they can't be read, nothing is written
    with locked(run.folder):
        names = ("checkpoints/*", "config.yaml", "metrics.csv", "curves.png")
        remove_leftovers(run.folder, *(f"{name}.*part" for name in names))
        if job.start.damaged:
            aside = job.start.damaged.replace(job.start.damaged.with_name("damaged.ckpt"))
            say(f"{job.start.damaged} can't be read: set aside as {aside.name}, resuming from the one before")
        if run.previous.is_file() and "events" in job.content:
            loggers.truncate_events(run.folder, job.content["events"])
        write_config(run, job.options, job.program)
        yield


def write_config(run: Run, options: Options, program: str) -> None:
    with atomic_write(run.config_file) as file:
        file.write(f"# {program} fit -c {run.config_file}  trains the same again\n")
        file.write(yaml.safe_dump(options, sort_keys=False, allow_unicode=True))


def _announce(job: Job, run: Run | None, trainer: Trainer) -> None:
    """Say what is about to be trained, on what and where."""
    if job.checkpoint:
        model = type(job.model).__name__
        say(f"Resuming from {job.checkpoint.file} ({model}, epoch {job.content['epoch']})")
        say_choice(job.checkpoint)
        return
    names = [type(job.model).__name__]
    if isinstance(job.model, SupervisedModule):
        names.append(job.model.task.loss_name + unit_of("loss", job.model))
    count = sum(p.numel() for p in job.model.parameters())
    data = getattr(job.data, "title", type(job.data).__name__) if job.data else "its own data"
    device, seed = trainer.strategy.root_device, job.options["seed_everything"]
    where = run.folder if run else "nowhere (fast_dev_run)"
    say(f"{', '.join(names)}, {count:,} parameters, on {data}, {device}, seed {seed} -> {where}")
    if device.type == "cpu" and trainer.precision.startswith("bf16") and not has_bf16():
        slow = "this CPU has no instructions for it; 32-true may be several times faster"
        say(f"--trainer.precision {trainer.precision}: {slow}")
    if isinstance(job.data, DataModule):
        lines, columns = job.data.decisions()
        for line in lines:
            say(line)
        if columns and run and is_first_process():
            csv_files.write(run.folder / job.data.decisions_file, columns)


def has_bf16() -> bool:
    """Whether the CPU computes bf16 in hardware; one with AVX2 alone took 7 times as long for it as for 32 bits."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def _summarize(run: Run, trainer: Trainer) -> None:
    """Say how it went, and what is there now."""
    keeper = BestAndLast.of(trainer)
    if keeper and keeper.best:
        validated = {name: score for name, score in keeper.best.items() if name.startswith("val/")}
        say(in_lines(validated, trainer.lightning_module, f"Best epoch {keeper.best['epoch']}: "))
    elif keeper:
        say(f"No best.ckpt: {keeper.monitor} was never logged, or never finite")
    say(f"In {run.folder}: {loggers.left_behind(run, trainer.loggers)}")
