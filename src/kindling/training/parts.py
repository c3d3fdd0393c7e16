"""The parts of a training, made from classes: data, loss, network, optimizer and scheduler.

Each is given as a name, a class, a ``functools.partial`` of a class, or an object that is made already.
"""

import inspect
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import MethodType
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import ReduceLROnPlateau
from torch import Tensor, nn
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR
from torch.utils.data import Dataset

from kindling.data import FromDatasets
from kindling.data.base import DataModule, is_plain
from kindling.errors import DataError, UsageError
from kindling.facts import SIZES, Facts
from kindling.models.base import SupervisedModule
from kindling.registry import import_class, nearest
from kindling.runs import trust
from kindling.runs.trust import Options

NOT_OPTIONS = {*SIZES, "params", "optimizer"}  # arguments that Kindling fills, but of data


class Monitor(NamedTuple):
    """The score that decides which epoch is the best.

    Args:
        name: As it is logged, e.g. ``val/acc``; None for ``val/loss``, if that is logged.
        mode: ``min`` where low is good, ``max`` where high is.
    """

    name: str | None
    mode: str

    @property
    def score(self) -> str:
        return self.name or "val/loss"


def named(kind: str, given: Any) -> Any:
    """The class that a name stands for, and a datamodule for a tuple of datasets; anything else as it is given.

    Args:
        kind: ``model``, ``data``, ``loss``, ``optimizer`` or ``lr_scheduler``.
        given: A name such as ``SimpleNet``, the import path of a class, or no text at all.

    Raises:
        UsageError: There is no such class.
    """
    if kind == "data" and isinstance(given, Dataset):
        return FromDatasets(given)
    if kind == "data" and isinstance(given, tuple | list):
        one_set = all(isinstance(part, Tensor) for part in given)  # its x and y
        return FromDatasets(given) if one_set else FromDatasets(*given)
    if not isinstance(given, str):
        return given
    known = trust.classes(kind)
    if given not in known and "." not in given:
        raise UsageError(f"there is no {kind} {given!r}{nearest(given, known) or ': there are ' + ', '.join(known)}")
    return import_class(known.get(given, given), f"--{kind}")


def make_data(given: Any, content: dict[str, Any]) -> LightningDataModule | None:
    """The data, with what an earlier training found out about it, before it is read or asked for facts.

    Args:
        given: A LightningDataModule, its class or name; or datasets: ``(train, val)``, ``(train, val, test)``.
        content: Of the checkpoint to start from, if any.
    """
    given = named("data", given)
    data = given() if callable(given) else given
    if not isinstance(data, LightningDataModule | None):
        raise UsageError(f"the data is a {type(data).__name__}: give a LightningDataModule, or (train, val) datasets")
    state = content.get(type(data).__qualname__)  # where Lightning keeps it
    if data is not None and state is not None:
        data.load_state_dict(state)
    return data


def make_network(
    given: Any, data: LightningDataModule | None, loss: nn.Module | None, threshold: float | None = None
) -> LightningModule:
    """The network, its sizes filled from the data, which also gives it its task.

    Args:
        given: A LightningModule, its class or name, or a ``functools.partial`` of the class.
        data: What it is trained on.
        loss: A loss for the task; None for the usual one.
        threshold: Probability above which a tag is predicted; None for the network's own.

    Raises:
        UsageError: The loss or the options are not for this network.
        DataError: The network needs to know something about the data that the data does not state.
    """
    given = named("model", given)
    kind = type(given) if isinstance(given, LightningModule) else getattr(given, "func", given)
    if not (inspect.isclass(kind) and issubclass(kind, LightningModule)):
        raise UsageError(f"the model is {given!r}: give a LightningModule, its class, or a functools.partial of it")
    supervised = issubclass(kind, SupervisedModule)
    if issubclass(kind, SupervisedModule) and isinstance(data, DataModule):
        options = given.hparams if isinstance(given, LightningModule) else getattr(given, "keywords", {})
        data.usual_image_size = kind.usual_image_size(options)
    facts: Facts | None = getattr(data, "facts", None)
    if not supervised and loss is not None:
        raise UsageError(f"--loss: {kind.__name__} has a loss of its own")
    if supervised and facts is None:
        what = type(data).__name__ if data else "no data"
        remedy = (
            "add a property facts that returns a kindling.facts.Facts, or change --data" if data else "change --data"
        )
        raise DataError(f"{kind.__name__} can't be trained on {what}, which states no facts: {remedy}")
    model = given if isinstance(given, LightningModule) else _make_from_class(given, kind, data, facts, loss)
    if isinstance(model, SupervisedModule) and facts is not None:
        model.threshold = model.threshold if threshold is None else threshold
        model.set_task(facts, loss)
    if threshold is not None and (facts is None or facts.kind != "multilabel"):
        raise UsageError(f"--threshold {threshold}: it is for several tags at once, and the data has none: drop it")
    return model


def _make_from_class(
    given: Any, kind: type[LightningModule], data: LightningDataModule | None, facts: Facts | None, loss: Any
) -> LightningModule:
    parameters = inspect.signature(kind).parameters
    options = getattr(given, "keywords", {})
    sizes: dict[str, Any] = {}
    if facts is not None:
        known = {size: getattr(facts, size, None) for size in SIZES}
        known["num_outputs"] = len(facts.class_names) or 1
        if issubclass(kind, SupervisedModule):
            known["num_outputs"] = kind.configure_task(facts, loss).num_outputs
        sizes = {size: known[size] for size in SIZES & parameters.keys() - options.keys()}
        for size in sizes:
            if known[size] is None:
                what = type(data).__name__
                raise DataError(f"{kind.__name__} does not fit {what}, which has no {size}: see the list command")
    try:
        made: LightningModule = given(**sizes)
    except (TypeError, ValueError, RuntimeError, OSError, UserWarning) as error:
        typed = [f"--model.{n} {v}" for n, v in options.items() if n not in parameters or v != parameters[n].default]
        if not typed or not issubclass(kind, SupervisedModule):
            raise  # a bug of the network's
        raise UsageError(f"{' '.join(typed)}: {error}") from error
    return made


def find_monitor(model: LightningModule, name: str | None, mode: str | None) -> Monitor:
    """The score to keep the best epoch by: as asked for, else the network's own, else its task's.

    Raises:
        UsageError: Nobody says whether high or low is good.
    """
    own = getattr(model, "monitor", None)
    chosen = name or own
    good = mode or (getattr(model, "mode", None) if chosen == own else None)
    if good is None and chosen is not None and isinstance(model, SupervisedModule):
        good = model.mode_of(chosen)
    if good is None and (chosen is None or "loss" in chosen):
        good = "min"
    if good not in ("min", "max"):
        raise UsageError(f"--monitor {chosen} needs --mode max or --mode min: whether high or low is good")
    return Monitor(chosen, good)


def follow(scheduler: Any, monitor: Monitor) -> Any:
    """A plateau scheduler that watches the monitored score knows whether high or low is good."""
    given = getattr(scheduler, "keywords", {})
    watches = _class_of(scheduler) is ReduceLROnPlateau and given.get("monitor") == monitor.name
    return partial(scheduler, mode=monitor.mode) if watches and given.get("mode") != monitor.mode else scheduler


def usual_optimizer(model: LightningModule, monitor: Monitor, validates: bool) -> tuple[Any, Any]:
    """What trains a network where nobody chose: Adam and a plateau scheduler, unless the network brings its own."""
    own = type(model).configure_optimizers is not SupervisedModule.configure_optimizers
    if own or not isinstance(model, SupervisedModule):
        return None, None
    plateau = partial(ReduceLROnPlateau, monitor=monitor.score, mode=monitor.mode, **model.plateau)
    return partial(torch.optim.Adam, lr=model.default_lr), plateau if validates else None


def bind_optimizer(model: LightningModule, optimizer: Any, scheduler: Any) -> None:
    """Let the network be trained by these.

    Args:
        optimizer: Makes one from parameters; None for what the network's ``configure_optimizers`` returns.
        scheduler: Makes one from an optimizer; None for a constant learning rate.
    """
    if optimizer is None:
        if scheduler is not None:
            raise UsageError("--lr_scheduler needs an optimizer: add --optimizer NAME")
        return

    def configure_optimizers(model: LightningModule) -> Any:
        parameters = getattr(model, "parameter_groups", model.parameters)()
        made = _make("--optimizer", optimizer, parameters)
        if scheduler is None:
            return made
        steps = {}
        given = {name for name, value in getattr(scheduler, "keywords", {}).items() if value is not None}
        if _class_of(scheduler) is OneCycleLR and not {"total_steps", "epochs"} & given:
            steps = {"total_steps": model.trainer.estimated_stepping_batches}
            if not 0 < steps["total_steps"] < math.inf:
                raise UsageError(
                    "--lr_scheduler OneCycleLR: it is not known how many steps the training takes: give "
                    "--trainer.max_steps"
                )
        made_scheduler = _make("--lr_scheduler", scheduler, made, **steps)
        schedule: dict[str, Any] = {"scheduler": made_scheduler}
        if isinstance(made_scheduler, ReduceLROnPlateau):
            schedule["monitor"] = made_scheduler.monitor
            schedule["frequency"] = model.trainer.check_val_every_n_epoch or 1
        elif isinstance(made_scheduler, OneCycleLR | CyclicLR):
            schedule["interval"] = "step"
        return {"optimizer": made, "lr_scheduler": schedule}

    model.configure_optimizers = MethodType(configure_optimizers, model)  # type: ignore[method-assign]


def _make(option: str, factory: Callable[..., Any], *args: Any, **more: Any) -> Any:
    """The optimizer or scheduler, whose own checks speak of the option."""
    try:
        return factory(*args, **more)
    except (TypeError, ValueError) as error:
        one_rate = ": choose another, or one rate for all layers, for Backbone by --model.body_lr 1"
        remedy = one_rate if "parameter groups" in str(error) else ""
        raise UsageError(f"{option} {_class_of(factory).__name__}: {error}{remedy}") from error


def _class_of(factory: Any) -> Any:
    return getattr(factory, "func", factory)


def usual_loss(model: LightningModule) -> Options | None:
    """The loss that a network took as nobody chose one; None where its name alone would not bring it back."""
    own = getattr(type(model), "configure_task", None)
    usual = getattr(own, "__func__", None) is SupervisedModule.configure_task.__func__  # type: ignore[attr-defined]
    return describe("loss", type(model.loss)) if usual else None


def describe(kind: str, made: Any) -> Options | None:
    """A class with its arguments as plain options, as they stand in ``config.yaml``; None for what has no such form.

    Args:
        kind: ``model``, ``data``, ``loss``, ``optimizer`` or ``lr_scheduler``.
        made: A class, a ``functools.partial`` of one, or an object that keeps its arguments, as its ``hparams`` or as
            attributes of the same names. A datamodule that keeps not all of them, such as datasets, has no such form.
    """
    factory = isinstance(made, partial) or inspect.isclass(made)
    if not (factory or isinstance(made, nn.Module | LightningDataModule)):
        return None
    made_from = _class_of(made) if factory else type(made)
    parameters = inspect.signature(made_from).parameters
    if factory:
        usual = {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty}
        arguments = usual | getattr(made, "keywords", {})
    else:
        kept = getattr(made, "hparams", None)
        arguments = {n: getattr(made, n) for n in parameters if hasattr(made, n)} if kept is None else dict(kept)
    if isinstance(made, LightningDataModule) and not (arguments.keys() >= parameters.keys() and is_plain(arguments)):
        return None
    known = trust.classes(kind).get(made_from.__name__)
    filled = () if kind == "data" else NOT_OPTIONS
    ours = known is not None and import_class(known, f"--{kind}") is made_from
    return {
        "class_path": known if ours else f"{made_from.__module__}.{made_from.__qualname__}",
        "init_args": {name: plain(value) for name, value in arguments.items() if name not in filled},
    }


def plain(value: Any) -> Any:
    """A value as YAML can hold it; an object is the import path of its class."""
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value) if isinstance(value, Path) else f"{type(value).__module__}.{type(value).__qualname__}"
