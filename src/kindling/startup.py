"""Import torch and Lightning sooner, and have torch's threads wait for each other without spinning.

Lightning imports torchmetrics, which imports SciPy's signal processing, torchvision and pyplot, though nobody has asked
for a score of sound, for one of images or for a plot: two to three seconds of each command. Here torchmetrics gets
stand-ins for them, which import the real thing as soon as it is used, so that all of its scores work as ever. This file
can go when torchmetrics imports them late itself: https://github.com/Lightning-AI/torchmetrics/issues/3457, 3459, 3314.
"""

import builtins
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pkgutil import resolve_name
from typing import Any

LATE = ("scipy", "torchvision", "matplotlib")
WAITING = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")  # any of them says how idle threads wait


@contextmanager
def quick_imports() -> Iterator[None]:
    """Within it, torch, Lightning and what needs them are to be imported."""
    if not any(name in os.environ for name in WAITING):
        # a thread that spins takes the core from the one that it waits for, where other programs run, too
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    collects = gc.isenabled()
    gc.disable()  # importing makes half a million objects that stay; looking for garbage among them takes over a second
    try:
        _import_torchmetrics()
        yield
    finally:
        if collects:
            gc.enable()


def _import_torchmetrics() -> None:
    import torch  # noqa: F401  # so that only torchmetrics' own modules are imported by the function below

    before = builtins.__import__

    def import_late(
        name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] | None = (), level: int = 0
    ) -> Any:
        package = name.partition(".")[0]
        by_torchmetrics = str((globals or {}).get("__name__")).startswith("torchmetrics")
        if by_torchmetrics and level == 0 and package in LATE and package not in sys.modules:
            return _Late(name if fromlist else package)
        return before(name, globals, locals, fromlist, level)

    builtins.__import__ = import_late
    try:
        import torchmetrics  # noqa: F401
    finally:
        builtins.__import__ = before
        _Late.is_importing = False


class _Late:
    """Stands for a module, or for something in one.

    Args:
        path: Dotted, such as ``matplotlib.pyplot.style.context``.
    """

    is_importing = True

    def __init__(self, path: str) -> None:
        self._path = path

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Late(f"{self._path}.{name}") if self.is_importing else getattr(resolve_name(self._path), name)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, resolve_name(self._path))

    def __call__(self, *args: Any, **options: Any) -> Any:
        if not self.is_importing:
            return resolve_name(self._path)(*args, **options)

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:  # with pyplot.style.context(...)
            @wraps(function)
            def decorated(*inner_args: Any, **inner_options: Any) -> Any:
                with resolve_name(self._path)(*args, **options):
                    return function(*inner_args, **inner_options)

            return decorated

        return decorate
