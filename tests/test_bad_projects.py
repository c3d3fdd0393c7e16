"""Projects that can't be made, updated or given the engine: one line, and nothing is left behind."""

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Kindling
from errors_page import Case

from kindling.scaffold import create, programs


def full() -> None:
    Path("zebra").mkdir()
    Path("zebra/notes.txt").touch()


def answers(text: str, *more: str) -> None:
    """A project with these answers, whose files git has, but for some more."""
    Path(".copier-answers.yml").write_text(text)
    commit()
    for file in more:
        Path(file).touch()


def commit() -> None:
    for line in (
        "init -q -b main",
        "add -A",
        "-c user.name=a -c user.email=a@b.invalid commit -q --allow-empty -m all",
    ):
        subprocess.run(["git", *line.split()], check=True)


GONE = "_commit: abc1234\n_src_path: /nowhere/kindling\nengine: vendor\n"
CASES = [
    Case("no name", ("new", "", "zebra"), "a project needs a name, such as red_panda"),
    Case("no folder", ("new", "zebra"), "required: DEST"),
    Case("a word of Python's", ("new", "class", "zebra"), "take another, such as class_project"),
    Case("a name that changes with its place", ("new", "match", "zebra"), "a word of Python's own"),
    Case("a module of Python's", ("new", "json", "zebra"), "a module of Python's own"),
    Case("a package that it needs", ("new", "torch", "zebra"), "installed beside it"),
    Case("another package that is there", ("new", "yaml", "zebra"), "installed beside it"),
    Case("Kindling's own name", ("new", "kindling", "zebra"), "used within each project"),
    Case("the name of a folder in it", ("new", "tests", "zebra"), "used within each project"),
    Case("a hyphen", ("new", "my-project", "zebra"), "write my_project"),
    Case("a digit first", ("new", "2nd", "zebra"), "write project_2nd"),
    Case("capital letters", ("new", "RedPanda", "zebra"), "write red_panda"),
    Case("Chinese letters", ("new", "斑马", "zebra"), "write it in Latin letters"),
    Case("a path for a name", ("new", "../zebra", "zebra"), "write zebra"),
    Case("a name that is too long", ("new", 31 * "a", "zebra"), "at most 30 letters"),
    Case("a folder that is not empty", ("new", "zebra", "zebra"), "a folder that is not empty", full),
    Case("a file in its place", ("new", "zebra", "zebra"), "zebra is a file", lambda: Path("zebra").touch()),
    Case("no folder to put it into", ("new", "zebra", "a/b/zebra"), "there is no folder a/b: make it first"),
    Case("a folder without a name", ("new", "zebra", ""), "name a folder, such as ../zebra"),
    Case("a kind that is not there", ("new", "zebra", "zebra", "--kind", "cats"), "one of numbers, table, photos"),
    Case("update, in no project", ("update",), "go to its"),
    Case("eject, in no project", ("eject",), "go to its"),
    Case("update, with a word more", ("update", "now"), "arguments: now: type e.g. python scripts/main.py update"),
    Case("update, changes that are not committed", ("update",), "first: new.py", lambda: answers(GONE, "new.py")),
    Case("update, Kindling is not where it was", ("update",), "_src_path in", lambda: answers(GONE)),
    Case("update, a file that was cut off", ("update",), "has no _commit", lambda: answers("_src_path: /a\n")),
    Case("update, a file that is no YAML", ("update",), "git checkout", lambda: answers("a: [")),
    Case("eject, nothing to move", ("eject",), "engine is what make installs", lambda: answers(GONE)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_bad_projects(kindling: Kindling, case: Case) -> None:
    kindling.answers("Projects", case)


@pytest.fixture
def clone(monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for Kindling's repository: its template is empty."""
    clone = Path("clone").absolute()
    (clone / "template").mkdir(parents=True)
    (clone / "copier.yml").write_text("_subdirectory: template\n")
    monkeypatch.setattr(create, "ROOT", clone)
    return clone


def test_no_template_or_no_repository(kindling: Kindling, clone: Path) -> None:
    assert "so clone Kindling with git" in kindling.fails("new", "zebra", "zebra")
    commit()  # of the folder around it
    assert "is no git repository of its own: " in kindling.fails("new", "zebra", "zebra")
    assert "lies within Kindling's own folder" in kindling.fails("new", "zebra", "clone/zebra")
    (clone / "copier.yml").unlink()
    assert "was installed without its template: clone its repository" in kindling.fails("new", "zebra", "zebra")


def test_no_copier_and_no_network(kindling: Kindling, clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone)
    commit()
    monkeypatch.chdir(clone.parent)
    monkeypatch.setattr(programs, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    line = "copier is needed, which is not installed: type pip install 'copier>=9.19,<10'\n"
    assert kindling.fails("new", "zebra", "zebra").endswith(line)
    uvx = Path("uvx").absolute()
    uvx.write_text("#!/bin/sh\necho 'Traceback' >&2\necho 'error: no route to host' >&2\nexit 2\n")
    uvx.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(uvx))
    line = "uvx can't fetch it (error: no route to host): with a network, type pip install 'copier>=9.19,<10'\n"
    assert kindling.fails("new", "zebra", "zebra").endswith(line)


def test_copier_fails_half_way(kindling: Kindling, clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone)
    commit()
    monkeypatch.chdir(clone.parent)
    fails = Path("fails").absolute()
    fails.write_text(
        '#!/bin/sh\nfor last; do :; done\nmkdir "$last"; touch "$last/half"\necho "E: disk full" >&2; exit 1\n'
    )
    fails.chmod(0o755)
    monkeypatch.setattr(programs, "_copier", lambda: [str(fails)])
    Path("zebra").mkdir()
    assert kindling.fails("new", "zebra", "zebra") == "kindling: error: copier copy: E: disk full\n"
    assert list(Path("zebra").iterdir()) == []
    assert sorted(file.name for file in Path().iterdir()) == ["clone", "fails", "zebra"]
    monkeypatch.setattr(programs, "_copier", lambda: ["/nowhere/copier"])
    assert "/nowhere/copier is needed, which is not installed" in kindling.fails("new", "zebra", "zebra")
