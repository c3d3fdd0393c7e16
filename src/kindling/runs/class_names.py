"""The classes that can be named without their module, and the one spelling of a class's import path."""

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

from kindling import data, models, registry
from kindling.data import DATA
from kindling.models import MODELS
from kindling.registry import import_class

PACKAGES = {  # where the class of an option is looked for by its name alone
    "model": models.__name__,
    "data": data.__name__,
    "loss": "torch.nn",
    "optimizer": "torch.optim",
    "lr_scheduler": "torch.optim.lr_scheduler",
}


def is_class(spec: Any) -> bool:
    """Whether plain data is a class with its options, or options for a class that is named elsewhere."""
    parts = {"class_path": str, "init_args": dict, "dict_kwargs": dict}
    return isinstance(spec, dict) and all(isinstance(part, parts.get(name, ())) for name, part in spec.items())


@cache
def classes(kind: str) -> Mapping[str, str]:
    """Import path of each class that can be named without its module, by the keys of ``PACKAGES``."""
    if kind in ("model", "data"):
        entries = MODELS if kind == "model" else DATA
        return {name: f"{entry.module}.{name}" for name, entry in entries.items()}
    names = {"loss": registry.losses, "optimizer": registry.optimizers, "lr_scheduler": registry.lr_schedulers}
    found = {name: f"{PACKAGES[kind]}.{name}" for name in names[kind]()}
    if kind == "lr_scheduler":  # torch's, and the name of the metric that it watches
        found["ReduceLROnPlateau"] = "lightning.pytorch.cli.ReduceLROnPlateau"
    return found


def canonical(kind: str, path: str) -> str:
    """The one spelling of a known class's import path; any other path as it is. Imports nothing."""
    package, _, name = path.rpartition(".")
    return classes(kind).get(name, path) if package == PACKAGES[kind] else path


def canonical_of(kind: str, path: str) -> str:
    """The one spelling of any class's import path, ``null`` included. Imports the class."""
    if path == "null":
        return path
    found = import_class(path, f"--{kind}")
    known = classes(kind).get(getattr(found, "__name__", ""))
    if known is not None and import_class(known, f"--{kind}") is found:
        return known
    return f"{found.__module__}.{found.__qualname__}" if inspect.isclass(found) else path
