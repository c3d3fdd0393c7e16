"""Networks and datasets that can't be written: one line, and nothing is left behind."""

from functools import partial
from pathlib import Path

import pytest
from conftest import Kindling
from errors_page import Case
from test_new_class import HEAD, make_zebra

MODEL, DATA = ("new", "model"), ("new", "data")
NET = (*MODEL, "MyNet")


def listing(names: str) -> None:
    """The project lists its networks so."""
    (make_zebra() / "models/__init__.py").write_text(names, encoding="utf-8")


def taken() -> None:
    """The project has files of these names."""
    (make_zebra() / "models/taken.py").touch()
    Path("tests/test_taken.py").touch()


CASES = [
    Case("a mistyped word", ("new", "modle", "MyNet"), "new modle MyNet, did you mean new model?", make_zebra),
    Case("no name of a network", MODEL, "needs a name: python scripts/main.py new model MyNet", make_zebra),
    Case("no name of a dataset", DATA, "needs a name: python scripts/main.py new data MyData", make_zebra),
    Case("the name of a file", (*MODEL, "my_net"), "a class's name begins with a capital", make_zebra),
    Case("a hyphen", (*MODEL, "my-net"), "did you mean MyNet?", make_zebra),
    Case("two words", (*MODEL, "My", "Net"), "did you mean MyNet?", make_zebra),
    Case("a small letter first", (*MODEL, "myNet"), "did you mean MyNet?", make_zebra),
    Case("a digit first", (*MODEL, "2ndNet"), "take e.g. MyNet", make_zebra),
    Case("Chinese letters", (*DATA, "\u6570\u636e"), "take e.g. MyData", make_zebra),
    Case("letters with dots", (*MODEL, "\u00dcbungsNetz"), "take e.g. MyNet", make_zebra),
    Case("a path", (*MODEL, "../Net"), "did you mean Net?", make_zebra),
    Case("a constant of Python's", (*MODEL, "None"), "none is a word of the Python language", make_zebra),
    Case("a file whose name is a word of Python's", (*MODEL, "Class"), "class is a word of the", make_zebra),
    Case("a name that the file needs itself", (*MODEL, "Tensor"), "import another Tensor", make_zebra),
    Case("the name of a test", (*DATA, "TestRows"), "pytest takes classes", make_zebra),
    Case("a network of the project", (*MODEL, "ZebraNet"), "there is a model ZebraNet already", make_zebra),
    Case("a dataset of the project, but for capitals", (*DATA, "Zebradata"), "a data ZebraData already", make_zebra),
    Case("a network of Kindling's", (*MODEL, "SimpleNet"), "there is a model SimpleNet already", make_zebra),
    Case("a name that is too long", (*MODEL, "Long" * 8), "32 letters: take one of at most 30", make_zebra),
    Case("a file that is there", (*MODEL, "Taken"), "src/zebra/models/taken.py is there already", taken),
    Case("a test that is there", (*DATA, "Taken"), "tests/test_taken.py is there already", taken),
    Case("a list of names that is no Python", NET, "__init__.py, line 1, is no Python", partial(listing, "MODELS = {")),
    Case("no list of names", NET, "has no MODELS = {...} to add a name to", partial(listing, "NETWORKS = {}")),
    Case("names that are listed by a call", NET, "has no MODELS = {...}", partial(listing, "MODELS = dict()")),
    Case("a list that lacks its import", NET, "imports no Entry: add the line", partial(listing, "MODELS = {}")),
    Case("a list without a last comma", NET, "a line of its own that ends with a comma",
         partial(listing, f'{HEAD}MODELS = {{\n    "A": Entry("a")\n}}')),
    Case("a list that holds another", NET, "a line of its own that ends with a comma",
         partial(listing, f'{HEAD}MODELS = {{**OTHERS, "A": Entry("a")}}')),
    Case("a folder of no project, network", NET, "this folder is in none"),
    Case("a folder of no project, dataset", (*DATA, "MyData"), "src/NAME/data/__init__.py",
         lambda: Path("pyproject.toml").touch()),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_bad_classes(kindling: Kindling, case: Case) -> None:
    kindling.answers("Networks and datasets to begin with: `new model`, `new data`", case)


def test_nothing_is_left_where_a_file_can_not_be_written(kindling: Kindling) -> None:
    make_zebra()
    Path("tests").rmdir()
    Path("tests").touch()
    assert "tests can't be used (File exists)" in kindling.fails(*NET)
