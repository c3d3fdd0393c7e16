"""``serve`` answers at least twice as many requests as a FastAPI handler by hand, and a lone one within 3 ms.

The handler, in ``handwritten_server.py``, is what people write around a torch module. It has the same weights, and runs
under uvicorn with the same packages. Both servers are processes of their own, and a third one, ``load.py``, asks them
in alternation: a row as JSON for SimpleNet, a PNG of 28x28 as an upload for Net. Before that, their answers to it are
compared. The bare ONNX session is called in a loop, one sample a call.

Start-up is from the start of ``serve --export`` to its first answer; memory is what is resident then.
"""

import io
import json
import math
import os
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.measure import PROJECT, Result, Target, kindling, newest_run, plain_weights, present, workplace
from kindling.export import check

CLIENTS = (64, 8, 1)
FIT = {"SimpleNet": ("--data.standardize", "false"), "Net": ("--trainer.limit_train_batches", "100")}
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'src'}"}


@dataclass
class Server:
    """
    Args:
        startup: Seconds.
        memory: MB.
        answer: The first one.
    """

    pid: int
    port: int
    startup: float
    memory: float
    answer: Any


def measure(repeats: int = 3, seconds: float = 4) -> list[Result]:
    results: list[Result] = []
    with workplace() as root:
        for network in FIT:
            export(network, root)
            results += compare(network, repeats, seconds)
    return results


def export(network: str, root: str) -> None:
    """Train for one epoch, and export.

    Args:
        root: Where FashionMNIST lies.
    """
    data = ("--data.root", root) if network == "Net" else ()
    kindling("fit", "--model", network, "--trainer.max_epochs", "1", *FIT[network], *data)
    kindling("export", "--ckpt_path", "best", "--format", "onnx")


def compare(network: str, repeats: int, seconds: float) -> list[Result]:
    """The newest run, as its export and as its weights."""
    folder = newest_run() / "export"
    torch.save(plain_weights(), "plain.pt")
    request = request_of(network)
    serve = (str(PROJECT / "scripts" / "main.py"), "serve", "--export", str(folder), "--port")
    by_hand = ("-m", "benchmarks.handwritten_server", network, "plain.pt")
    ours, plain = Figures(list), Figures(list)
    for _ in range(repeats):
        with started(request, *serve) as our_server, started(request, *by_hand) as plain_server:
            check_same_answer(our_server.answer, plain_server.answer)
            for clients in CLIENTS:
                for figures, server in ((ours, our_server), (plain, plain_server)):
                    for name, value in load(server.port, clients, seconds, request).items():
                        figures[f"{name} {clients}"].append(value)
            for figures, server in ((ours, our_server), (plain, plain_server)):
                figures["startup"].append(server.startup)
                figures["memory"].append(server.memory)
            plain["bare"].append(calls_per_second(folder, seconds))

    def latency(clients: int) -> str:
        p50, p99 = (
            " / ".join(f"{median(side[f'{name} {clients}']):.3g}" for side in (ours, plain)) for name in ("p50", "p99")
        )
        return f"p50 {p50}, p99 {p99} ms"

    def row(what: str, unit: str, name: str, target: Target | None = None, note: str = "") -> Result:
        return Result(f"{network}, serve, {what} / by hand", unit, ours[name], plain[name], target, note)

    bare = f"{network}, serve, 64 clients / the bare ONNX session in a loop"
    process = [
        row("start until the first answer", "s", "startup", Target("<=", 2, "ours")),
        row("memory at the first answer", "MB", "memory", Target("<=", 250, "ours")),
    ]
    return [
        row("64 clients", "requests/s", "rate 64", Target(">=", 2), latency(64)),
        row("8 clients", "requests/s", "rate 8", None, latency(8)),
        row("1 client", "requests/s", "rate 1", None, latency(1)),
        row("p50 of 1 client", "ms", "p50 1", Target("<=", 3, "ours")),
        Result(bare, "samples/s", ours["rate 64"], plain["bare"]),
        *(process if network == "SimpleNet" else ()),  # Net's are the same
    ]


Figures = defaultdict[str, list[float]]  # of one server, one for each round


def request_of(network: str) -> bytes:
    """Head and body, which both servers take."""
    if network == "SimpleNet":
        return with_body(json.dumps({"price": 5.5, "rating": 3.0}).encode())
    return upload(png(np.random.default_rng(0).integers(0, 256, (28, 28))))


def with_body(body: bytes, kind: str = "application/json") -> bytes:
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def upload(file: bytes) -> bytes:
    part = b'--limit\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
    part += b"Content-Type: image/png\r\n\r\n"
    return with_body(part + file + b"\r\n--limit--\r\n", "multipart/form-data; boundary=limit")


def png(pixels: NDArray[Any]) -> bytes:
    """A file of grey pixels (H, W)."""
    Image.fromarray(pixels.astype(np.uint8)).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


@contextmanager
def started(request: bytes, *command: str) -> Iterator[Server]:
    """A server that answers; the number of its port is added to ``command``.

    Raises:
        RuntimeError: It ended.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = Path(f"{port}.log")
    begun = time.perf_counter()
    with log.open("w", encoding="utf-8") as file:
        running = subprocess.Popen([sys.executable, *command, str(port)], env=ENVIRONMENT, stdout=file, stderr=file)
    try:
        answer = None
        while answer is None:
            if running.poll() is not None:
                raise RuntimeError(log.read_text(encoding="utf-8"))
            time.sleep(0.01)
            answer = ask(port, request)
        startup = time.perf_counter() - begun
        yield Server(running.pid, port, startup, resident(running.pid), answer)
    finally:
        running.terminate()
        running.wait()


def ask(port: int, request: bytes) -> Any:
    """The answer to one request, None where nobody listens.

    Raises:
        RuntimeError: It is refused.
    """
    with socket.socket() as sock:
        if sock.connect_ex(("127.0.0.1", port)):
            return None
        sock.sendall(request)
        with HTTPResponse(sock) as answer:
            answer.begin()
            body = answer.read()
    if answer.status != 200:
        raise RuntimeError(body.decode())
    found = json.loads(body)
    return found[0] if isinstance(found, list) else found


def check_same_answer(ours: Any, plain: Any) -> None:
    """
    Raises:
        RuntimeError: They say something else.
    """
    names = [*plain["probabilities"]]
    near = all(math.isclose(ours["probabilities"][name], plain["probabilities"][name], abs_tol=1e-4) for name in names)
    if not near or ours["prediction"] != plain["prediction"]:
        raise RuntimeError(f"the servers answer differently: ours {ours}, by hand {plain}")


def load(port: int, clients: int, seconds: float, request: bytes) -> dict[str, float]:
    """Requests per second, and the milliseconds of their latency."""
    Path("request").write_bytes(request)
    command = [sys.executable, "-m", "benchmarks.load", str(port), str(clients), str(seconds), "request"]
    return json.loads(subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE).stdout)


def calls_per_second(folder: Path, seconds: float) -> float:
    """Of the network in an exported folder, with one sample a call."""
    described = json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))["input"]
    network, x = check.load(folder / "model.onnx"), np.ones((1, *described["shape"][1:]), described["dtype"])
    begun, calls = time.perf_counter(), 0
    while time.perf_counter() < begun + seconds:
        network(x)
        calls += 1
    return calls / seconds


def resident(pid: int) -> float:
    """MB of memory that a process has now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    present(measure)
