"""The classes that a name alone stands for, and what may be taken from a checkpoint.

A checkpoint may be a stranger's. Its options name classes, and to import what they name would run a stranger's code; so
would a nested class or function in the arguments of a harmless one. Only the classes listed here are taken from a file,
with plain arguments, and beside them what the user has named himself. A ``-c`` file counts as typed.
"""

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from kindling import data, models, registry
from kindling.data import DATA
from kindling.errors import CheckpointError
from kindling.models import MODELS
from kindling.registry import import_class

Options = dict[str, Any]  # nested, plain; a class is {"class_path": ..., "init_args": {...}}

PACKAGES = {
    "model": models.__name__,
    "data": data.__name__,
    "loss": "torch.nn",
    "optimizer": "torch.optim",
    "lr_scheduler": "torch.optim.lr_scheduler",
}
CALLBACKS = "lightning.pytorch.callbacks"
# of Lightning's callbacks those that keep no files and call nothing of the user's: a run is gone on with as it was
HARMLESS_CALLBACKS = {
    *("BackboneFinetuning", "DeviceStatsMonitor", "EMAWeightAveraging", "EarlyStopping"),
    *("GradientAccumulationScheduler", "LearningRateMonitor", "ModelSummary", "RichModelSummary", "RichProgressBar"),
    *("StochasticWeightAveraging", "TQDMProgressBar", "Timer", "WeightAveraging"),
}
PLAIN_TYPES = {
    "bool",
    "int",
    "float",
    "str",
    "list",
    "tuple",
    "dict",
    "NoneType",
    "Tensor",
    "device",
    "Path",
    "timedelta",
}
CONTAINERS = (Union, UnionType, list, tuple, dict, Sequence, Iterable, Mapping)
CLASS_KEYS = {"class_path", "init_args", "dict_kwargs"}


@cache
def classes(kind: str) -> Mapping[str, str]:
    """Import path of each class that is there by its name, for a key of ``PACKAGES``."""
    if kind in ("model", "data"):
        entries = MODELS if kind == "model" else DATA
        return {name: f"{entry.module}.{name}" for name, entry in entries.items()}
    listed: dict[str, Callable[[], list[str]]] = {
        "loss": registry.losses,
        "optimizer": registry.optimizers,
        "lr_scheduler": registry.lr_schedulers,
    }
    found = {name: f"{PACKAGES[kind]}.{name}" for name in listed[kind]()}
    if kind == "lr_scheduler":  # torch's, and the name of the metric that it watches
        found["ReduceLROnPlateau"] = "lightning.pytorch.cli.ReduceLROnPlateau"
    return found


def canonical(kind: str, path: str) -> str:
    """The one spelling of a known class's import path; any other path as it is. Imports nothing."""
    package, _, name = path.rpartition(".")
    known = classes(kind).get(name)
    return known if known is not None and package == PACKAGES[kind] else path


def canonical_of(kind: str, path: str) -> str:
    """The one spelling of any class's import path. Imports it."""
    found = import_class(path, f"--{kind}")
    known = classes(kind).get(getattr(found, "__name__", ""))
    if known is not None and import_class(known, f"--{kind}") is found:
        return known
    return f"{found.__module__}.{found.__qualname__}" if inspect.isclass(found) else path


def check_form(options: Any, file: object) -> Options:
    """The options in a checkpoint, in the form in which Kindling writes them, class paths in their one spelling.

    Raises:
        CheckpointError: They have another form.
    """
    if not isinstance(options, dict) or not _is_plain(options):
        raise CheckpointError(f"{file}: the options in it are not plain data, so it can't be used: take another")
    checked = dict(options)
    for key in PACKAGES.keys() & options.keys():
        if options[key] is None and key != "model":
            continue
        checked[key] = _check_class(options[key], f"{file}: {key}")
        checked[key]["class_path"] = canonical(key, checked[key]["class_path"])
    if not isinstance(checked.get("trainer", {}), dict):
        raise CheckpointError(f"{file}: trainer in it holds no options, so it can't be used: take another")
    return checked


def check_taken(options: Options, named: Collection[str], file: object, remedy: str) -> None:
    """
    Args:
        options: From a checkpoint, after ``check_form``.
        named: What the user has named himself.
        file: The checkpoint.
        remedy: How to name something, for the message, with ``{option}`` and ``{path}`` in it.

    Raises:
        CheckpointError: They would import, call or write what the user has not named.
    """
    for option, path in unknown(options):
        if path not in named:
            option = as_typed(option)
            raise CheckpointError(
                f"{file} names {path} for --{option}, whose code would run; a checkpoint may not choose that by "
                f"itself: if you trust it, {remedy.format(option=option, path=path)}"
            )


def unknown(options: Options) -> Iterator[tuple[str, str]]:
    """Each option that would import, call or write something that is not known, and what that is."""
    for key, value in options.items():
        if key in PACKAGES and value is not None:
            yield from _unknown_in_class(key, value, classes(key).values())
        elif key == "trainer":
            for name, setting in value.items():
                if name == "default_root_dir":  # is not taken from a checkpoint: where that lies is where runs are
                    continue
                yield from _unknown_in_trainer(name, setting)


def _unknown_in_trainer(name: str, setting: Any) -> Iterator[tuple[str, str]]:
    option = f"trainer.{name}"
    if name == "callbacks":
        for callback in setting if isinstance(setting, list) else [setting]:
            if isinstance(callback, dict):
                spec = _check_class(callback, f"--{option}")
                known = {f"{CALLBACKS}.{harmless}" for harmless in HARMLESS_CALLBACKS}
                yield from _unknown_in_class(option, spec, known)
            elif callback is not None:
                yield option, str(callback)
    else:
        yield from ((option, text) for text in texts(setting) if "." in text or "/" in text)
        yield from ((option, str(path)) for path in _nested_classes(setting))


def _unknown_in_class(option: str, spec: Options, known: Collection[str]) -> Iterator[tuple[str, str]]:
    path = spec["class_path"]
    if path not in known:
        yield option, path
    arguments = {**spec.get("init_args", {}), **spec.get("dict_kwargs", {})}
    if not arguments:
        return
    parameters = _parameters(path, option)  # what was yielded before was refused by now, or the user has named it
    for name, value in arguments.items():
        yield from ((f"{option}.{name}", str(nested)) for nested in _nested_classes(value))
        parameter = parameters.get(name)
        if parameter is None or not _is_plain_type(parameter.annotation):  # a text may be the path of a class
            usual = parameter.default if parameter else None
            own = f"{getattr(usual, '__module__', '')}.{getattr(usual, '__qualname__', '')}"
            yield from ((f"{option}.{name}", text) for text in texts(value) if text != own)


def as_typed(key: str) -> str:
    """A dotted key as it is typed."""
    return f"model.{key}" if key.partition(".")[0] == "loss" else key


def texts(value: Any) -> Iterator[str]:
    """All texts in nested plain data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts(part)


def _nested_classes(value: Any) -> Iterator[Any]:
    """Also those in the arguments of another: who names the outer one has not named what is in it."""
    if isinstance(value, dict) and "class_path" in value:
        yield value["class_path"]
    if isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _nested_classes(part)


def _check_class(spec: Any, where: str) -> Options:
    if not (
        isinstance(spec, dict)
        and isinstance(spec.get("class_path"), str)
        and not spec.keys() - CLASS_KEYS
        and all(isinstance(spec.get(part, {}), dict) for part in CLASS_KEYS - {"class_path"})
    ):
        raise CheckpointError(f"{where} in it is no class with its options, so it can't be used: take another")
    return dict(spec)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str | int) and _is_plain(part) for key, part in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _is_plain_type(hint: Any) -> bool:
    """Whether a text given for an argument of that type stays a text, or becomes a number or the like."""
    if get_origin(hint) in CONTAINERS:
        return all(_is_plain_type(part) for part in get_args(hint))
    if get_origin(hint) is Literal or hint in (inspect.Parameter.empty, Any, None, ...):
        return True
    return inspect.isclass(hint) and (issubclass(hint, Enum) or hint.__name__ in PLAIN_TYPES)


def _parameters(path: str, option: str) -> Mapping[str, inspect.Parameter]:
    """Of a class and, where it passes arguments on to it, of the class that it is made from."""
    found: dict[str, inspect.Parameter] = {}
    for one in reversed(inspect.getmro(import_class(path, f"--{option}"))[:-1]):
        try:
            found |= inspect.signature(one, eval_str=True).parameters
        except NameError:  # a type that is imported for type checkers alone
            found |= inspect.signature(one).parameters
    return found
