"""Kindling's source becomes a project's own: from ``vendor/kindling``, which updates replace, to ``engine``."""

from kindling.errors import UsageError
from kindling.scaffold import answers, programs

VENDOR, OWN = "vendor/kindling", "engine"


def eject() -> None:
    """Move the engine of the working directory's project, from where make installs it as it is there.

    Raises:
        UsageError: There is no project, or its engine is its own already; something else is in the way.
        OSError: It can't be moved.
    """
    project = answers.read("eject")
    vendor, own = project.folder / VENDOR, project.folder / OWN
    if project.engine == "own" or not vendor.is_dir():
        raise UsageError(f"Kindling is not in {VENDOR} any more: {own if own.is_dir() else OWN} is what make installs")
    if own.exists():
        raise UsageError(f"{own} is there already: move it away, as that is where Kindling goes")
    vendor.rename(own)
    if not any(vendor.parent.iterdir()):
        vendor.parent.rmdir()
    project.set_engine("own")
    programs.git(project.folder, "add", "--all", "--", VENDOR, OWN, answers.FILE)
    print(f"Moved {VENDOR} to {OWN}/, which make installs from there as it is; updates leave it alone from now on")
    print("Next: make test, which runs its tests too, and  git commit -m 'The engine is ours'")
