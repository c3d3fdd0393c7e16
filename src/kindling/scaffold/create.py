"""A project of one's own: rendered from ``template/`` of this repository, with Kindling in its ``vendor/kindling``."""

import keyword
import re
import sys
import sysconfig
import tomllib
from importlib.machinery import PathFinder
from pathlib import Path
from tempfile import TemporaryDirectory

from kindling import __version__
from kindling.console import waiting
from kindling.errors import UsageError
from kindling.scaffold import programs

KINDS = ("numbers", "table", "photos")
ROOT = Path(__file__).parents[3]  # where this package comes from
LONGEST = 30  # letters of a name, so that no line of the project becomes too long
RESERVED = {  # folders of a project, and words that would mean two things there
    *("benchmarks", "configs", "data", "docs", "engine", "examples", "kindling", "lightning_logs", "main", "model"),
    *("models", "scripts", "src", "test", "tests", "vendor"),
}


def create(name: str, dest: str, kind: str = "numbers") -> None:
    """Make a project, whose git has its files in a first commit.

    Args:
        name: Of the project and of its package.
        dest: Its folder, which must not be there yet, or be empty.
        kind: Of ``KINDS``: the data to begin with.

    Raises:
        UsageError: The name or the folder can't be, or git or copier fails. Then nothing is left behind.
        OSError: The folder can't be written.
    """
    check_name(name)
    if kind not in KINDS:
        raise UsageError(f"--kind {kind}: one of {', '.join(KINDS)}")
    folder = _check_dest(name, dest)
    if not (ROOT / "copier.yml").is_file():
        raise UsageError("Kindling was installed without its template: clone its repository, and type this there")
    commit = programs.head(ROOT)
    if programs.changed(ROOT):
        print(f"Changes in {ROOT} that are not committed are left out: the project gets what git has of {commit[:7]}")
    with _beside(folder) as temporary, waiting(f"Making {name}"):
        made = Path(temporary, name)
        answers = [f"--data={key}={value}" for key, value in (("project_name", name), ("kind", kind))]
        programs.copier("copy", "--quiet", "--defaults", f"--vcs-ref={commit}", *answers, str(ROOT), str(made))
        if not (made / "vendor/kindling/src/kindling").is_dir():
            raise UsageError(
                f"symbolic links in {ROOT / 'template'} are plain files: type  git config core.symlinks true  and  "
                "git checkout template  there; Windows needs its developer mode for them"
            )
        _commit(made, f"{name}, made with Kindling {__version__} ({commit[:7]})")
        files = [file for file in made.rglob("*") if file.is_file()]
        own = [file for file in files if {"vendor", ".git"}.isdisjoint(file.relative_to(made).parts)]
        if folder.exists():
            folder.rmdir()
        made.rename(folder)
    print(f"Made {name} in {dest}: {len(own)} files of yours, and Kindling in vendor/kindling")
    print(f"Next: cd {dest} && make train && make test")


def check_name(name: str) -> None:
    """
    Raises:
        UsageError: No project can have that name.
    """
    words = "_".join(re.findall("[A-Z]?[a-z0-9]+|[A-Z]+", name)).lower()
    better = words if words[:1].isalpha() else f"project_{words}"
    if not name:
        raise UsageError("a project needs a name, such as red_panda")
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        remedy = f"write {better}" if words and name.isascii() else "write it in Latin letters, such as red_panda"
        raise UsageError(f"{name!r} can't be a name: small letters, digits and _ make one, a letter first: {remedy}")
    if len(name) > LONGEST:
        raise UsageError(f"{name}: a name has at most {LONGEST} letters: take a shorter one")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        reason = "a word of Python's own"
    elif name in sys.stdlib_module_names:
        reason = "a module of Python's own"
    elif name in RESERVED:
        reason = "used within each project"
    elif name in _packages() or PathFinder.find_spec(name, [sysconfig.get_path("purelib")]):
        reason = "a package that is installed beside it"
    else:
        return
    raise UsageError(f"{name} can't be a name, as it is {reason}: take another, such as {name}_project")


def _packages() -> set[str]:
    """What Kindling depends on, also where it is not installed."""
    file = ROOT / "pyproject.toml"
    if not file.is_file():
        return set()
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    needed = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    return {re.split(r"[^\w-]", one)[0].replace("-", "_") for one in needed}


def _check_dest(name: str, dest: str) -> Path:
    """
    Raises:
        UsageError: No project can be made there.
    """
    folder = Path(dest).absolute()
    if not dest:
        raise UsageError(f"where to? name a folder, such as ../{name}")
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        what = "a file" if folder.is_file() else "a folder that is not empty"
        raise UsageError(f"{dest} is {what}: name a folder that is not there yet")
    if not folder.parent.is_dir():
        raise UsageError(f"{dest}: there is no folder {Path(dest).parent}: make it first")
    if folder.resolve().is_relative_to(ROOT) and (ROOT / "copier.yml").is_file():
        raise UsageError(f"{dest} lies within Kindling's own folder: name one beside that")
    return folder


def _beside(folder: Path) -> TemporaryDirectory[str]:
    """Where the project is made, so that it is there whole or not at all."""
    try:
        return TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent)
    except OSError as error:
        raise UsageError(f"{folder.parent} can't be written ({error.strerror}): name a folder elsewhere") from error


def _commit(folder: Path, message: str) -> None:
    programs.git(folder, "init", "--quiet", "--initial-branch=main")
    programs.git(folder, "add", "--all", "--force")  # whatever the user's git ignores everywhere
    programs.git(folder, *programs.identity(folder), "commit", "--quiet", "--no-verify", "--no-gpg-sign", "-m", message)
