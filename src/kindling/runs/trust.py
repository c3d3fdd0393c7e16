"""What may be taken from a checkpoint.

A checkpoint may be a stranger's. Its options name classes, and importing what they name would run a stranger's code; so
would a nested class or function in the arguments of a harmless one. Only known classes with plain arguments are taken
from a file, and beside them what the user has named. A ``-c`` file counts as typed.
"""

import inspect
import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from kindling.errors import CheckpointError
from kindling.registry import RENAMED, import_class
from kindling.runs.class_names import PACKAGES, canonical, classes, is_class

Options = dict[str, Any]  # nested, plain; a class is {"class_path": ..., "init_args": {...}}

# Lightning's callbacks that keep no files and call nothing of the user's: a resumed run gets them back
HARMLESS_CALLBACKS = {
    f"lightning.pytorch.callbacks.{name}"
    for name in (
        *("BackboneFinetuning", "DeviceStatsMonitor", "EMAWeightAveraging", "EarlyStopping"),
        *("GradientAccumulationScheduler", "LearningRateMonitor", "ModelSummary", "RichModelSummary"),
        *("RichProgressBar", "StochasticWeightAveraging", "TQDMProgressBar", "Timer", "WeightAveraging"),
    )
}
# the words of a type whose texts stay texts, or become a number or the like: nothing is imported or opened for them
PLAIN_TYPES = {
    *("bool", "int", "float", "str", "list", "tuple", "dict", "None", "NoneType", "Any"),
    *("Tensor", "device", "Path", "timedelta", "Optional", "Union", "Sequence", "Iterable", "Mapping"),
    *("typing", "collections", "abc", "torch", "pathlib", "datetime"),
}


def check_form(options: Options, file: object) -> Options:
    """The options in a checkpoint, in the form in which Kindling writes them, class paths in their one spelling.

    Raises:
        CheckpointError: They have another form.
    """
    try:
        json.dumps(options)
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: its options are not plain data, so it can't be used: take another") from error
    options = {RENAMED[key].now if key in RENAMED else key: value for key, value in options.items()}
    checked = dict(options)
    for key in PACKAGES.keys() & options.keys():
        if options[key] is not None or key == "model":
            checked[key] = _check_class(options[key], f"{file}: {key}")
            checked[key]["class_path"] = canonical(key, checked[key]["class_path"])
    if not isinstance(checked.get("trainer", {}), dict):
        raise CheckpointError(f"{file}: trainer in it holds no options, so it can't be used: take another")
    return checked


def check_taken(options: Options, named: Collection[str], file: object, remedy: str) -> None:
    """
    Args:
        named: Every text that the user has typed, or given in another way.
        remedy: How to name something, for the message, with ``{option}`` and ``{path}`` in it.

    Raises:
        CheckpointError: They would import, call or write what the user has not named.
    """
    for option, path in unknown(options):
        if path not in named:
            raise CheckpointError(
                f"{file} names {path} for --{option}, whose code would run; a checkpoint may not choose that by "
                f"itself: if you trust it, {remedy.format(option=option, path=path)}"
            )


def unknown(options: Options) -> Iterator[tuple[str, str]]:
    """Each option that would import, call or write something that is not known, and what that is."""
    for key in PACKAGES:
        if options.get(key) is not None:
            yield from _unknown_in_class(key, options[key], classes(key).values())
    for name, setting in options.get("trainer", {}).items():
        option = f"trainer.{name}"
        if name == "callbacks":
            for callback in setting if isinstance(setting, list) else [setting]:
                if isinstance(callback, dict):
                    yield from _unknown_in_class(option, _check_class(callback, f"--{option}"), HARMLESS_CALLBACKS)
                elif callback is not None:
                    yield option, str(callback)
        elif name != "default_root_dir":  # which is never taken from a checkpoint
            yield from ((option, text) for text in texts(setting) if re.search(r"[./\\]|^[A-Za-z]:", text))
            yield from ((option, path) for path in _nested_classes(setting))


def _unknown_in_class(option: str, spec: Options, known: Collection[str]) -> Iterator[tuple[str, str]]:
    path = spec["class_path"]
    if path not in known:
        yield option, path
    arguments = {**spec.get("init_args", {}), **spec.get("dict_kwargs", {})}
    # only a class that is known, or that the user has named, gets here
    parameters = _parameters(import_class(path, f"--{option}")) if arguments else {}
    for name, value in arguments.items():
        yield from ((f"{option}.{name}", nested) for nested in _nested_classes(value))
        if name not in parameters or not _takes_plain_texts(parameters[name]):  # a text may be the path of a class
            usual = parameters[name].default if name in parameters else None
            own = f"{getattr(usual, '__module__', '')}.{getattr(usual, '__qualname__', '')}"
            yield from ((f"{option}.{name}", text) for text in texts(value) if text != own)


def texts(value: Any) -> Iterator[str]:
    """All texts in nested plain data, but for the keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts(part)


def _nested_classes(value: Any) -> Iterator[str]:
    """Also those in the arguments of another: who names the outer one has not named what is in it."""
    if isinstance(value, dict) and "class_path" in value:
        yield str(value["class_path"])
    if isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _nested_classes(part)


def _check_class(spec: Any, where: str) -> Options:
    if not is_class(spec) or "class_path" not in spec:
        raise CheckpointError(f"{where} in it is no class with its options, so it can't be used: take another")
    return dict(spec)


def _takes_plain_texts(parameter: inspect.Parameter) -> bool:
    """Whether all words of an argument's type, as it is written, are known; one without a type takes what it gets."""
    hint = parameter.annotation
    if hint is parameter.empty:
        return parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    written = hint if isinstance(hint, str) else inspect.formatannotation(hint)
    return set(re.findall(r"\w+", re.sub(r"Literal\[.*?\]", "", written))) <= PLAIN_TYPES


def _parameters(of: Any) -> dict[str, inspect.Parameter]:
    """Of a class and, as it may pass arguments on to them, of those that it is made from."""
    found: dict[str, inspect.Parameter] = {}
    for one in reversed(inspect.getmro(of)[:-1]):
        found |= inspect.signature(one).parameters
    return found
