"""``new model MyNet`` and ``new data MyData``: what they write works as it is, and goes without a trace."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, Kindling
from test_adopting import run

from kindling.data import DATA
from kindling.models import MODELS
from kindling.scaffold.classes import _module

HEAD = "from kindling.registry import Entry\n\n"
LISTS = {  # forms that a list of names can have, and what becomes of it
    'MODELS = {\n    "A": Entry("zebra.models.a"),  # mine\n    # more\n}\n': (
        'MODELS = {\n    "A": Entry("zebra.models.a"),  # mine\n    NEW\n    # more\n}\n'
    ),
    'MODELS = {"犬": Entry("zebra.models.inu"), "A": Entry("zebra.models.a")}\nrest = 1\n': (
        'MODELS = {\n    "犬": Entry("zebra.models.inu"),\n    "A": Entry("zebra.models.a"),\n    NEW\n}\nrest = 1\n'
    ),
    "MODELS: dict[str, Entry] = {}\n": "MODELS: dict[str, Entry] = {\n    NEW\n}\n",
    "MODELS: dict[str, Entry] = {\n}  # none yet": "MODELS: dict[str, Entry] = {\n    NEW\n}  # none yet",
    'MODELS = {\r\n    "A": Entry("zebra.models.a"),\r\n}\r\n': (
        'MODELS = {\r\n    "A": Entry("zebra.models.a"),\r\n    NEW\r\n}\r\n'
    ),
}


@pytest.fixture
def zebra() -> Path:
    """A project of one network and one dataset, whose folder is the working directory."""
    for room, table, name in (("models", "MODELS", "ZebraNet"), ("data", "DATA", "ZebraData")):
        names = Path("src/zebra", room, "__init__.py")
        names.parent.mkdir(parents=True)
        names.write_text(f'{HEAD}{table} = {{\n    "{name}": Entry("zebra.{room}.{name.lower()}"),\n}}\n')
        names.with_name(f"{name.lower()}.py").touch()
    shutil.copy(ROOT / "pyproject.toml", ".")
    Path("tests").mkdir()
    return Path("src/zebra")


def test_a_file_is_named_after_its_class() -> None:
    entries = MODELS | DATA
    assert {name: _module(name) for name in entries} == {
        name: entry.module.rpartition(".")[2] for name, entry in entries.items()
    }


def test_a_network_gets_a_file_a_test_and_a_line(kindling: Kindling, zebra: Path) -> None:
    before = (zebra / "models/__init__.py").read_text()
    out = kindling("new", "model", "ResNet50")
    assert out.splitlines() == [
        "Wrote src/zebra/models/res_net50.py and tests/test_res_net50.py, and a line in src/zebra/models/__init__.py",
        "A comment in res_net50.py says where yours goes; delete these three, and ResNet50 is gone",
        "Test it:  python -m pytest tests/test_res_net50.py",
        "Train it:  python scripts/main.py fit --model ResNet50",
    ]
    line = '    "ResNet50": Entry("zebra.models.res_net50", default_data="ZebraData"),\n'
    assert (zebra / "models/__init__.py").read_text() == before.replace("}\n", f"{line}}}\n")
    assert "class ResNet50(SupervisedModule):" in (zebra / "models/res_net50.py").read_text()
    test = Path("tests/test_res_net50.py").read_text()
    assert "from zebra import main\nfrom zebra.models.res_net50 import ResNet50\n" in test


def test_a_dataset_is_tried_by_a_network_that_takes_it(
    kindling: Kindling, zebra: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(zebra)  # the project is found from any folder of it
    out = kindling("new", "data", "Herd")
    assert "Wrote data/herd.py and ../../tests/test_herd.py, and a line in data/__init__.py\n" in out
    assert "Train on it:  python scripts/main.py fit --model SimpleNet --data Herd\n" in out
    assert '    "Herd": Entry("zebra.data.herd"),\n}\n' in Path("data/__init__.py").read_text()
    assert (
        'main(["fit", "--model", "SimpleNet", "--data", "Herd", *options])'
        in Path("../../tests/test_herd.py").read_text()
    )


@pytest.mark.parametrize("name", ["MyThing", "ALongName" + 21 * "e"])
@pytest.mark.usefixtures("zebra")
def test_what_is_written_passes_ruff_and_goes_without_a_trace(kindling: Kindling, name: str) -> None:
    """Types and tests of what is written are tried in test_adopting."""
    before = {file: file.read_text() for file in Path().rglob("*.py")}
    written = set()
    for kind in ("model", "data"):
        wrote = re.findall(r"\S+\.py", kindling("new", kind, f"{name[:-1]}{kind[0]}").splitlines()[0])
        written |= {Path(file) for file in wrote[:2]}
    run("-m", "ruff", "check", "--no-cache")
    run("-m", "ruff", "format", "--check", "--no-cache")
    assert {*Path().rglob("*.py")} == before.keys() | written
    for file in written:
        file.unlink()
    for room in ("models", "data"):
        names = Path("src/zebra", room, "__init__.py")
        entry = rf'    "{name[:-1]}.": Entry\((?:\n.*\n    |.*)\),\n'
        names.write_text(re.sub(entry, "", names.read_text()))
    assert {file: file.read_text() for file in Path().rglob("*.py")} == before


@pytest.mark.parametrize("form", LISTS)
def test_a_list_of_names_keeps_its_form(kindling: Kindling, zebra: Path, form: str) -> None:
    names = zebra / "models/__init__.py"
    names.write_bytes((HEAD + form).encode())
    kindling("new", "model", "MyNet")
    line = '"MyNet": Entry("zebra.models.my_net", default_data="ZebraData"),'
    assert names.read_bytes().decode() == HEAD + LISTS[form].replace("NEW", line)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("model", "new model needs a name: python scripts/main.py new model MyNet"),
        ("data", "new data needs a name: python scripts/main.py new data MyData"),
        ("model my_net", "new model my_net: a class's name begins with a capital and has letters from A to z"),
        ("model my-net", "and digits, did you mean MyNet?"),
        ("model myNet", ", did you mean MyNet?"),
        ("model 2ndNet", "and digits: take e.g. MyNet"),
        ("data 数据", "and digits: take e.g. MyData"),
        ("model Ünet", "and digits: take e.g. MyNet"),
        ("model ../Net", "did you mean Net?"),
        ("model None", "new model None: none is a word of the Python language: take another name"),
        ("model Class", "new model Class: class is a word of the Python language: take another name"),
        ("model Tensor", "new model Tensor: the files that are written import another Tensor: take another name"),
        ("data Testing", "pytest takes classes whose names begin with Test for tests: take another name"),
        ("model ZebraNet", "new model ZebraNet: there is a model ZebraNet already: take another name"),
        ("data zebradata", "did you mean Zebradata?"),
        ("data Zebradata", "there is a data ZebraData already: take another name"),
        ("model SimpleNet", "there is a model SimpleNet already: take another name"),
        (f"model {'Long' * 8}", "is a name of 32 letters: take one of at most 30"),
        ("model Taken", "new model Taken: src/zebra/models/taken.py is there already: take another name, or delete"),
        ("data Taken", "new data Taken: tests/test_taken.py is there already: take another name, or delete"),
    ],
)
@pytest.mark.usefixtures("zebra")
def test_a_name_that_can_not_be_is_answered_in_one_line(kindling: Kindling, typed: str, says: str) -> None:
    Path("src/zebra/models/taken.py").touch()
    Path("tests/test_taken.py").touch()
    assert says in kindling.fails("new", *typed.split(" ", 1))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("MODELS = {", "src/zebra/models/__init__.py can't be read as Python ('{' was never closed"),
        ("MODEL = {}", "src/zebra/models/__init__.py has no MODELS = {...} to add a name to: write that first"),
        ("MODELS = dict()", "has no MODELS = {...} to add a name to"),
        (
            "MODELS = {}",
            "src/zebra/models/__init__.py imports no Entry: add the line from kindling.registry import Entry",
        ),
        (
            f'{HEAD}MODELS = {{\n    "A": Entry("a")\n}}',
            "src/zebra/models/__init__.py: give each name in MODELS a line of its own that ends with a comma",
        ),
        (f'{HEAD}MODELS = {{**OTHERS, "A": Entry("a")}}', "give each name in MODELS a line of its own"),
    ],
)
def test_a_list_that_can_not_take_a_line(kindling: Kindling, zebra: Path, content: str, says: str) -> None:
    (zebra / "models/__init__.py").write_text(content)
    assert says in kindling.fails("new", "model", "MyNet")


def test_a_folder_of_no_project(kindling: Kindling) -> None:
    assert f"new model writes into a project, and {Path.cwd()} is in none: " in kindling.fails("new", "model", "MyNet")
    Path("pyproject.toml").touch()
    assert "which has pyproject.toml and src/NAME/data/__init__.py" in kindling.fails("new", "data", "MyData")


def test_nothing_is_left_where_a_file_can_not_be_written(kindling: Kindling, zebra: Path) -> None:
    Path("tests").rmdir()
    Path("tests").touch()
    assert "tests can't be used (File exists)" in kindling.fails("new", "model", "MyNet")
    assert not (zebra / "models/my_net.py").exists()
