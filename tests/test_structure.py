"""The rooms' floors: what a room imports stands above it, never below."""

import ast
import re
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path
from xml.etree import ElementTree

from conftest import ROOT

SRC = ROOT / "src/kindling"
SVG = {"svg": "http://www.w3.org/2000/svg"}


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
    *("runs", "sweep", "callbacks", "export", "serve", "training", "scaffold", "cli"),
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


def test_the_picture_of_the_rooms_shows_their_floors() -> None:
    """On which a room uses only those on floors above its own; a room that is not in it may be an adopter's."""
    picture = ElementTree.parse(ROOT / "docs/rooms.svg")
    boxes = picture.findall("svg:g", SVG)
    floors = {box.attrib["id"]: float(box.find("svg:rect", SVG).attrib["y"]) for box in boxes}  # type: ignore[union-attr]
    assert {*ROOMS} <= floors.keys()
    assert [box.find("svg:text", SVG).text for box in boxes] == [*floors]  # type: ignore[union-attr]
    for file in SRC.rglob("*.py"):
        room = file.relative_to(SRC).parts[0].removesuffix(".py")
        for other in rooms(file) & floors.keys() - {room} if room in floors else ():
            assert floors[other] < floors[room], (str(file), other)


def test_what_the_page_on_the_building_names_is_in_the_code() -> None:
    page = (ROOT / "docs/how-it-is-built.md").read_text(encoding="utf-8")
    source = "\n".join(file.read_text(encoding="utf-8") for file in SRC.rglob("*.py"))
    for name in re.findall(r"`([^`]+)`", page):
        if re.search(r"/(?!\.)", name):
            assert (SRC / name).exists() or (ROOT / name).exists(), name
        else:
            words = [name] if re.search(r"\.[a-z]+$", name) and name.islower() else re.findall(r"\w+", name)
            assert all(re.search(rf"\b{re.escape(word)}\b", source) for word in words), name


def test_networks_know_no_dataset_and_datasets_no_network() -> None:
    for folder, other in (("data", "models"), ("models", "data")):
        for file in (SRC / folder).rglob("*.py"):
            assert other not in rooms(file), file


def test_pictures_know_no_trainer() -> None:
    for file in (SRC / "pictures").glob("*.py"):
        assert "lightning" not in {module.split(".")[0] for module in imported(file)}, file
