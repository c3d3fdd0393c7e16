"""What Windows and macOS lack, as mypy's stubs of the standard library know it, and a Linux that lacks it as well.

``pretend`` makes a process as much like one of Windows as can be had without one. Kindling's modules see the standard
library that Windows has, an open file can't be removed or replaced, and a folder can't be opened. What only Windows can
show, such as its consoles, is not there.
"""

import ast
import errno
import fcntl
import importlib
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache, wraps
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import mypy

STUBS = Path(mypy.__file__).parent / "typeshed/stdlib"
# what Windows alone has; a signal of Linux stands for its Ctrl-Break
OWN: dict[str, dict[str, Any]] = {
    "sys": {"platform": "win32"},
    "os": {"name": "nt"},
    "signal": {"SIGBREAK": importlib.import_module("signal").SIGUSR2},
    "socket": {"SO_EXCLUSIVEADDRUSE": socket.SO_REUSEADDR},
}
OWN["signal"]["CTRL_BREAK_EVENT"] = OWN["signal"]["SIGBREAK"]


@cache
def lacking(module: str, platform: str) -> frozenset[str]:
    """Names of a module of the standard library that a platform lacks and another has; of all modules, such as os.path,
    only those with a stub at the top are known."""
    stub = next((file for file in (STUBS / f"{module}.pyi", STUBS / module / "__init__.pyi") if file.is_file()), None)
    if stub is None:
        return frozenset()
    body = ast.parse(stub.read_text(encoding="utf-8")).body
    return frozenset(_names(body, None)) - frozenset(_names(body, platform))


@cache
def is_lacking(module: str, platform: str) -> bool:
    """Whether a platform lacks all of a module."""
    file = STUBS / f"{module}.pyi"
    if not file.is_file():
        return False
    body = ast.parse(file.read_text(encoding="utf-8")).body
    own = [node for node in body if not isinstance(node, ast.Import | ast.ImportFrom)]
    here, anywhere = ([name for name in _names(own, where) if name[0] != "_"] for where in (platform, None))
    return bool(anywhere) and not here


def _names(body: Iterable[ast.stmt], platform: str | None) -> Iterator[str]:
    """What statements of a stub define; on any platform for None."""
    for node in body:
        if isinstance(node, ast.If):
            holds = None if platform is None else _holds(node.test, platform)
            yield from _names(node.body if holds is not False else [], platform)
            yield from _names(node.orelse if holds is not True else [], platform)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            yield from (target.id for target in targets if isinstance(target, ast.Name) and target.id != "__all__")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


def _holds(test: ast.expr, platform: str) -> bool | None:
    """Whether a stub's condition holds here on that platform; None for one that is about something else."""
    if isinstance(test, ast.BoolOp):
        parts = [_holds(value, platform) for value in test.values]
        if None in parts:
            return None
        return all(parts) if isinstance(test.op, ast.And) else any(parts)
    condition = ast.unparse(test)
    if not condition.startswith(("sys.platform", "sys.version_info")):
        return None
    return bool(eval(condition, {"sys": _Fake("sys", {"platform": platform})}))


class _Fake(ModuleType):
    """A module of the standard library with what Windows has alone, and without what it lacks."""

    def __init__(self, name: str, own: dict[str, Any], lacks: frozenset[str] = frozenset()) -> None:
        vars(self).update(_real=importlib.import_module(name), _own=own, _lacks=lacks)

    def __getattr__(self, name: str) -> Any:
        if name in self._own:
            return self._own[name]
        if name in self._lacks:
            raise AttributeError(f"Windows has no {self._real.__name__}.{name}")
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, value)


class _Fakes(ast.NodeTransformer):
    """``import os`` becomes ``from windows import FAKES; os = FAKES["os"]``."""

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        changed: list[ast.stmt] = []
        for alias in node.names:
            line = f"import {alias.name}" + (f" as {alias.asname}" if alias.asname else "")
            if is_lacking(alias.name, "win32"):
                line = f"raise ModuleNotFoundError('Windows has no module {alias.name}')"
            elif alias.name in FAKES:
                line = f"from windows import FAKES; {alias.asname or alias.name} = FAKES[{alias.name!r}]"
            changed += ast.parse(line).body
        return [ast.copy_location(ast.fix_missing_locations(one), node) for one in changed]


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> Any:
        tree = ast.parse(self.get_data(self.path))
        return compile(ast.fix_missing_locations(_Fakes().visit(tree)), self.path, "exec", dont_inherit=True)


class _Finder:
    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname.partition(".")[0] == "kindling" else None
        if spec is not None and spec.origin:
            spec.loader = _Loader(fullname, spec.origin)
        return spec


FAKES: dict[str, _Fake] = {}


def pretend() -> None:
    """From now on this process has what Windows has; no module of Kindling may have been imported."""
    assert "kindling" not in sys.modules
    for name in ("asyncio", "errno", "os", "select", "signal", "socket", "subprocess", "sys", "time"):
        FAKES[name] = _Fake(name, OWN.get(name, {}), lacking(name, "win32"))
    sys.meta_path.insert(0, _Finder)  # type: ignore[arg-type]
    sys.modules["uvloop"] = None  # type: ignore[assignment]  # which is not made for Windows
    shutil._use_fd_functions = False  # type: ignore[attr-defined]
    os.unlink = os.remove = _refuses_open(os.unlink, 1)
    os.replace, os.rename = _refuses_open(os.replace, 2), _refuses_open(os.rename, 2)
    real_open, real_fsync = os.open, os.fsync

    def open_file(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if Path(os.fsdecode(path)).is_dir():
            raise PermissionError(errno.EACCES, "Windows opens no folder", path)
        return real_open(path, flags, mode, dir_fd=dir_fd)

    def fsync(descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Windows brings no file to the disk that is open to be read")
        real_fsync(number)

    os.open, os.fsync = open_file, fsync  # type: ignore[assignment]


def _refuses_open(function: Callable[..., None], paths: int) -> Callable[..., None]:
    @wraps(function)
    def refusing(*args: Any, **options: Any) -> None:
        for path in args[:paths]:
            if Path(os.fsdecode(path)).is_file() and _file(os.stat(path)) in _open_files():  # noqa: PTH116
                raise PermissionError(errno.EACCES, "Windows: it is open", os.fsdecode(path))
        function(*args, **options)

    return refusing


def _file(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _open_files() -> set[tuple[int, int]]:
    """Device and number of the files that this process has open, or mapped into its memory."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            found.add(_file(os.fstat(int(name))))
        except OSError:  # the listing's own
            continue
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        _, _, _, device, inode, *_ = line.split()
        major, minor = (int(part, 16) for part in device.split(":"))
        found.add((os.makedev(major, minor), int(inode)))
    return found
