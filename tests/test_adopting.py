"""An adopter's first steps leave ``make check`` and ``make test`` green: tried out in copies of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from conftest import ROOT, RUN
from test_readme import CODE

LEFT_OUT = {".git", "data", "dist", "lightning_logs"}
# of all tests the ones that look at the whole project; of the others only the imports are tried, as they take minutes
TRIED = ("test_readme.py", "test_structure.py", "test_models.py")
ENTRIES = {
    name: (folder, entry)
    for folder, entries in zip(("models", "data"), tiny.SHIPPED, strict=True)
    for name, entry in entries.items()
}

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, which is the working directory."""
    for source in ROOT.iterdir():  # with mypy's cache, which saves a minute
        if source.is_file():
            shutil.copy(source, tmp_path)
        elif source.name not in LEFT_OUT and not source.name.startswith(".venv"):
            shutil.copytree(source, tmp_path / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "lightning_logs", tmp_path / "lightning_logs", ignore=shutil.ignore_patterns("version_*"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "src"))
    monkeypatch.setenv("MYPYPATH", str(tmp_path / "src"))
    return tmp_path


def run(*command: str) -> str:
    """What a program prints, in the environment of these tests; it has to end well."""
    result = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def check_and_test(*more: str, types: bool = True) -> None:
    """``make check``, and of ``make test`` the import of every test file and the tests in ``TRIED``."""
    run("-m", "ruff", "check", "--no-cache")
    run("-m", "ruff", "format", "--check", "--no-cache")
    if types:
        run("-m", "mypy")
    run("-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-k", " or ".join([*TRIED, *more]), "tests")


def follow_the_docs(default_data: str = "SyntheticTabular") -> None:
    """Write the networks, the datasets and the command of the README and of docs/."""
    for code in CODE:
        if file := re.match(r"# (src/\S+\.py)\n", code):
            Path(file[1]).write_text(code, encoding="utf-8")
        elif entries := re.match(r"# in (MODELS|DATA)\n", code):
            line = code.partition("\n")[2].replace("SyntheticTabular", default_data)
            change(entries[1].lower(), rf"^({entries[1]} = \{{\n)", rf"\1{line}")
    change("cli/commands", r"^(COMMANDS = .*)\)$", r'\1, "count")')


def delete(name: str) -> None:
    """Remove a network or dataset: its file, its test file and its line."""
    folder, entry = ENTRIES[name]
    module = entry.module.rpartition(".")[2]
    Path(f"src/kindling/{folder}/{module}.py").unlink()
    Path(f"tests/test_{module}.py").unlink()
    change(folder, rf'^    "{name}": .*\n', "")


def change(folder: str, line: str, to: str) -> None:
    """Replace a line of the list of networks or datasets."""
    init = Path(f"src/kindling/{folder}/__init__.py")
    text, count = re.subn(line, to, init.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert count == 1
    init.write_text(text, encoding="utf-8")


def test_following_the_docs_and_adding_files(project: Path) -> None:
    follow_the_docs()
    Path("src/kindling/own.py").write_text("from kindling.cli import main\n\nprint(main)\n")
    Path("src/kindling/models/blocks.py").write_text("WIDTH = 3\n")
    Path("configs/own.yaml").write_text("model: DeepNet\ndata: Rings\n")
    Path("benchmarks/own.py").write_text("def measure() -> None:\n    pass\n")
    Path("tests/test_deep_net.py").write_text(
        "from conftest import Kindling\n\n\n"
        "def test_it_trains(kindling: Kindling) -> None:\n"
        '    assert "Best epoch" in kindling("fit", "--model", "DeepNet", "--trainer.max_epochs=1")\n'
    )
    run("scripts/main.py", "new", "model", "MyNet")
    run("scripts/main.py", "new", "data", "MyData")
    with Path("Makefile").open("a") as makefile:
        makefile.write("\ndeploy_2: $(INSTALLED)  ## send it away\n\techo sent\n")
    check_and_test(
        "test_deep_net.py",
        "test_my_net.py",
        "test_my_data.py",
        "test_new_class.py",
        "test_bad_classes.py",
        "test_benchmarks.py",
        "test_usage.py",
        "test_bad_options",
    )

    folder = project / "elsewhere"
    folder.mkdir()
    os.chdir(folder)  # the fixture of every test goes back
    script = (
        "from kindling.cli import main\n"
        "assert main(['fit', '--model', 'DeepNet', '--trainer.max_epochs', '1', '--model.dropout', '0.2']) == 0\n"
        "assert main(['fit', '--model', 'DeepNet', '--data', 'Rings', '--trainer.max_epochs', '8']) == 0\n"
        "assert main(['test', '--ckpt_path', 'best']) == 0\n"
        "assert main(['predict', '--ckpt_path', 'best']) == 0\n"
        "assert main(['count', '--ckpt_path', 'best']) == 0\n"
        "assert main(['fit', '--model', 'DepNet']) == 2\n"
    )
    out = run("-c", script)
    assert "DeepNet, CrossEntropyLoss, 4,482 parameters, on Rings" in out
    assert "\n4482\n" in out
    score = re.search(r"test/acc (\d\.\d+)", out)
    assert score
    assert float(score[1]) > 0.9
    assert (RUN.with_name("version_1") / "predictions.csv").read_text().startswith("x,y,prediction,p(outside)")


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.usefixtures("project")
def test_a_network_or_dataset_goes_with_its_file_its_test_file_and_its_line(name: str) -> None:
    delete(name)
    check_and_test(types=False)  # with every one of them gone, the test below checks the types; they take half a minute


@pytest.mark.usefixtures("project")
def test_ones_own_network_and_dataset_can_be_the_only_ones() -> None:
    follow_the_docs(default_data="Rings")
    for name in ENTRIES:
        delete(name)
    check_and_test("test_usage.py")
