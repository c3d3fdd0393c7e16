"""``.copier-answers.yml`` of a project that ``new`` made: where Kindling is, and which commit of it was taken."""

import re
from pathlib import Path
from typing import NamedTuple

import yaml

from kindling.errors import UsageError

FILE = ".copier-answers.yml"


class Answers(NamedTuple):
    """
    Args:
        folder: Of the project.
        source: Folder or address of Kindling's repository.
        commit: Its commit that the project has.
        engine: ``vendor``, or ``own`` after ``eject``.
    """

    folder: Path
    source: str
    commit: str
    engine: str

    @property
    def file(self) -> Path:
        return self.folder / FILE

    def set_engine(self, engine: str) -> None:
        text = self.file.read_text(encoding="utf-8")
        self.file.write_text(re.sub(r"(?m)^engine: .*$", f"engine: {engine}", text), encoding="utf-8")


def read(command: str) -> Answers:
    """Of the project that the working directory is in.

    Raises:
        UsageError: It is in none, or the file lacks something.
    """
    here = Path.cwd()
    folder = next((folder for folder in (here, *here.parents) if (folder / FILE).is_file()), None)
    if folder is None:
        raise UsageError(f"{command} is for a project that  kindling new  made: this folder is in none, so go to its")
    try:
        found = yaml.safe_load((folder / FILE).read_text(encoding="utf-8"))
        return Answers(folder, *(str(found[key]) for key in ("_src_path", "_commit", "engine")))
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        what = f"has no {error.args[0]}" if isinstance(error, KeyError) else f"can't be read ({error})"
        raise UsageError(f"{FILE} {what}:  git checkout {FILE}  brings back what it was") from error
