"""Build what is released, and try it where no source tree is: make release

The version is the package's, and has to be the newest one in CHANGELOG.md. The sdist holds all that git has but for the
template of projects, and the wheel, which is built from the sdist, holds the whole package. The wheel is installed into
a new environment and called from an empty folder. Only then do both go to dist/; nothing is uploaded.

    python scripts/release.py              # with uv, which it installs for itself where there is none
    python scripts/release.py --offline    # a rehearsal with this environment's hatchling and packages: dist/ stays
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'), end='')"
COMMANDS = (
    "--version",
    "--help",
    "list",
    "fit --model SimpleNet --trainer.max_epochs 1",
    "test --ckpt_path best",
    "predict --ckpt_path best --data.samples [[7.5,3.0]]",
)


def main(offline: bool) -> None:
    began, version = time.monotonic(), _version()
    changed = _run("git", "-C", ROOT, "status", "--porcelain")
    if changed and not offline:
        sys.exit(f"what is released has to be in git, so commit this first:\n{changed}")
    with TemporaryDirectory(prefix="release-") as temporary:
        folder = Path(temporary).resolve()
        sdist, wheel, python = (_by_hatchling if offline else _by_uv)(folder)
        count = _compare(sdist, wheel)
        ready = time.monotonic()
        accuracy = _try(python, folder, version)
        for file in (sdist, wheel) if not offline else ():
            (ROOT / "dist").mkdir(exist_ok=True)
            shutil.copy(file, ROOT / "dist")
    done = "would be" if offline else "is"
    took = f"{ready - began:.0f} s to build and install, {time.monotonic() - ready:.0f} s to try"
    print(
        f"kindling {version} {done} in dist/: {sdist.name} ({count} files), {wheel.name}; test/acc {accuracy}; {took}"
    )


def _version() -> str:
    found = []
    for file, form in (("src/kindling/__init__.py", '^__version__ = "(.+)"'), ("CHANGELOG.md", r"^## (\S+)")):
        match = re.search(form, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
        found.append(match[1] if match else "none")
    if found[0] != found[1]:
        sys.exit(f"the package has the version {found[0]}, and CHANGELOG.md begins with {found[1]}: make them the same")
    return found[0]


def _by_uv(folder: Path) -> tuple[Path, Path, Path]:
    """The sdist, the wheel that is built from it, and the Python of a new environment with the wheel."""
    uv = shutil.which("uv")
    if uv is None:
        _run(sys.executable, "-m", "venv", folder / "uv")
        _run(_python(folder / "uv"), "-m", "pip", "install", "--quiet", "uv")
        uv = str(_python(folder / "uv").with_name("uv"))
    _run(uv, "build", "--out-dir", folder / "dist", ROOT)
    sdist, wheel = _built(folder / "dist")
    _run(uv, "venv", "--python", sys.executable, folder / "new")
    _run(uv, "pip", "install", "--python", _python(folder / "new"), wheel)
    return sdist, wheel, _python(folder / "new")


def _by_hatchling(folder: Path) -> tuple[Path, Path, Path]:
    """Likewise, without a network: the new environment has the packages of this one beside the wheel."""
    hatchling = sys.executable, "-m", "hatchling", "build", "-d", folder / "dist"
    _run(*hatchling, "-t", "sdist", cwd=ROOT)
    with tarfile.open(next((folder / "dist").iterdir())) as archive:
        archive.extractall(folder / "source", filter="data")
    _run(*hatchling, "-t", "wheel", cwd=next((folder / "source").iterdir()))
    sdist, wheel = _built(folder / "dist")
    _run(sys.executable, "-m", "venv", "--without-pip", folder / "new")
    packages, here = (_run(python, "-c", PACKAGES) for python in (_python(folder / "new"), sys.executable))
    Path(packages, "packages.pth").write_text(here)  # where pip put no link to the source tree, unlike in this one
    _run(sys.executable, "-m", "pip", "--python", _python(folder / "new"), "install", "--no-deps", "--no-index", wheel)
    return sdist, wheel, _python(folder / "new")


def _python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _built(folder: Path) -> tuple[Path, Path]:
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def _compare(sdist: Path, wheel: Path) -> int:
    """The number of files in the sdist, which are those of git, as the wheel's are those of the package."""
    names = _run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    files = {name for name in names if name and not name.startswith(("template/", "copier.yml"))}
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()} - {"PKG-INFO"}
    in_wheel = {f"src/{name}" for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    for file, found, wanted in (
        (sdist, in_sdist, files),
        (wheel, in_wheel, {name for name in files if name.startswith("src/kindling/")}),
    ):
        if found != wanted:
            lacks, more = sorted(wanted - found), sorted(found - wanted)
            sys.exit(
                f"{file.name} lacks {lacks} and has {more} beside what git has: see [tool.hatch] in pyproject.toml"
            )
    return len(files)


def _try(python: Path, folder: Path, version: str) -> float:
    """The accuracy of a network that the installed program trained in an empty folder."""
    empty = folder / "empty"
    empty.mkdir()
    file = _run(python, "-c", "import kindling; print(kindling.__file__)", cwd=empty).strip()
    if not Path(file).is_relative_to(folder):
        sys.exit(f"kindling was imported from {file}, not from the wheel")
    out = [_run(python.with_name("kindling"), *command.split(), cwd=empty) for command in COMMANDS]
    if out[0] != f"kindling {version}\n":
        sys.exit(f"kindling --version says {out[0]}")
    run = empty / "lightning_logs/version_0"
    predicted = (run / "predictions.csv").read_text(encoding="utf-8").splitlines()
    if len(predicted) != 2 or "SimpleNet" not in out[2]:
        sys.exit("the wheel's list or its predictions are not as they should be")
    return float(json.loads((run / "test.json").read_text(encoding="utf-8"))["test/acc"])


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    """What a program prints; it has to end well, and sees nothing of this environment."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--offline"]):
        sys.exit(__doc__)
    main(offline="--offline" in sys.argv)
