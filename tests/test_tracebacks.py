"""What nobody foresaw is one line, but for an exception of the user's own code, whose traceback is shown."""

import sys
import tempfile
from pathlib import Path

import pytest
from conftest import ROOT, RUN, Kindling

from kindling.project import KINDLING
from kindling.registry import Entry

FIT = ("fit", "--model=SimpleNet", "--trainer.max_epochs=1")
BUG = "this is a bug in Kindling or in your code; the traceback is in"


@pytest.mark.parametrize(
    ("place", "command"),
    [
        ("kindling.cli.entry.find.find", ("test", "--ckpt_path=best")),
        ("kindling.cli.run.options.check", FIT),
        ("kindling.callbacks.report.metrics_writer.loss_of", FIT),  # the run is removed, as nothing was trained
        ("kindling.training.fit.in_lines", FIT),
        ("kindling.callbacks.report.score_files.short", ("test", "--ckpt_path=best")),
    ],
)
def test_what_nobody_foresaw(
    kindling: Kindling, monkeypatch: pytest.MonkeyPatch, run: Path, place: str, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr(place, None)
    kindling(*command, code=1)
    assert kindling.err.count("\n") == 1
    words, _, file = kindling.err.strip().partition(f": {BUG} ")
    assert words == "kindling: error: TypeError: 'NoneType' object is not callable"
    file = file.partition(";")[0]  # how to resume a training that ended comes behind it
    assert Path(file).parent == run.parent.absolute()
    assert "Traceback (most recent call last)" in Path(file).read_text(encoding="utf-8")
    assert run.with_name("version_1").is_dir() == (place == "kindling.training.fit.in_lines")


def test_a_traceback_where_there_are_no_runs(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", "elsewhere")
    monkeypatch.setattr("kindling.cli.run.options.check", None)
    kindling(*FIT, code=1)
    assert list(Path("elsewhere").glob("traceback-*.txt"))


def test_a_run_that_can_go_on_says_so(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kindling.callbacks.report.curves.publish", None)
    kindling(*FIT, code=1)
    assert f"{BUG} {RUN.parent.absolute()}/traceback-" in kindling.err
    assert ".txt; python scripts/main.py fit --ckpt_path last  resumes after" in kindling.err


@pytest.mark.parametrize("file", ["mine.py", f"{ROOT}/src/kindling/models/mine.py"])
@pytest.mark.parametrize("fails", ["__init__", "forward", "module"])
def test_a_network_of_ones_own_shows_its_traceback(
    kindling: Kindling, monkeypatch: pytest.MonkeyPatch, file: str, fails: str
) -> None:
    source = (
        "from kindling.models import SimpleNet\n"
        "class Mine(SimpleNet):\n"
        "    def __init__(self, in_features: int, num_outputs: int) -> None:\n"
        "        super().__init__(in_features, 8, num_outputs)\n"
        f"        if {fails!r} == '__init__': {{}}['mine']\n"
        "    def forward(self, x):\n"
        "        return {}['mine']\n"
        f"if {fails!r} == 'module': {{}}['mine']\n"
    )
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    # as if it lay in that file, and was registered
    listed = KINDLING._replace(models={**KINDLING.models, "Mine": Entry("kindling.models.mine")})
    monkeypatch.setattr("kindling.cli.tracebacks.KINDLING", listed)
    Path("mine.py").write_text(f"exec(compile({source!r}, {file!r}, 'exec'))", encoding="utf-8")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    with pytest.raises(KeyError, match="mine"):
        kindling("fit", "--model=mine.Mine", "--data=SyntheticTabular")


def test_data_of_ones_own_shows_its_traceback(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("my_data.py").write_text(
        "from kindling.data import SyntheticTabular\n"
        "class Mine(SyntheticTabular):\n"
        "    def setup(self, stage: str) -> None:\n"
        "        open('nowhere.txt')\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        kindling("fit", "--model=SimpleNet", "--data=my_data.Mine")


def test_a_file_that_an_option_of_ones_own_network_names(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("loads.py").write_text(
        "import torch\n"
        "from kindling.models import SimpleNet\n"
        "class Loads(SimpleNet):\n"
        "    def __init__(self, in_features: int, num_outputs: int, weights: str = '') -> None:\n"
        "        super().__init__(in_features, 8, num_outputs)\n"
        "        torch.load(weights)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    error = kindling.fails("fit", "--model=loads.Loads", "--data=SyntheticTabular", "--model.weights=nothere.pth")
    assert "--model.weights nothere.pth: [Errno 2] No such file or directory: 'nothere.pth'" in error


@pytest.mark.usefixtures("shipped")
def test_the_machinery_is_not_the_users() -> None:
    from kindling.cli import tracebacks

    machinery = {file.name for file in tracebacks.PACKAGE.rglob("*.py") if not tracebacks._is_users(str(file))}
    assert {"base.py", "loading.py", "entry.py", "folder.py", "__init__.py"} <= machinery
    assert not {"simple_net.py", "tabular_csv.py"} & machinery
