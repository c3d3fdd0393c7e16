"""What can be named on the command line, read off the source files.

Importing torch takes seconds and a typing error should not, so names and signatures are looked up in the syntax trees
of the files that define them, ours, Lightning's and torch's; a class is imported when it is asked for.
"""

import ast
import difflib
import importlib
import re
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


class Argument(NamedTuple):
    """An argument of a class, as its source has it; ``text`` is of the docstring's ``Args:``."""

    name: str
    type: str
    default: str | None
    text: str


class Renamed(NamedTuple):
    """What an option is called now, and the version that no longer takes the former name."""

    now: str
    until: str


TRAINER = Entry("lightning.pytorch.trainer.trainer")
# Options by their former names, without a dot: for one minor version both names are taken. Checkpoints keep theirs.
RENAMED: dict[str, Renamed] = {}


def load(entries: Mapping[str, Entry], name: str, package: str) -> Any:
    """Import the class ``name``; the body of a package's ``__getattr__``, so that listing names imports nothing."""
    if name not in entries:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(importlib.import_module(entries[name].module), name)


def import_class(path: str, option: str) -> Any:
    """The class at an import path, as given for ``option``.

    Raises:
        UsageError: There is no such class, or it is unfinished.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"{option} {path}: {error}") from error
    if lacking := sorted(getattr(found, "__abstractmethods__", ())):
        bases = " or ".join(base.__name__ for base in found.__bases__)
        raise UsageError(f"{option} {path}: it has no {', '.join(lacking)} yet: write it, as {bases} asks for it")
    return found


def summary(entry: Entry, name: str) -> str:
    """First line of the class's docstring."""
    return description(entry, name).partition("\n")[0]


def description(entry: Entry, name: str) -> str:
    """What the class's docstring says before its first section."""
    text = ast.get_docstring(_class(_file(entry.module), name)) or ""
    return re.split(r"\n\n(?:Args|Raises|Returns):", text)[0]


def options(kind: str, entry: Entry, name: str) -> list[str]:
    """Arguments of the class's ``__init__`` that are options of the command line; a ``model`` has its sizes filled."""
    filled = SIZES if kind == "model" else ()
    return [argument.arg for argument, _ in _init_arguments(entry, name) if argument.arg not in filled]


def described_options(kind: str, entry: Entry, name: str) -> list[Argument]:
    """Likewise, with their types, defaults and descriptions."""
    nodes = [_class(_file(entry.module), name), _init(entry, name)]
    texts = described("".join(ast.get_docstring(node) or "" for node in nodes if node))
    assigned = _assignments(entry.module)
    aliases = {node.targets[0].id: node.value for node in assigned if isinstance(node.targets[0], ast.Name)}
    arguments, shown = [], options(kind, entry, name)
    for argument, default in _init_arguments(entry, name):
        form = aliases.get(getattr(argument.annotation, "id", ""), argument.annotation)
        if argument.arg in shown:
            typed, usual = ast.unparse(form) if form else "", ast.unparse(default) if default else None
            arguments.append(Argument(argument.arg, typed, usual, texts.get(argument.arg, "")))
    return arguments


def described(docstring: str) -> dict[str, str]:
    """Descriptions by name, of what a docstring has under ``Args:``."""
    # each is a name and a colon, followed by lines that are further to the right
    found = re.findall(r"^    (\w+): (.+(?:\n(?: {5,}.*|$))*)", docstring.partition("Args:\n")[2], re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def trainer_options() -> list[str]:
    return options("trainer", TRAINER, "Trainer")


def defining_module(package: str, name: str) -> str | None:
    """The module directly in a package whose file defines the class ``name``, listed or not; None for none."""
    files = sorted(file for file in _file(package).parent.glob("*.py") if file.stem != "base")
    found = (f for f in files if re.search(rf"^class {re.escape(name)}\b", f.read_text(encoding="utf-8"), re.MULTILINE))
    return next((f"{package}.{file.stem}" for file in found), None)


def optimizers() -> list[str]:
    """Classes that ``torch.optim`` exports."""
    return _public_names("torch.optim", imported=True)


def lr_schedulers() -> list[str]:
    return _public_names("torch.optim.lr_scheduler", imported=False)


def losses() -> list[str]:
    """Losses of ``torch.nn`` that the networks can be trained by."""
    return list(dict.fromkeys(name for names in losses_by_kind().values() for name in names))


def losses_by_kind() -> dict[str, list[str]]:
    """Likewise, by the names of the tables in ``tasks.losses``."""
    found: dict[str, list[str]] = {}
    for node in _tree(_file("kindling.tasks.losses")).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict | ast.Tuple):
            table = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            keys = getattr(node.value, "keys", None) or node.value.elts  # type: ignore[union-attr]
            found[ast.unparse(table)] = [ast.literal_eval(key) for key in keys]
    return found


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


def _init(entry: Entry, name: str) -> ast.FunctionDef | None:
    body = _class(_file(entry.module), name).body
    return next((node for node in body if isinstance(node, ast.FunctionDef) and node.name == "__init__"), None)


def _init_arguments(entry: Entry, name: str) -> list[tuple[ast.arg, ast.expr | None]]:
    """With their defaults."""
    init = _init(entry, name)
    if init is None:
        return []
    named = init.args.args[1:]
    required = len(named) - len(init.args.defaults)
    defaults = [*[None] * required, *init.args.defaults, *init.args.kw_defaults]
    return list(zip((*named, *init.args.kwonlyargs), defaults, strict=True))


def _assignments(module: str) -> list[ast.Assign]:
    return [node for node in _tree(_file(module)).body if isinstance(node, ast.Assign)]


def _public_names(module: str, imported: bool) -> list[str]:
    names: list[str] = []
    for node in _tree(_file(module)).body:
        if imported and isinstance(node, ast.ImportFrom):
            names += [a.asname or a.name for a in node.names]
        elif not imported and isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            names += ast.literal_eval(node.value)
    return [n for n in names if n[0].isupper() and n not in ("Optimizer", "LRScheduler")]
