"""The classes that can be named without their module, and the one spelling of a class's import path."""

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

from kindling import registry
from kindling.project import KINDLING, Project, current
from kindling.registry import import_class

PACKAGES = {  # where the class of an option is looked for by its name alone, in Kindling's own program
    "model": KINDLING.package("model"),
    "data": KINDLING.package("data"),
    "loss": "torch.nn",
    "optimizer": "torch.optim",
    "lr_scheduler": "torch.optim.lr_scheduler",
}


def is_class(spec: Any) -> bool:
    """Whether plain data is a class with its options, or options for a class that is named elsewhere."""
    parts = {"class_path": str, "init_args": dict, "dict_kwargs": dict}
    return isinstance(spec, dict) and all(isinstance(part, parts.get(name, ())) for name, part in spec.items())


def classes(kind: str) -> Mapping[str, str]:
    """Import path of each class that can be named without its module, by the keys of ``PACKAGES``."""
    return _paths(current(), kind) if kind in ("model", "data") else _of_torch(kind)


def _paths(project: Project, kind: str) -> dict[str, str]:
    return {name: f"{entry.module}.{name}" for name, entry in project.entries(kind).items()}


@cache
def _of_torch(kind: str) -> Mapping[str, str]:
    names = {"loss": registry.losses, "optimizer": registry.optimizers, "lr_scheduler": registry.lr_schedulers}
    found = {name: f"{PACKAGES[kind]}.{name}" for name in names[kind]()}
    if kind == "lr_scheduler":  # torch's, and the name of the metric that it watches
        found["ReduceLROnPlateau"] = "lightning.pytorch.cli.ReduceLROnPlateau"
    return found


def canonical(kind: str, path: str) -> str:
    """The one spelling of a known class's import path; any other path as it is. Imports nothing."""
    package, _, name = path.rpartition(".")
    if kind not in ("model", "data"):
        return classes(kind).get(name, path) if package == PACKAGES[kind] else path
    of = next((project for project in (current(), KINDLING) if project.package(kind) == package), None)
    return _paths(of, kind).get(name, path) if of else path


def canonical_of(kind: str, path: str) -> str:
    """The one spelling of any class's import path, ``null`` included. Imports the class."""
    if path == "null":
        return path
    found = import_class(path, f"--{kind}")
    known = classes(kind).get(getattr(found, "__name__", ""))
    if known is not None and import_class(known, f"--{kind}") is found:
        return known
    return f"{found.__module__}.{found.__qualname__}" if inspect.isclass(found) else path
