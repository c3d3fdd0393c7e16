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


ROOMS = (
    *("errors", "facts", "schema", "registry", "data", "pictures", "tasks", "models", "project"),
    *("runs", "sweep", "callbacks", "export", "serve", "training", "cli"),
)


def test_a_room_uses_only_the_rooms_above_it() -> None:
    """A room or file of one's own at the top of ``src/kindling`` may use any, as long as that goes in no circle."""
    uses: dict[str, set[str]] = defaultdict(set)
    for file in SRC.rglob("*.py"):
        room = file.relative_to(SRC).parts[0].removesuffix(".py")
        if room != "__init__":
            uses[room] |= rooms(file) - {room}
    TopologicalSorter(uses).prepare()  # raises CycleError, which names the rooms
    for number, room in enumerate(ROOMS):
        assert not uses[room] & {*ROOMS[number:]}, room


def test_networks_know_no_dataset_and_datasets_no_network() -> None:
    for folder, other in (("data", "models"), ("models", "data")):
        for file in (SRC / folder).rglob("*.py"):
            assert other not in rooms(file), file


def test_pictures_know_no_trainer() -> None:
    for file in (SRC / "pictures").glob("*.py"):
        assert "lightning" not in {module.split(".")[0] for module in imported(file)}, file
