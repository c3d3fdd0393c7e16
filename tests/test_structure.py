"""The rooms' floors: what a room imports stands above it, never below."""

import ast
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

from conftest import ROOT

SRC = ROOT / "src/kindling"


def imported(file: Path) -> set[str]:
    """Modules that a file imports, also within its functions: ``kindling.data.base``, ``lightning.pytorch``."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def rooms(file: Path) -> set[str]:
    """Rooms of Kindling that a file imports from."""
    return {module.split(".")[1] for module in imported(file) if module.startswith("kindling.")}


def test_the_rooms_stand_above_each_other() -> None:
    above: dict[str, set[str]] = defaultdict(set)
    for file in SRC.rglob("*.py"):
        room = file.relative_to(SRC).parts[0].removesuffix(".py")
        if room != "__init__":
            above[room] |= rooms(file) - {room}
    order = [*TopologicalSorter(above).static_order()]  # raises CycleError, which names the rooms
    assert order[-1] == "cli"
    assert {"facts", "errors"} < {*order[:6]}


def test_networks_know_no_dataset_and_datasets_no_network() -> None:
    for folder, other in (("data", "models"), ("models", "data")):
        for file in (SRC / folder).rglob("*.py"):
            assert other not in rooms(file), file


def test_pictures_know_no_trainer_and_nothing_else_draws() -> None:
    for file in SRC.rglob("*.py"):
        modules = {module.split(".")[0] for module in imported(file)}
        if file.parent.name == "pictures":
            assert "lightning" not in modules, file
        elif "matplotlib" in modules:
            assert {module for module in imported(file) if "matplotlib" in module} == {"matplotlib.figure.Figure"}, file
