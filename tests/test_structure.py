"""The folders' floors: a file imports what stands above it, never what stands below."""

import ast
from pathlib import Path

from conftest import ROOT

from kindling.data import DATA
from kindling.models import MODELS
from kindling.tracebacks import SHARED

SRC = ROOT / "src/kindling"
FLOORS = [  # top down; files of one floor may import each other
    {"errors", "facts", "catalog", "files", "schema"},
    {"data"},
    {"models"},
    {"allowlist"},
    {"callbacks"},
    {"runs", "checkpoints"},
    {"exported", "model_card"},
    {"export"},
    {"trainer"},
    {"arguments", "explain", "layers", "machine", "process", "tracebacks"},
    {"cli", "commands"},
]


def floor(module: str) -> int:
    return next(n for n, names in enumerate(FLOORS) if module in names)


def imported(file: Path) -> set[str]:
    """Second names of the kindling modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kindling":
            parts = (node.module or "").split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("kindling.")}
    return found


def test_no_file_imports_from_a_floor_below() -> None:
    checked = 0
    for file in SRC.rglob("*.py"):
        own = file.relative_to(SRC).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for module in imported(file):
            assert floor(module) <= floor(own), f"{file.relative_to(SRC)} imports {module}"
            checked += 1
    assert checked > 30


def test_networks_know_no_dataset_and_datasets_no_network() -> None:
    for folder, other in (("data", "models"), ("models", "data")):
        for file in (SRC / folder).glob("*.py"):
            assert other not in imported(file), file


def test_what_is_neither_a_network_nor_a_dataset_is_known_to_the_last_resort() -> None:
    modules = {entry.module.rpartition(".")[2] for entry in (*MODELS.values(), *DATA.values())}
    files = {file.stem for folder in ("models", "data") for file in (SRC / folder).glob("*.py")}
    assert files - modules == SHARED


def test_plots_are_drawn_in_callbacks_alone() -> None:
    for file in SRC.rglob("*.py"):
        if "matplotlib" in file.read_text():
            assert file.parent.name == "callbacks"
