"""What can be named on the command line, read off the source files.

Importing torch takes seconds and a typing error should not, so names and signatures are looked up in the syntax trees
of the files that define them, ours, Lightning's and torch's; a class is imported when it is asked for.
"""

import ast
import difflib
import importlib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from kindling.errors import UsageError
from kindling.facts import SIZES


class Entry(NamedTuple):
    """Where a class lives, and for a network the name of the data that it trains on by default."""

    module: str
    default_data: str | None = None


def load(entries: Mapping[str, Entry], name: str, package: str) -> Any:
    """Import the class ``name``; the body of a package's ``__getattr__``, so that listing names imports nothing."""
    if name not in entries:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(importlib.import_module(entries[name].module), name)


def import_class(path: str, option: str) -> Any:
    """The class at an import path, as given for ``option``.

    Raises:
        UsageError: There is no such class.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"{option} {path}: {error}") from error


def summary(entry: Entry, name: str) -> str:
    """First line of the class's docstring."""
    return (ast.get_docstring(_class(_file(entry.module), name)) or "").partition("\n")[0]


def options(entry: Entry, name: str) -> list[str]:
    """Arguments of the class's ``__init__`` that are options of the command line."""
    return [name for name in _init_arguments(_file(entry.module), name) if name not in SIZES]


def trainer_options() -> list[str]:
    return _init_arguments(_file("lightning.pytorch.trainer.trainer"), "Trainer")


def optimizers() -> list[str]:
    """Classes that ``torch.optim`` exports."""
    return _public_names("torch.optim", imported=True)


def lr_schedulers() -> list[str]:
    return _public_names("torch.optim.lr_scheduler", imported=False)


def losses() -> list[str]:
    """Losses of ``torch.nn`` that the networks can be trained by."""
    names: list[str] = []
    for node in _tree(_file("kindling.tasks.losses")).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict | ast.Tuple):
            names += [ast.literal_eval(n) for n in getattr(node.value, "keys", None) or node.value.elts]  # type: ignore
    return list(dict.fromkeys(names))


def nearest(name: str, known: Iterable[str], before: str = "") -> str:
    """A hint such as ``, did you mean --model?``; an empty string where nothing known looks like ``name``.

    Args:
        before: What is typed before a name, such as ``--``.
    """
    by_folded = {k.casefold(): k for k in known}
    swapped = [k for k in by_folded if sorted(k) == sorted(name.casefold())]  # the same letters in another order
    close = swapped or difflib.get_close_matches(name.casefold(), by_folded, n=2, cutoff=0.6)
    return f", did you mean {' or '.join(before + by_folded[c] for c in close)}?" if close else ""


def _file(module: str) -> Path:
    package, *inner = module.split(".")
    spec = find_spec(package)  # of the top package alone: looking further down would import it
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    path = Path(spec.submodule_search_locations[0], *inner)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _class(file: Path, name: str) -> ast.ClassDef:
    return next(node for node in _tree(file).body if isinstance(node, ast.ClassDef) and node.name == name)


def _init_arguments(file: Path, name: str) -> list[str]:
    for node in _class(file, name).body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return [a.arg for a in (*node.args.args[1:], *node.args.kwonlyargs)]
    return []


def _public_names(module: str, imported: bool) -> list[str]:
    names: list[str] = []
    for node in _tree(_file(module)).body:
        if imported and isinstance(node, ast.ImportFrom):
            names += [a.asname or a.name for a in node.names]
        elif not imported and isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            names += ast.literal_eval(node.value)
    return [n for n in names if n[0].isupper() and n not in ("Optimizer", "LRScheduler")]
