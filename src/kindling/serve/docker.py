"""``serve --docker``: what ``docker build`` needs for an image that serves one exported network, without torch."""

import shutil
import sys
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import kindling
from kindling.errors import RunError, UsageError
from kindling.runs import atomic

MODEL = ("model.onnx", "preprocessing.json", "MODEL_CARD.md")
PACKAGES = (  # what  serve --export  imports; with all that these need in turn
    *("fastapi", "filelock", "httptools", "jsonargparse[signatures]", "numpy", "onnxruntime", "pandas", "pillow"),
    *("prometheus-client", "python-multipart", "pyyaml", "uvicorn", "uvloop"),
)
LINUX = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}  # the image, wherever we are now
COMMAND = '"python", "-m", "kindling", "serve", "--export", "/model", "--host", "0.0.0.0"'
HEALTHY = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=2)"
DOCKERFILE = f"""\
FROM python:{sys.version_info.major}.{sys.version_info.minor}-slim
ENV PYTHONPATH=/app PYTHONUNBUFFERED=1
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --root-user-action=ignore -r requirements.txt
COPY kindling kindling
COPY {" ".join(MODEL)} /model/
RUN python -m compileall -q kindling && chmod -R a+rX /app /model
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=20s CMD ["python", "-c", "{HEALTHY}"]
CMD [{COMMAND}]
"""
COMPOSE = f"""\
services:
  kindling:
    build: .
    ports: ["127.0.0.1:8000:8000"]  # without 127.0.0.1 every machine that reaches this one can ask
    init: true  # passes signals on
    read_only: true
    tmpfs: [/tmp]  # large uploads, while they are read
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    restart: unless-stopped
    stop_grace_period: 15s  # the server takes up to 10 to answer what was begun
    # With a key, which clients send as  Authorization: Bearer KEY
    # environment: [API_KEY]
    # command: [{COMMAND}, "--api_key", "env:API_KEY"]
"""


def write(folder: Path) -> list[str]:
    """Write a Dockerfile, a compose file, and what they name, beside an exported network.

    Returns:
        What to tell the user.

    Raises:
        RunError: The network is not there as ONNX.
        UsageError: A package that the image needs is not installed here, so that its version is not known.
    """
    if missing := [name for name in MODEL if not (folder / name).is_file()]:
        raise RunError(f"{folder} has no {missing[0]}, which the image needs: export the network with --format onnx")
    files = {
        "Dockerfile": DOCKERFILE,
        "compose.yaml": COMPOSE,
        "requirements.txt": "".join(f"{line}\n" for line in requirements()),
        ".dockerignore": "".join(
            f"{line}\n" for line in ("*", "!requirements.txt", "!kindling", *map("!{}".format, MODEL))
        ),
    }
    with TemporaryDirectory(prefix=".part-", dir=folder) as temporary:
        part = Path(temporary)
        source = Path(str(kindling.__file__)).parent
        shutil.copytree(source, part / "kindling", ignore=shutil.ignore_patterns("__pycache__"))
        for name, text in files.items():
            (part / name).write_text(text, encoding="utf-8", newline="\n")
        if (folder / "kindling").exists():
            (folder / "kindling").rename(part / "before")
        for new in ("kindling", *files):
            atomic.replace(part / new, folder / new)
    return [
        f"image without torch, for a user without rights -> {folder / 'Dockerfile'}",
        f"the versions installed here -> {folder / 'requirements.txt'}",
        f"read-only, at 127.0.0.1:8000 alone -> {folder / 'compose.yaml'}",
        f"Next: docker compose -f {folder / 'compose.yaml'} up",
    ]


def requirements() -> list[str]:
    """``name==version`` of each package that serving needs, as installed here.

    Raises:
        UsageError: One is not installed.
    """
    found: dict[str, str] = {}
    seen: set[str] = set()
    open_ = [Requirement(name) for name in PACKAGES]
    while open_:
        needed = open_.pop()
        if str(needed) in seen:
            continue
        seen.add(str(needed))
        try:
            package = metadata.distribution(needed.name)
        except metadata.PackageNotFoundError as error:
            raise UsageError(f"--docker needs {needed.name}, to know its version: pip install -e '.[serve]'") from error
        found[canonicalize_name(needed.name)] = package.version.partition("+")[0]
        for line in package.requires or ():
            one = Requirement(line)
            if not one.marker or any(one.marker.evaluate({**LINUX, "extra": e}) for e in ("", *needed.extras)):
                open_.append(one)
    return [f"{name}=={version}" for name, version in sorted(found.items())]
