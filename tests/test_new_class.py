"""``new model MyNet`` and ``new data MyData``: what they write works as it is, and goes without a trace."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, Kindling
from test_adopting import run

from kindling import project
from kindling.cli import main
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


def make_zebra() -> Path:
    """A project of one network and one dataset, whose folder is the working directory; its package."""
    for room, table, name in (("models", "MODELS", "ZebraNet"), ("data", "DATA", "ZebraData")):
        names = Path("src/zebra", room, "__init__.py")
        names.parent.mkdir(parents=True)
        names.write_text(f'{HEAD}{table} = {{\n    "{name}": Entry("zebra.{room}.{name.lower()}"),\n}}\n')
        names.with_name(f"{name.lower()}.py").touch()
    shutil.copy(ROOT / "pyproject.toml", ".")
    Path("tests").mkdir()
    return Path("src/zebra")


@pytest.fixture
def zebra() -> Path:
    return make_zebra()


def test_a_file_is_named_after_its_class() -> None:
    names = ["MyNet", "SimpleNN", "FashionMNIST", "TabularCSV", "ResNet50", "MNISTNet", "A"]
    files = ["my_net", "simple_nn", "fashion_mnist", "tabular_csv", "res_net50", "mnist_net", "a"]
    assert [_module(name) for name in names] == files


def test_a_network_gets_a_file_a_test_and_a_line(kindling: Kindling, zebra: Path) -> None:
    before = (zebra / "models/__init__.py").read_text()
    out = kindling("new", "model", "QuaggaNN5")
    assert out.splitlines() == [
        "Wrote src/zebra/models/quagga_nn5.py and tests/test_quagga_nn5.py, and a line in src/zebra/models/__init__.py",
        "A comment in quagga_nn5.py says where yours goes; delete these three, and QuaggaNN5 is gone",
        "Test it:  python -m pytest tests/test_quagga_nn5.py",
        "Train it:  python scripts/main.py fit --model QuaggaNN5",
    ]
    line = '    "QuaggaNN5": Entry("zebra.models.quagga_nn5", default_data="ZebraData"),\n'
    assert (zebra / "models/__init__.py").read_text() == before.replace("}\n", f"{line}}}\n")
    assert "class QuaggaNN5(SupervisedModule):" in (zebra / "models/quagga_nn5.py").read_text()
    test = Path("tests/test_quagga_nn5.py").read_text()
    assert "from zebra import main\nfrom zebra.models.quagga_nn5 import QuaggaNN5\n" in test


def test_a_dataset_is_tried_by_a_network_that_takes_it(
    kindling: Kindling, zebra: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(zebra)  # the project is found from any folder of it
    out = kindling("new", "data", "QuaggaHerd")
    assert "Wrote data/quagga_herd.py and ../../tests/test_quagga_herd.py, and a line in data/__init__.py\n" in out
    assert "Train on it:  python scripts/main.py fit --model SimpleNet --data QuaggaHerd\n" in out
    assert '    "QuaggaHerd": Entry("zebra.data.quagga_herd"),\n}\n' in Path("data/__init__.py").read_text()
    assert (
        'main(["fit", "--model", "SimpleNet", "--data", "QuaggaHerd", *options])'
        in Path("../../tests/test_quagga_herd.py").read_text()
    )


@pytest.mark.parametrize("name", ["Quagga", "ALongName" + 21 * "e"])
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
    kindling("new", "model", "QuaggaNet")
    line = '"QuaggaNet": Entry("zebra.models.quagga_net", default_data="ZebraData"),'
    assert names.read_bytes().decode() == HEAD + LISTS[form].replace("NEW", line)


@pytest.mark.parametrize(("name", "program"), [("zebra", "zebra"), ("kindling", "python scripts/main.py")])
@pytest.mark.usefixtures("zebra")
def test_what_is_typed_next_knows_the_network(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, program: str
) -> None:
    monkeypatch.setattr("sys.argv", [f"/usr/bin/{name}"])
    monkeypatch.setattr(project, "_current", project.KINDLING)  # put back afterwards
    assert main(["new", "model", "QuaggaNet"], name=name, models={}, data={}) == 0
    assert capsys.readouterr().out.endswith(f"\nTrain it:  {program} fit --model QuaggaNet\n")


def test_help_says_what_can_be_written(kindling: Kindling) -> None:
    assert "new model MyNet   writes a network and its test, and names it" in (kindling("new", "model", "--help"))
