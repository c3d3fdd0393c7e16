"""Import torch and Lightning sooner, and have torch's threads wait for each other without spinning.

Lightning imports torchmetrics, which imports SciPy's signal processing, torchvision and pyplot, though nobody has asked
for a score of sound, for one of images or for a plot: two to three seconds of each command. Here torchmetrics gets
stand-ins for them, which import the real thing as soon as it is used, so that all of its scores work as ever. That part
can go when torchmetrics imports them late itself: https://github.com/Lightning-AI/torchmetrics/issues/3457, 3459, 3314.

Lightning and the first step of an optimizer import torch's compiler (``torch._dynamo``, two seconds), to tell it what
not to compile. Here they do so once something has imported the compiler, as there is nothing to tell before. That part
can go when torch does the same: https://github.com/pytorch/pytorch/pull/162595 is one such change.
"""

import atexit
import builtins
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial, wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from inspect import isclass, isfunction
from pkgutil import resolve_name
from typing import Any

LATE = ("scipy", "torchvision", "matplotlib")
COMPILER = "torch._dynamo"
WAITING = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")  # any of them says how idle threads wait


@contextmanager
def quick_imports() -> Iterator[None]:
    """Within it, torch, Lightning and what needs them are to be imported."""
    if not any(name in os.environ for name in WAITING):
        # a thread that spins takes the core from the one that it waits for, where other programs run, too
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    is_first, collects = "torch" not in sys.modules, gc.isenabled()
    gc.disable()  # importing makes half a million objects that stay; looking for garbage among them takes over a second
    try:
        _compiler_is_late()
        with _late("torchmetrics", LATE):
            import torchmetrics  # noqa: F401
        with _late("lightning", [COMPILER]):
            import lightning.pytorch  # noqa: F401
        yield
    finally:
        if is_first:
            gc.freeze()  # nor does a later search look at them again, but for the interpreter's own as it ends
            atexit.register(gc.unfreeze)
        if collects:
            gc.enable()


@contextmanager
def _late(importer: str, modules: Sequence[str]) -> Iterator[None]:
    """Within it, the importing package gets stand-ins for these modules."""
    before = builtins.__import__

    def import_late(
        name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] | None = (), level: int = 0
    ) -> Any:
        imported = next((module for module in modules if f"{name}.".startswith(f"{module}.")), None)
        by_importer = str((globals or {}).get("__name__")).startswith(importer)
        if by_importer and level == 0 and imported and imported not in sys.modules:
            return _Late(name if fromlist else imported)
        return before(name, globals, locals, fromlist, level)

    builtins.__import__ = import_late
    _Late.is_importing = True
    try:
        yield
    finally:
        builtins.__import__ = before
        _Late.is_importing = False


@cache
def _compiler_is_late() -> None:
    """Call what torch keeps out of compilation as it is, until the compiler was imported."""
    import torch

    def until_imported(kept_out: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(kept_out)
        def call(*args: Any, **options: Any) -> Any:
            return (kept_out if COMPILER in sys.modules else function)(*args, **options)

        return call

    def without_breaks(step: Callable[..., Any]) -> Callable[..., Any]:
        """What an optimizer's step does beside breaking the graph that is compiled."""

        def call(optimizer: Any, *args: Any, **options: Any) -> Any:
            with torch.set_grad_enabled(optimizer.defaults["differentiable"]):
                return step(optimizer, *args, **options)

        return call

    def disable(function: Callable[..., Any] | None = None, recursive: bool = True) -> Any:
        if function is None:
            return partial(disable, recursive=recursive)
        return until_imported(disable_now(function, recursive), function)

    def disable_by_user(
        function: Callable[..., Any] | None = None, recursive: bool = True, *, reason: str | None = None
    ) -> Any:
        if COMPILER in sys.modules:
            return disable_by_user_now(function, recursive, reason=reason)
        return disable(function, recursive)

    disable_now = torch._disable_dynamo
    torch._disable_dynamo = disable  # type: ignore[assignment]
    disable_by_user_now, torch.compiler.disable = torch.compiler.disable, disable_by_user
    for optimizer in filter(isclass, vars(torch.optim).values()):
        for name, method in list(vars(optimizer).items()):
            made_by = method.__code__.co_qualname.partition(".")[0] if isfunction(method) else ""
            if made_by == "_disable_dynamo":
                setattr(optimizer, name, until_imported(method, method.__wrapped__))
            elif made_by == "_use_grad_for_differentiable":
                setattr(optimizer, name, until_imported(method, without_breaks(method.__wrapped__)))
    sys.meta_path.insert(0, _Torchvision())


class _Torchvision(MetaPathFinder):
    """Imports torchvision, whenever that may be, without torch's compiler."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != "torchvision":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec and spec.loader:
            execute = spec.loader.exec_module
            spec.loader.exec_module = _late(fullname, [COMPILER])(execute)  # type: ignore[method-assign]
        return spec


class _Late:
    """Stands for a module, or for something in one.

    Args:
        path: Dotted, such as ``matplotlib.pyplot.style.context``.
    """

    is_importing = False

    def __init__(self, path: str) -> None:
        self._path = path

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Late(f"{self._path}.{name}") if self.is_importing else getattr(resolve_name(self._path), name)

    def __instancecheck__(self, instance: object) -> bool:
        module = self._path.rpartition(".")[0]
        return module in sys.modules and isinstance(instance, resolve_name(self._path))

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
