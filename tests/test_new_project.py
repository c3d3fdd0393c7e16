"""A project made with ``new``: it trains and passes its tests, takes updates, and can own its engine; offline."""

import csv
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT, Kindling

from kindling import __version__
from kindling.scaffold import create, programs

if not (ROOT / "copier.yml").is_file():
    pytest.skip("an engine that a project has made its own has no template", allow_module_level=True)

LINKS = ROOT / "template/vendor/kindling"
LEFT_OUT = {  # .git is a file in a worktree, by which git would write into this repository
    ".git",
    "data",
    "site",
    "dist",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
}
MOST_LINES = 400
OFFLINE = "INSTALL=.venv/bin/python -m pip install --quiet --no-index --no-deps --no-build-isolation"


def shell(*command: str, cwd: Path = Path(), code: int = 0) -> str:
    """What a program prints on both streams."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == code, done.stdout
    return done.stdout


def commit(folder: Path, message: str) -> None:
    shell("git", "add", "--all", cwd=folder)
    shell("git", "-c", "user.name=a", "-c", "user.email=a@b.invalid", "commit", "-q", "-m", message, cwd=folder)


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, text
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def clone(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of Kindling as its files are now, committed or not; ``new`` makes projects of it."""
    clone = Path("clone").absolute()
    clone.mkdir()
    for source in ROOT.iterdir():
        if source.name in LEFT_OUT or source.name.startswith(".venv"):
            continue
        if source.is_file():
            shutil.copy(source, clone)
        else:
            shutil.copytree(source, clone / source.name, symlinks=True)
    shell("git", "init", "-q", "-b", "main", cwd=clone)
    commit(clone, "all")
    monkeypatch.setattr(create, "ROOT", clone)
    # without what these tests themselves run with
    for name in ("PYTHONPATH", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "MAKEFLAGS", "MAKELEVEL"):
        monkeypatch.delenv(name, raising=False)
    return clone


def make_project(kindling: Kindling, kind: str) -> Path:
    """A project in ``zebra``, and an environment for it that sees the packages of these tests."""
    out = kindling("new", "zebra", "zebra", "--kind", kind)
    assert re.search(r"^Made zebra in zebra: \d+ files of yours, and Kindling in vendor/kindling$", out, re.MULTILINE)
    assert out.endswith("Next: cd zebra && make train && make test\n")
    shell(sys.executable, "-m", "venv", "--without-pip", "zebra/.venv")
    (packages,) = Path("zebra/.venv/lib").glob("*/site-packages")
    packages.joinpath("all.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    Path("zebra/.venv/bin/ruff").symlink_to(Path(sys.executable).with_name("ruff"))
    return Path("zebra").absolute()


def make(project: Path, *targets: str) -> str:
    return shell("make", *targets, OFFLINE, cwd=project)


def program(project: Path, *args: str, code: int = 0) -> str:
    return shell(".venv/bin/zebra", *args, cwd=project, code=code)


def programs_in_turn(project: Path, *commands: str) -> str:
    """What the commands print, one after the other in one process, whose imports take most of the time."""
    code = "import sys, zebra; sys.exit(any(zebra.main(line.split()) for line in sys.argv[1:]))"
    return shell(".venv/bin/python", "-c", code, *commands, cwd=project)


def own_files(project: Path) -> list[Path]:
    """What git has of the project beside the engine."""
    return [project / file for file in shell("git", "ls-files", ":!vendor", ":!engine", cwd=project).splitlines()]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="git tells which files belong to the project")
def test_the_engine_of_a_project_is_all_that_is_here() -> None:
    tracked = [Path(file) for file in shell("git", "ls-files", cwd=ROOT).splitlines()]
    links = {LINKS / file.relative_to("template/vendor/kindling") for file in tracked if file.parts[1:2] == ("vendor",)}
    places = {link: ROOT / str(link.relative_to(LINKS)).removesuffix(".jinja") for link in links}
    assert all(link.is_symlink() and link.samefile(place) for link, place in places.items())
    there = {place.relative_to(ROOT).parts[0] for place in places.values()}
    assert there == {file.parts[0] for file in tracked} - {"copier.yml", "template"}


def test_the_versions_that_are_written_in_two_places_are_the_same() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["new"] == [programs.COPIER]
    assert f"'{programs.COPIER}'" in (ROOT / "Makefile").read_text()
    wanted = re.search(r'"kindling>=([\d.]+),<([\d.]+)"', (ROOT / "template/pyproject.toml.jinja").read_text())
    assert wanted
    oldest, version, newest = ([int(n) for n in text.split(".")] for text in (wanted[1], __version__, wanted[2]))
    assert oldest <= version < newest


@pytest.mark.slow
@pytest.mark.parametrize("kind", create.KINDS)
@pytest.mark.usefixtures("clone")
def test_two_commands_set_a_project_up(kindling: Kindling, kind: str) -> None:
    project = make_project(kindling, kind)
    files = own_files(project)
    texts = {file: file.read_text(encoding="utf-8") for file in files if file.suffix != ".png"}
    assert sum(text.count("\n") for text in texts.values()) <= MOST_LINES
    assert [file for file in files if "kindling" in file.name.lower()] == []
    assert [file for file, text in texts.items() if "{{" in text or "{%" in text] == []
    assert "epoch 10/10" in make(project, "train")
    out = make(project, "test", "check")
    assert "2 passed" in out
    assert "All checks passed!" in out
    assert shell("git", "status", "--porcelain", cwd=project) == ""  # git ignores all that this made
    assert make(project, "train", "ARGS=--help").startswith(".venv/bin/python scripts/main.py fit --help")
    assert program(project, "list").startswith("Networks (--model)\n  ZebraNet ")
    line = program(project, "fit", "--model", "ZebraNett", code=2)
    assert line.startswith("zebra: error: ")
    assert "did you mean ZebraNet" in line


@pytest.mark.slow
@pytest.mark.usefixtures("clone")
def test_all_commands_work_in_a_project(kindling: Kindling) -> None:
    project = make_project(kindling, "table")
    make(project, ".venv/.installed")
    rows = Path(project / "examples/plants.csv").read_text().splitlines()
    (project / "new.csv").write_text("\n".join(row.rpartition(",")[0] for row in rows[:4]) + "\n")
    sweep = "sweep --model ZebraNet --vary.lr [0.01,0.02] --trials 2 --epochs 1"
    assert "lightning_logs/sweep_0" in program(project, *sweep.split())
    out = programs_in_turn(
        project,
        "fit --model ZebraNet --data.path examples/plants.csv --model.hidden 8 --name own",
        "export --ckpt_path last",
        "predict --ckpt_path last --data.predict_path new.csv",
    )
    assert "-> lightning_logs/own_" in out
    (predictions,) = project.glob("lightning_logs/own_*/predictions.csv")
    with predictions.open(newline="") as file:
        assert [row["prediction"] in ("no", "yes") for row in csv.DictReader(file)] == [True] * 3
    program(project, "new", "model", "StripedNet")
    program(project, "new", "data", "StripedData")
    assert "4 passed" in shell(".venv/bin/python", "-m", "pytest", "-k", "striped", cwd=project)
    (project / "door.py").write_text(
        "import kindling, zebra\n"
        "run = zebra.fit('ZebraNet', 'ZebraData', max_epochs=2)\n"
        "print(run.test()['test/acc'] > 0.3, type(zebra.load(run.folder)[0]) is zebra.models.ZebraNet)\n"
        "print(zebra.tune is kindling.tune)\n"
    )
    assert shell(".venv/bin/python", "door.py", cwd=project).endswith("True True\nTrue\n")


@pytest.mark.slow
def test_an_update_brings_what_is_new_and_keeps_what_is_ones_own(kindling: Kindling, clone: Path) -> None:
    project = make_project(kindling, "numbers")
    make(project, ".venv/.installed")
    test = "test --ckpt_path best"
    before = programs_in_turn(project, "fit --model ZebraNet --epochs 3", test)
    assert "has all that is in" in program(project, "update")

    change(project / "README.md", "# zebra\n", "# The zebra\n")
    (project / "src/zebra/stripes.py").write_text("COUNT = 30\n")
    line = program(project, "update", code=2)
    assert line == (
        "zebra: error: update merges into what git has: commit your changes, or git stash -u them first: "
        "README.md, src/zebra/stripes.py\n"
    )
    commit(project, "my own")
    change(clone / "template/README.md.jinja", "\nYou need git, ", "\nYou need a pen, git, ")
    change(clone / "src/kindling/__init__.py", f'__version__ = "{__version__}"', f'__version__ = "{__version__}.1"')
    (clone / "docs/costs.md").rename(clone / "docs/prices.md")
    commit(clone, "next")
    (clone / "notes.txt").touch()
    out = program(project, "update")
    assert f"Changes in {clone} that are not committed are left out\n" in out
    assert "Of them outside of vendor/: README.md\n" in out

    readme = (project / "README.md").read_text()
    assert readme.startswith("# The zebra\n")
    assert "\nYou need a pen, git, " in readme
    assert (project / "src/zebra/stripes.py").read_text() == "COUNT = 30\n"
    assert (project / "vendor/kindling/docs/prices.md").is_file()
    assert not (project / "vendor/kindling/docs/costs.md").exists()
    commit(project, "updated")
    assert "2 passed" in make(project, "test")
    version = shell(".venv/bin/python", "-c", "import kindling; print(kindling.__version__)", cwd=project)
    assert version == f"{__version__}.1\n"

    out = programs_in_turn(project, test, "predict --ckpt_path best", "fit --ckpt_path last --trainer.max_epochs 5")
    (scores,) = re.findall(r"^test/loss .+$", before, re.MULTILINE)
    assert f"\n{scores}\n" in out  # what the older engine found
    assert "500 predictions -> lightning_logs/version_0/predictions.csv" in out
    assert "Resuming from lightning_logs/version_0/checkpoints/last.ckpt (ZebraNet, epoch 3)" in out
    assert "epoch 5/5" in out

    change(project / "README.md", "You need a pen, git, ", "All you need is git, ")
    commit(project, "mine")
    change(clone / "template/README.md.jinja", "You need a pen, git, ", "You need git, ")
    commit(clone, "third")
    line = program(project, "update", code=2).splitlines()[-1]
    assert line.startswith("zebra: error: you and Kindling changed the same lines of README.md: edit ")
    assert "<<<<<<< before updating\nAll you need is git" in (project / "README.md").read_text()


@pytest.mark.slow
def test_the_engine_can_be_made_ones_own(kindling: Kindling, clone: Path) -> None:
    project = make_project(kindling, "numbers")
    make(project, "eject")
    assert not (project / "vendor").exists()
    assert len(list((project / "engine/tests").glob("test_*.py"))) > 60
    commit(project, "ours")
    change(project / "engine/src/kindling/__init__.py", f'__version__ = "{__version__}"', '__version__ = "0.2.99"')
    make(project, ".venv/.installed-dev")
    assert "epoch 1/1" in program(project, "fit", "--model", "ZebraNet", "--epochs", "1")
    version = shell(".venv/bin/python", "-c", "import kindling; print(kindling.__version__)", cwd=project)
    assert version == "0.2.99\n"
    plan = shell("make", "-n", "test", OFFLINE, cwd=project)
    assert f"cd engine && {project}/.venv/bin/python -m pytest" in plan

    python, engine = str(project / ".venv/bin/python"), project / "engine"
    collected = shell(python, "-m", "pytest", "--collect-only", "-q", "-n", "0", cwd=engine)
    assert sum(int(count) for count in re.findall(r"^tests/test_\S+: (\d+)$", collected, re.MULTILINE)) > 1000
    some = ("structure", "models", "new_project", "readme")  # the ones that look at the whole project
    files = [f"tests/test_{name}.py" for name in some]
    out = shell(python, "-m", "pytest", "-n", "0", "-k", "not recipe", *files, cwd=engine)
    assert re.search(r"\d\d passed", out)
    commit(project, "changed")

    change(clone / "template/README.md.jinja", "\nYou need git, ", "\nYou need a pen, git, ")
    change(clone / "src/kindling/__init__.py", f'__version__ = "{__version__}"', '__version__ = "0.3.0"')
    commit(clone, "next")
    out = program(project, "update")
    assert "Of them outside of vendor/: README.md\n" in out
    assert not (project / "vendor").exists()
    assert '"0.2.99"' in (engine / "src/kindling/__init__.py").read_text()
    assert "make installs" in program(project, "eject", code=2)
