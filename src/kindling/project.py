"""Whose command line this is: Kindling's own, or that of a project that brings its own networks and datasets."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from kindling.data import DATA
from kindling.models import MODELS
from kindling.registry import Entry


class Project(NamedTuple):
    """What a program is called, and what has a short name in it.

    Args:
        name: Of the program and of its package, such as ``zebra``.
        models: Networks by the names of their classes.
        data: Datasets, likewise.
    """

    name: str
    models: Mapping[str, Entry]
    data: Mapping[str, Entry]

    def entries(self, kind: str) -> Mapping[str, Entry]:
        """Of the kind ``model`` or ``data``; none of any other kind."""
        return {"model": self.models, "data": self.data}.get(kind, {})

    def package(self, kind: str) -> str:
        """Where a class of the kind ``model`` or ``data`` is imported from."""
        return f"{self.name}.{'models' if kind == 'model' else 'data'}"

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it, for ``use`` in another process."""
        return {key: value if isinstance(value, str) else dict(value) for key, value in self._asdict().items()}


KINDLING = Project("kindling", MODELS, DATA)
_current = KINDLING


def current() -> Project:
    """The project whose commands this process runs."""
    return _current


def use(
    name: str | None = None, models: Mapping[str, Any] | None = None, data: Mapping[str, Any] | None = None
) -> None:
    """From now on, this process's commands and functions know these networks and datasets by their names.

    Args:
        name: What the program and its package are called; what is not given stays as it was.
        models: Networks by the names of their classes, as ``MODELS`` of ``kindling.models`` has them.
        data: Datasets, likewise.
    """
    global _current
    name = name or _current.name
    _current = Project(
        name,
        _current.models if models is None else _own_first(models, name),
        _current.data if data is None else _own_first(data, name),
    )


def _own_first(named: Mapping[str, Any], package: str) -> dict[str, Entry]:
    entries = {name: Entry(*entry) for name, entry in named.items()}
    return dict(sorted(entries.items(), key=lambda item: not item[1].module.startswith(f"{package}.")))
