"""The door for Python: ``kindling.fit`` trains and returns a run, ``kindling.load`` reads a run back."""

import inspect
import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn

from kindling.console import say
from kindling.errors import CheckpointError, Stopped, UsageError
from kindling.export.write import FORMATS
from kindling.registry import import_class, nearest
from kindling.runs import find, trust
from kindling.runs.folder import LOGS, Run
from kindling.tasks import losses
from kindling.training import evaluate, parts
from kindling.training.fit import fit as train
from kindling.training.job import Job, Start, make_job
from kindling.training.session import session
from kindling.training.trainer import DEFAULT_EPOCHS, DEFAULT_SEED, TRAINER_DEFAULTS, finishing

PARTS = ("model", "data", "loss", "optimizer", "lr_scheduler")
MACHINE = ("accelerator", "devices", "strategy", "precision", "num_nodes", "enable_progress_bar")
TOGETHER = 1024  # samples that a prediction takes at once
Which = Literal["best", "last"]


@dataclass(frozen=True)
class TrainedRun(Run):
    """One training run's folder, and what it was trained with, so that it can be used and trained on."""

    given: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def fit(self, **changes: Any) -> "TrainedRun":
        """Train on, in the same folder, with what ``kindling.fit`` was given but for the changes."""
        for part in (self.given["model"], self.given["loss"]):
            if isinstance(part, nn.Module):
                part.train()  # ``load`` has returned this object, in eval mode
        return fit(**{**self.given, **changes, "resume": self.folder})

    def test(self, which: Which = "best") -> dict[str, float]:
        """The scores on the test set, which go into ``test.json``; pictures and mistakes into files beside it."""
        return self._evaluate("test", which)

    def validate(self, which: Which = "best") -> dict[str, float]:
        """The scores on the validation set, which go into ``validate.json``."""
        return self._evaluate("validate", which)

    def load(self, which: Which = "best") -> tuple[LightningModule, LightningDataModule]:
        """The trained network, in eval mode on the CPU, and its data."""
        return _with_weights(self._job("predict", which))

    def predict(self, samples: Any, which: Which = "best") -> Tensor:
        """What the network says of raw inputs (B, ...), as its data stores them; of a table, of a DataFrame's rows.

        Returns:
            Probabilities (B, classes), or numbers in the target's units (B, 1 or 2), on the CPU.

        Raises:
            KindlingError: The DataFrame lacks a column, or the data is no table.
        """
        data: Any
        model, data = self.load(which)
        pandas = sys.modules.get("pandas")  # nobody has a DataFrame without it, and its import takes a while
        if pandas and isinstance(samples, pandas.DataFrame):
            if not hasattr(data, "encode"):
                raise UsageError(f"run.predict: {type(data).__name__} has no columns: give a tensor, not a DataFrame")
            samples = data.encode(samples)
        with torch.inference_mode():
            parts_of_it = torch.as_tensor(samples).split(TOGETHER)
            return torch.cat([model.predict_step((data.normalize(x),)) for x in parts_of_it])

    def export(self, format: Literal["weights", "onnx", "pt2"] = "weights", which: Which = "best") -> Path:
        """Write files for use elsewhere, which are read back and compared, and return their folder.

        Args:
            format: weights (state_dict and safetensors); onnx or pt2 (torch.export), with the preprocessing.
            which: ``best`` or ``last``.

        Raises:
            KindlingError: The network or its data can't be written in that format, or a package is missing.
        """
        if format not in FORMATS:
            raise UsageError(f"run.export({format!r}): there are {', '.join(FORMATS)}")
        with session(self.given["seed"]):
            return evaluate.export(self._job("export", which), format)

    def _evaluate(self, command: str, which: Which) -> dict[str, float]:
        with session(self.given["seed"]):
            job = self._job(command, which)
            with finishing(job):
                return evaluate.evaluate(job)

    def _job(self, command: str, which: Which) -> Job:
        start = Start.read(_checkpoint(self.folder, which))
        given = {name: value for name, value in self.given.items() if name in PARTS}
        machine = {name: value for name, value in self.given.items() if name in MACHINE}
        return make_job(command, start.content["config"], **given, trainer=machine, start=start)


def fit(
    model: Any,
    data: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = None,
    lr_scheduler: Any = None,
    seed: int | None = DEFAULT_SEED,
    monitor: str | None = None,
    mode: Literal["min", "max"] | None = None,
    threshold: float | None = None,
    checkpoint_every: int | None = None,
    histograms: bool = False,
    name: str | None = None,
    resume: str | Path | Run | None = None,
    **trainer: Any,
) -> TrainedRun:
    """Train a network as the command line does, with the same folder, files and callbacks.

        run = kindling.fit(kindling.models.SimpleNet, kindling.data.SyntheticTabular, max_epochs=5)
        run.test()

    Each part is a name, a class, a ``functools.partial`` of a class with its options, or an object. The sizes of a
    network that is given by its class are filled from the data.

    Args:
        model: The network.
        data: A LightningDataModule; or a Dataset or tensors ``(x, y)``; or several, ``(train, val, test)``.
        loss: Of torch.nn, or your own; None for the task's usual one.
        optimizer: Of torch.optim, a class or a partial; None for the network's own, usually Adam.
        lr_scheduler: Of torch.optim.lr_scheduler, likewise.
        seed: None for a training that differs each time.
        monitor: The logged score that decides which epoch is the best, e.g. ``val/acc``.
        mode: ``max`` where high scores are good, ``min`` where low ones are.
        threshold: Probability above which a tag is predicted, where there are several tags.
        checkpoint_every: Steps from one checkpoint within an epoch to the next.
        histograms: Show the distributions of weights and gradients in TensorBoard.
        name: What the run's folder is called before its number; None for ``version``.
        resume: A run to resume, its folder or checkpoint; ``last`` for the newest one that is unfinished,
            ``auto`` likewise, or a new run where all have ended.
        trainer: Any option of Lightning's Trainer: ``max_epochs``, ``accelerator``, ``callbacks``, ``logger``, ...

    Returns:
        The run. After Ctrl-C, or the button that interrupts a notebook, it is saved, and ``run.fit()`` resumes it.

    Raises:
        KindlingError: Something is to be mended; its message says what and how.
    """
    given = {"model": model, "data": data, "loss": loss, "optimizer": optimizer, "lr_scheduler": lr_scheduler}
    given = {key: parts.named(key, value) for key, value in given.items()}
    given["loss"] = given["loss"]() if inspect.isclass(given["loss"]) else given["loss"]
    if isinstance(given["loss"], nn.Module):
        given["loss"].train()  # it may be part of a network that was loaded in between
    own = {"monitor": monitor, "mode": mode, "threshold": threshold, "checkpoint_every": checkpoint_every}
    usual = _usual_of_trainer()
    for name in trainer.keys() - usual.keys():
        near = nearest(name, [*given, *own, "seed", "name", "resume", *usual])
        raise UsageError(f"kindling.fit has no option {name!r}{near}")
    if not any(trainer.get(f"max_{unit}") for unit in ("epochs", "steps", "time")):
        usual["max_epochs"] = DEFAULT_EPOCHS
    settings = usual | TRAINER_DEFAULTS | trainer
    options = {
        "seed_everything": False if seed is None else seed,
        "trainer": parts.plain(settings),
        **{key: parts.describe(key, value) for key, value in given.items()},
        **own,
    }
    with session(seed):
        start = None if resume is None else _start(str(resume), options)
        job = make_job("fit", options, **given, trainer=settings, start=start)
        try:
            with finishing(job):
                train(job, histograms=histograms, name=name)
        except (KeyboardInterrupt, SystemExit) as stop:
            if isinstance(stop, Stopped) and stop.code != 130:  # a signal to end the whole program
                raise
            if not job.saved:
                raise KeyboardInterrupt from None
            say(f"Interrupted: run.fit() resumes it after step {job.saved}")
    folder = job.run.folder if job.run else Path("nowhere")  # a fast_dev_run
    return TrainedRun(folder, {**given, **own, "seed": seed, "histograms": histograms, **trainer})


def load(
    run: str | Path, which: Which = "best", classes: Collection[type] = (), data: Any = None
) -> tuple[LightningModule, LightningDataModule]:
    """The trained network, in eval mode on the CPU, and the data it was trained on, of one run.

        model, data = kindling.load("lightning_logs/version_0")
        x = data.normalize(torch.tensor([[7.5, 3.0]]))
        model(x).softmax(dim=1)  # (1, num_outputs) probabilities, in the order of model.class_names

    Args:
        run: A run's folder, or a checkpoint file.
        which: ``best`` or ``last``, for a folder.
        classes: Networks, data and losses of your own that the checkpoint may name beside Kindling's and torch's.
        data: As for ``kindling.fit``, for a run whose data was given in Python and is not in its options.

    Raises:
        UsageError: ``which`` is neither, or there has to be data.
        RunError: There is no such run or checkpoint.
        CheckpointError: The file can't be read, was not written by this project, or names a class that is not known.
    """
    start = Start.read(_checkpoint(run, which))
    config, file = start.content.get("config", {}), start.checkpoint and start.checkpoint.file
    if config.get("model") is None:
        raise CheckpointError(f"{file} was not written by this project: call its own class's load_from_checkpoint")
    if data is None and config.get("data") is None:
        raise UsageError(
            f"the data of {run} was given in Python: give it here too, kindling.load({str(run)!r}, data=...)"
        )
    known = {f"{one.__module__}.{one.__qualname__}" for one in classes}
    wanted = {key: config[key] for key in ("model", "data", "loss") if config.get(key)}
    trust.check_taken(wanted, known, file, "give its class to kindling.load(..., classes=[...])")
    made: dict[str, Any] = {}
    for key in ("model", "data") if data is None else ("model",):
        made[key] = _factory(key, wanted[key])
    try:
        loss = losses.make_loss(config.get("loss"))
        return _with_weights(make_job("predict", config, **{"data": data, **made}, loss=loss, start=start))
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file} does not fit {' and '.join(made)} as they are now: {error}") from error


def reopen(run: Run) -> TrainedRun:
    """A run of the command line, such as the best of a sweep, with its parts made anew from its options.

    Raises:
        RunError: Its options can't be read.
    """
    config = run.config()
    given: dict[str, Any] = {kind: _factory(kind, config[kind]) if config.get(kind) else None for kind in PARTS}
    given["loss"] = losses.make_loss(config.get("loss"))
    given |= {name: config.get(name) for name in ("monitor", "mode", "threshold", "checkpoint_every")}
    usual = _usual_of_trainer()
    trainer = {name: value for name, value in config["trainer"].items() if value != usual.get(name)}
    return TrainedRun(run.folder, given | {"seed": config["seed_everything"]} | trainer)


def _usual_of_trainer() -> dict[str, Any]:
    """Lightning's default of each option of its Trainer."""
    return {name: parameter.default for name, parameter in inspect.signature(Trainer).parameters.items()}


def _factory(kind: str, spec: dict[str, Any]) -> partial[Any]:
    return partial(import_class(spec["class_path"], kind), **spec.get("init_args", {}))


def _with_weights(job: Job) -> tuple[LightningModule, Any]:
    job.model.load_state_dict(job.content["state_dict"])
    return job.model.eval(), job.data


def _checkpoint(run: str | Path, which: str) -> find.Checkpoint:
    """The file of a run that is meant, or a file itself."""
    if which not in ("best", "last"):
        raise UsageError(f"kindling.load(..., which={which!r}): there are best and last")
    file = Run(Path(run)).last if which == "last" and Path(run).is_dir() else run
    return find.find(str(file), Path(LOGS), model=None, program="kindling")


def _start(resume: str, options: dict[str, Any]) -> Start | None:
    trainer, logs = options["trainer"], Path(options["trainer"]["default_root_dir"] or "") / LOGS
    limits = {name: trainer[name] for name in find.LIMITS}
    model = options["model"]["class_path"].rpartition(".")[2] if resume in ("last", "auto") else None
    found = find.find_to_resume(resume, logs, limits=limits, model=model, program="kindling")
    if found and found.run.holds_several:
        what = f"resume={resume!r}: there are several runs in {found.run}"
        raise UsageError(f"{what}: name one of them, or type  kindling fit --ckpt_path {found.run}")
    return Start.read(found) if found else None
