"""The command ``serve``: from a checkpoint or an exported folder to a server."""

import json
import os
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from kindling.cli import commands, process
from kindling.cli.arguments import Request, dotted
from kindling.console import waiting
from kindling.errors import RunError, UsageError
from kindling.project import current
from kindling.runs.find import Checkpoint
from kindling.startup import quick_imports

OWN = commands.own_options("serve")
NEEDED = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")
# what a process runs that serves after another has exported: the same command, without the torch that was imported
AGAIN = "import sys; sys.argv[0] = {called!r}; from kindling.cli import script; script(name={name!r})"


def run(request: Request, checkpoint: Checkpoint | None, own: dict[str, Any]) -> None:
    """Carry out the command.

    Args:
        own: The options of ``serve`` itself.

    Raises:
        KindlingError: The user has something to mend.
        Stopped: A signal ended it.
    """
    _check(own)
    others = [option.key for option in request.options if option.key not in (*OWN, "ckpt_path", "model")]
    others += [key for config in request.configs for key, _ in dotted(config) if key not in OWN]
    if "print_config" in others:
        raise UsageError("--print_config: serve takes the options of the export: type it with export")
    if others and checkpoint is None:
        raise UsageError(f"--{others[0]}: --export names what is served as it is: leave it out")
    if not own["docker"]:
        from kindling.serve import server

        server.listen(own["host"], own["port"]).close()  # before an export that may take long
    folder = Path(own["export"] or "")
    has_exported = False
    if checkpoint is not None:
        folder = checkpoint.run.folder / "export"
        if others or not _is_up_to_date(folder, checkpoint):
            _export(request, checkpoint)
            has_exported = True
    if own["docker"]:
        from kindling.serve import docker

        for line in docker.write(folder):
            print(line)
        return
    if has_exported:
        _serve_anew(folder, own)
    _serve(folder, own)


def _check(own: dict[str, Any]) -> None:
    """
    Raises:
        UsageError: An option is out of its range, or packages are missing.
    """
    for name, least in (("max_batch", 1), ("max_wait_ms", 0), ("grace", 0)):
        if not own[name] >= least:
            raise UsageError(f"--{name} {own[name]}: should be at least {least}")
    if own["max_body"] is not None and not 0 < own["max_body"] <= 10_000:
        raise UsageError(f"--max_body {own['max_body']}: should be above 0 and at most 10,000 MB")
    if own["docker"]:
        return
    if missing := [package for package in NEEDED if find_spec(package) is None]:
        raise UsageError(f"serve needs {', '.join(missing)}: pip install -e '.[serve]'")


def _is_up_to_date(folder: Path, checkpoint: Checkpoint) -> bool:
    """Whether a folder holds the network of this checkpoint, as it is now."""
    from kindling.serve.exported import describe, network_file

    file = network_file(folder)
    if file is None or file.stat().st_mtime < checkpoint.file.stat().st_mtime:
        return False
    try:
        described = describe(folder)
    except RunError:
        return False  # it is written anew
    return Path(described["checkpoint"]["file"]).resolve() == checkpoint.file.resolve()


def _export(request: Request, checkpoint: Checkpoint) -> None:
    """Write the network as ONNX or, where that can't hold it, as torch's own file."""
    configs = tuple({key: value for key, value in one.items() if key not in OWN} for one in request.configs)
    options = tuple(option for option in request.options if option.key not in OWN)
    as_export = replace(request, command="export", options=options, configs=configs)
    program = process.program()
    with waiting("Importing torch and Lightning"), quick_imports():
        from kindling.cli.run import run as carry_out
        from kindling.export.write import NotWritten
        from kindling.training import evaluate
    write = partial(carry_out, as_export, checkpoint, program)
    try:
        write(lambda job: evaluate.export(job, "onnx"))
    except NotWritten as error:
        print(f"{error}; so it is written as pt2, which needs torch to be served", flush=True)
        write(lambda job: evaluate.export(job, "pt2"))
        (checkpoint.run.folder / "export/model.onnx").unlink(missing_ok=True)  # of older weights, but served first


def _serve_anew(folder: Path, own: dict[str, Any]) -> NoReturn:
    """Serve in a process that has not imported torch, in place of this one."""
    given = {**own, "export": folder, "docker": None}
    options = [f"--{name}={value}" for name, value in given.items() if value is not None]
    command = [sys.executable, "-c", AGAIN.format(called=sys.argv[0], name=current().name), "serve", *options]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # what can be imported here can be there
    sys.stdout.flush()
    if sys.platform == "win32":  # where exec ends the process that the shell waits for
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the server as well, which ends with it
        raise SystemExit(subprocess.call(command))
    os.execv(sys.executable, command)


def _serve(folder: Path, own: dict[str, Any]) -> None:
    with waiting("Loading the network"):
        from kindling.serve import server
        from kindling.serve.app import Settings, make_app
        from kindling.serve.exported import Exported

        key = _api_key(own["api_key"])
        exported = Exported.read(folder)
        settings = Settings(own["max_batch"], own["max_wait_ms"], own["max_body"], key, own["cors"])
        app = make_app(exported, settings)
        sock = server.listen(own["host"], own["port"])
    host, port = own["host"], sock.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    print(f"{exported.title} ({exported.file}) answers at http://{shown}:{port}  (Ctrl-C ends it)")
    if host not in ("127.0.0.1", "localhost", "::1"):
        locked = "who has the key" if key else "without a key (see --api_key)"
        print(f"--host {host}: every machine that reaches this one can ask, {locked}; nothing is encrypted")
    address = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else shown}:{port}"
    print(f"Try: {_curl(address, exported, bool(key))}", flush=True)
    server.serve(app, sock, own["grace"])


def _curl(address: str, exported: Any, has_key: bool) -> str:
    described = exported.description["input"]
    key = "-H 'Authorization: Bearer KEY' " if has_key else ""
    if "image" in described:
        return f"curl {key}-F image=@PHOTO.jpg {address}/predict"
    if "fields" not in described:
        return f"curl {address}/docs"
    row = json.dumps({one["name"]: one["example"] for one in described["fields"]}, ensure_ascii=False)
    return f"curl {key}-H 'Content-Type: application/json' -d {shlex.quote(row)} {address}/predict"


def _api_key(given: str | None) -> str | None:
    """
    Raises:
        UsageError: There is no such file or variable, or it is empty.
    """
    if given is None:
        return None
    if given.startswith("env:"):
        key, where = os.environ.get(given[4:], ""), f"the variable {given[4:]}"
    else:
        try:
            key, where = Path(given).read_text(encoding="utf-8"), f"the file {given}"
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "no text"
            raise UsageError(
                f"--api_key names a file that holds the key, or env:NAME for a variable; the file can't be read ({why})"
            ) from error  # not shown: it may be the key itself
    if not key.strip():
        raise UsageError(f"--api_key: {where} is empty or not set: put the key there")
    return key.strip()
