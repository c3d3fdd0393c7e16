"""Commands in processes of their own, which start in an instant: forked off one that has imported everything."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO

import tiny  # noqa: F401  # each process has the tests' own network
from lightning.pytorch.utilities import rank_zero_only

from kindling.cli import main

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["kindling.cli.run", "kindling.cli.trial"])


def start(
    *args: str,
    output: str = "output.txt",
    environment: Mapping[str, str] | None = None,
    first: Callable[[], object] | None = None,
) -> BaseProcess:
    """Run a command in this folder; what it prints goes into a file. ``first`` is called in its process before."""
    process = CONTEXT.Process(target=_run, args=(args, str(Path.cwd()), output, dict(environment or {}), first))
    process.start()
    return process


def start_several(count: int, *args: str, first: Callable[[], object] | None = None) -> list[BaseProcess]:
    """Run a command in as many processes, as torchrun does."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count), "TORCHELASTIC_RUN_ID": "test"}
    common |= {"LOCAL_WORLD_SIZE": str(count), "GROUP_RANK": "0", "TORCHELASTIC_USE_AGENT_STORE": "False"}
    return [
        start(*args, output=f"output{rank}.txt", environment=common | {"RANK": rank, "LOCAL_RANK": rank}, first=first)
        for rank in map(str, range(count))
    ]


def finish(*processes: BaseProcess) -> list[int | None]:
    """Their exit codes; minus the signal's number where a signal ended one."""
    for process in processes:
        process.join(120)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"a command hangs: {[f.read_text() for f in Path().glob('output*.txt')]}")
    return [process.exitcode for process in processes]


def wait_for(happened: Callable[[], object], process: BaseProcess) -> None:
    limit = time.monotonic() + 60
    while not happened():
        if not process.is_alive() or time.monotonic() > limit:
            raise TimeoutError([f.read_text() for f in Path().glob("output*.txt")])
        time.sleep(0.002)


def _run(
    args: tuple[str, ...], folder: str, output: str, environment: dict[str, str], first: Callable[[], object] | None
) -> None:
    os.chdir(folder)
    os.environ.pop("PL_GLOBAL_SEED", None)
    os.environ.update(environment)
    rank_zero_only.rank = int(environment.get("RANK", 0))  # type: ignore[attr-defined]  # which Lightning looks up when it is imported
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which the fork server ignores
    sys.argv = ["scripts/main.py"]
    with open(output, "w", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):  # noqa: PTH123
        if first is not None:
            first()
        sys.exit(main(list(args)))


class Forked:
    """What ``subprocess.Popen`` is to a sweep's worker, for one that starts in an instant."""

    def __init__(self, args: list[str], *, stderr: IO[str], **_: object) -> None:
        (child_in, told), (said, child_out) = CONTEXT.Pipe(duplex=False), CONTEXT.Pipe(duplex=False)
        self._process = CONTEXT.Process(target=_work, args=(args[2], child_in, child_out, stderr.name, str(Path.cwd())))
        self._process.start()
        self.stdin = os.fdopen(os.dup(told.fileno()), "w", encoding="utf-8")
        self.stdout = os.fdopen(os.dup(said.fileno()), encoding="utf-8")
        for end in (child_in, child_out, told, said):
            end.close()
        self.pid, self.terminate, self.kill = self._process.pid, self._process.terminate, self._process.kill

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("worker", timeout or 0)
        return self._process.exitcode


def _work(code: str, told: Connection, said: Connection, log: str, folder: str) -> None:
    os.chdir(folder)
    with Path(log).open("a") as file:
        for number, stream in ((0, told), (1, said), (2, file)):
            os.dup2(stream.fileno(), number)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", 1, encoding="utf-8", closefd=False) for n in (1, 2))
    exec(code, {})
