"""git and copier, which make a project and keep it up to date; where one fails, it is told in a line."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from kindling.errors import UsageError

COPIER = "copier>=9.19,<10"  # as in the extra ``new`` of pyproject.toml
HISTORY = "a project is updated by what changed since it was made, so clone Kindling with git"
ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")  # what a git hook's programs would write to


def git(folder: Path, *args: str) -> str:
    """What git prints in a folder, without the last end of a line.

    Raises:
        UsageError: There is no git, or it fails.
    """
    done = _run(["git", "-C", str(folder), "-c", "core.quotePath=false", *args])
    if done.returncode:
        raise UsageError(f"git {args[0]} in {folder}: {_last_line(done)}")
    return done.stdout.rstrip("\n")


def head(folder: Path) -> str:
    """The newest commit of a repository whose folder this is.

    Raises:
        UsageError: It is none, or has no commit.
    """
    try:
        commit, within = git(folder, "rev-parse", "--verify", "HEAD"), git(folder, "rev-parse", "--show-prefix")
    except UsageError as error:
        raise UsageError(f"{error}: {HISTORY}") from error
    if within:
        raise UsageError(f"{folder} is no git repository of its own: {HISTORY}")
    return commit


def identity(folder: Path) -> list[str]:
    """Options for git where nobody has told it whose commits it makes."""
    if _run(["git", "-C", str(folder), "var", "GIT_AUTHOR_IDENT"]).returncode == 0:
        return []
    return ["-c", "user.name=kindling new", "-c", "user.email=new@kindling.invalid"]


def changed(folder: Path) -> list[str]:
    """Files of a repository that differ from its newest commit, or are in none, but for ignored ones."""
    return [line[3:] for line in git(folder, "status", "--porcelain").splitlines()]


def copier(*args: str) -> None:
    """Run copier, which asks nothing and prints nothing.

    Raises:
        UsageError: There is no copier, or it fails.
    """
    done = _run([*_copier(), *args])
    if done.returncode:
        raise UsageError(f"copier {args[0]}: {_last_line(done)}")


def _copier() -> list[str]:
    """How copier is called: as it is installed, or as uvx brings it."""
    remedy = f"type  pip install '{COPIER}'"
    if find_spec("copier"):
        return [sys.executable, "-P", "-m", "copier"]  # -P: the current folder may have a copier.py
    uvx = shutil.which("uvx")
    if uvx is None:
        raise UsageError(f"copier is needed, which is not installed: {remedy}")
    command = [uvx, "--quiet", "--from", COPIER, "copier"]
    done = _run([*command, "--version"])
    if done.returncode:
        raise UsageError(f"copier is needed, and uvx can't fetch it ({_last_line(done)}): with a network, {remedy}")
    return command


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    try:
        return subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise UsageError(f"{command[0]} is needed, which is not installed: install it, then type this again") from error


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a failed program said at last."""
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {done.returncode}"
