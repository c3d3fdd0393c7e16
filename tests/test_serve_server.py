"""The server around the app: sockets, signals, limits, keys and metrics."""

import asyncio
import http.client
import json
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from conftest import ROOT

from kindling.errors import UsageError
from kindling.serve import guard, server
from kindling.serve.guard import Guard, Message, Receive, Send
from kindling.serve.metrics import Metrics

# Answers after as many seconds as the path says, with the size of the body.
PROGRAM = """
import asyncio, sys, time
from concurrent.futures import ThreadPoolExecutor
from kindling.cli import process
from kindling.serve import server
from kindling.serve.guard import Guard
from kindling.serve.metrics import Metrics

POOL = ThreadPoolExecutor(1)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for stage in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{stage}.complete"})
        return
    body = (await receive())["body"]
    print("begun", flush=True)
    what, _, seconds = scope["path"][1:].partition("/")
    if what == "fail":
        raise ValueError("a secret")
    if what == "thread":
        asyncio.get_running_loop().run_in_executor(POOL, time.sleep, float(seconds))
    elif what == "block":
        time.sleep(float(seconds))
    else:
        await asyncio.sleep(float(seconds))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d %d" % (len(body), scope["state"]["stopping"])})

def main():
    sock = server.listen("127.0.0.1", 0)
    print(sock.getsockname()[1], flush=True)
    server.HEAD_SECONDS, server.KEEP_ALIVE = 0.5, 20
    server.serve(Guard(app, max_body=100_000, metrics=Metrics()), sock, float(sys.argv[1]))
    return 0

sys.exit(process.exit_code(main))
"""


class Server:
    """A process that serves, and one connection to it."""

    def __init__(self, argument: object = 5, program: str = PROGRAM) -> None:
        command = [sys.executable, "-c", program, str(argument)]
        environment = {"PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "error"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, text=True, env=environment, stdout=pipe, stderr=pipe)
        self.connections: list[socket.socket] = []
        self.port = int(self.line())

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def connect(self, data: bytes = b"") -> socket.socket:
        connection = socket.socket()
        self.connections.append(connection)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", self.port))
        connection.sendall(data)
        return connection

    def ask(self, path: str) -> socket.socket:
        """Send a request, and wait until the app has it."""
        connection = self.connect(b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello" % path.encode())
        assert self.line() == "begun"
        return connection

    def ends(self, *signals: int) -> tuple[int, str, float]:
        """Send signals; returns the exit code, what was said, and how long it took."""
        start = time.monotonic()
        for number in signals:
            self.process.send_signal(number)
            if len(signals) > 1:
                time.sleep(server.SAME + 0.1)
        _, err = self.process.communicate(timeout=20)
        return self.process.returncode, err, time.monotonic() - start


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def begin(*args: Any) -> Server:
        servers.append(Server(*args))
        return servers[-1]

    yield begin
    for one in servers:
        one.process.kill()
        one.process.communicate()
        for connection in one.connections:
            connection.close()


def answer(connection: socket.socket) -> tuple[int, str, bytes]:
    """Status, what becomes of the connection, and the body."""
    with http.client.HTTPResponse(connection) as response:
        response.begin()
        return response.status, response.getheader("connection", ""), response.read()


@pytest.mark.first_by_default
@pytest.mark.parametrize(("number", "code", "name"), [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "SIGINT")])
def test_a_request_under_way_is_answered_before_the_server_ends(
    start: Callable[..., Server], number: int, code: int, name: str
) -> None:
    """Connections that wait for a next request, or for the rest of its head, are closed at once."""
    running = start()
    idle = running.ask("/sleep/0")
    assert answer(idle) == (200, "", b"5 0")
    half = running.connect(b"POST /sleep/0 HTTP/1.1\r\nho")
    under_way = running.ask("/sleep/0.3")
    assert running.ends(number)[:2] == (code, f"kindling: stopped by {name}\n")
    assert answer(under_way) == (200, "close", b"5 0")
    assert idle.recv(1) == half.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        running.connect()


@pytest.mark.slow
def test_nothing_keeps_the_server_longer_than_its_grace(start: Callable[..., Server]) -> None:
    running = start(1)
    forever = running.ask("/sleep/100")
    no_body = running.connect(b"POST /sleep/0 HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf")
    time.sleep(0.1)
    code, _, seconds = running.ends(signal.SIGTERM)
    assert code == 143
    assert seconds < 4
    for connection in (forever, no_body):
        status, after, body = answer(connection)
        assert (status, after) == (503, "close")
        assert "shutting down" in json.loads(body)["detail"]

    for busy in ("block", "thread"):  # nor does an app that lets nobody else do anything, or a thread that goes on
        running = start(1)
        running.ask(f"/{busy}/100")
        code, err, seconds = running.ends(signal.SIGINT)
        assert code == 130
        assert err.endswith("kindling: stopped by SIGINT, with requests unanswered\n")
        assert seconds < 4


@pytest.mark.slow
def test_a_second_signal_ends_the_server_at_once(start: Callable[..., Server]) -> None:
    running = start(20)
    running.ask("/sleep/100")
    code, err, seconds = running.ends(signal.SIGINT, signal.SIGINT)
    assert (code, err) == (130, "kindling: stopped by SIGINT, with requests unanswered\n")
    assert seconds < 10


@pytest.mark.slow
def test_slow_endless_and_failing_requests_are_answered(start: Callable[..., Server]) -> None:
    running = start()
    silent, half, blank = running.connect(), running.connect(b"POST /sleep"), running.connect(b"\r\n")
    for _ in range(3):
        time.sleep(0.1)
        blank.sendall(b"\r\n")
    assert silent.recv(1) == half.recv(1) == blank.recv(1) == b""  # closed: 0.5 s are over

    endless = running.connect(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 12_000)
    assert answer(endless)[:2] == (431, "close")

    for close in (b"", b"connection: close\r\n"):  # also for clients that send all before they read
        head = b"POST /sleep/0 HTTP/1.1\r\nhost: x\r\n%bcontent-length: 50000000\r\n\r\n" % close
        assert answer(running.connect(head + b"x" * 50_000_000))[0] == 413
    waits = running.connect(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 50000000\r\n\r\n")
    assert answer(waits)[:2] == (413, "close")
    assert answer(running.ask("/fail")) == (503, "", json.dumps({"detail": guard.UNAVAILABLE}).encode())
    code, err, _ = running.ends(signal.SIGTERM)
    assert code == 143
    assert err.startswith("kindling: POST '/fail' failed:\nTraceback")
    assert err.endswith("ValueError: a secret\n\nkindling: stopped by SIGTERM\n")


def test_an_address_that_cannot_be_used_is_one_line() -> None:
    with server.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"--port {port} is taken on 127\.0\.0\.1: .* --port {port + 1}"):
            server.listen("127.0.0.1", port)
    for host in ("", "a b", "a\0b", "x" * 100, "192.0.2.1"):
        with pytest.raises(UsageError, match=r"--host .*: give 127\.0\.0\.1 for this machine alone"):
            server.listen(host, 0)
    for port in (-1, 65536):
        with pytest.raises(UsageError, match=f"--port {port}: give a number from 1 to 65535"):
            server.listen("127.0.0.1", port)


def ask(
    app: Callable[[Message, Receive, Send], Awaitable[None]], *parts: bytes, path: str = "/predict", **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of what an ASGI app answers to a request, whose body comes in parts."""
    names = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST" if parts else "GET", "path": path, "headers": names, "query_string": b""}
    coming, sent = list(parts), []

    async def receive() -> Message:
        if not coming:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": coming.pop(0), "more_body": bool(coming)}

    async def send(message: Message) -> None:
        sent.append(message)

    async def answer() -> None:
        await app(scope, receive, send)

    asyncio.run(answer())
    head, *rest = sent
    body = b"".join(message["body"] for message in rest)
    return head["status"], {k.decode(): v.decode() for k, v in head["headers"]}, json.loads(body)


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    """Answers with the size of the body, or fails in the way that the path names."""
    if scope["path"] == "/fail":
        raise ValueError("a secret")
    if scope["path"] != "/nothing":
        size = len((await receive())["body"]) if scope["method"] == "POST" else 0
        status = 500 if scope["path"] == "/500" else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(size).encode()})


def test_a_body_that_is_too_large_is_refused_before_or_while_it_is_read() -> None:
    app = Guard(echo, max_body=10, metrics=Metrics())
    assert ask(app, b"12345", b"67890")[::2] == (200, 10)
    refused = (
        413,
        {"detail": "the body is larger than 10 bytes: send less at once, or start the server with a larger --max_body"},
    )
    assert ask(app, b"12345", b"67890", b"x")[::2] == refused
    for length in ("11", "-1", "1e1", "9" * 5000):
        assert ask(app, b"1", content_length=length)[::2] == refused
    assert app._held == 0


def test_the_key_is_asked_for_everywhere_but_on_the_page() -> None:
    metrics = Metrics()
    app = Guard(echo, max_body=10, api_key="Schlüssel", metrics=metrics)
    for path in ("/", "/health"):
        assert ask(app, path=path)[0] == 200
    for path in ("/predict", "/model", "/metrics", "/docs", "/openapi.json", "/nothing/such"):
        status, headers, body = ask(app, path=path)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert "Authorization: Bearer KEY" in body["detail"]
    for wrong in ({"authorization": "Bearer Schlussel"}, {"x_api_key": ""}, {"authorization": "Bearer "}):
        assert ask(app, b"1", **wrong)[::2] == (
            401,
            {"detail": "the API key is not this server's: ask whoever started it"},
        )
    assert ask(app, b"1", authorization="Basic Schlüssel")[0] == 401
    for right in ({"authorization": "bearer Schlüssel"}, {"x_api_key": "Schlüssel"}):
        assert ask(app, b"1", **right)[::2] == (200, 1)


def test_what_nobody_foresaw_is_503_and_its_traceback_is_in_the_log_alone(capsys: pytest.CaptureFixture[str]) -> None:
    app = Guard(echo, max_body=10, metrics=Metrics())
    for path, error in (("/fail", "ValueError: a secret"), ("/500", "status 500"), ("/nothing", "no answer")):
        assert ask(app, b"1", path=path)[::2] == (503, {"detail": guard.UNAVAILABLE})
        assert error in capsys.readouterr().err


def test_every_answer_says_how_browsers_may_use_it() -> None:
    app = Guard(echo, max_body=10, metrics=Metrics())
    safe = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
    assert ask(app, path="/model")[1] == safe
    assert ask(app, b"1")[1] == {**safe, "cache-control": "no-store"}


def test_metrics_count_requests_batches_and_drift_and_grow_with_no_client() -> None:
    metrics = Metrics(network="SimpleNet", version="0.1.0")
    app = Guard(echo, max_body=10, metrics=metrics)
    ask(app, b"1")
    ask(app, b"12345678901")
    for number in range(1000):
        ask(app, path=f"/admin{number}.php")
    metrics.batch(3)
    metrics.rows(5)
    metrics.drift("price", "outside", 2)
    text = metrics.text().decode()
    for line in (
        'kindling_requests_total{route="/predict",status="200"} 1.0',
        'kindling_requests_total{route="/predict",status="413"} 1.0',
        'kindling_requests_total{route="other",status="200"} 1000.0',
        'kindling_request_duration_seconds_bucket{le="0.1",route="/predict"} 2.0',
        "kindling_requests_in_progress 0.0",
        'kindling_batch_size_bucket{le="4.0"} 1.0',
        'kindling_batch_size_bucket{le="2.0"} 0.0',
        "kindling_rows_total 5.0",
        'kindling_drift_total{column="price",kind="outside"} 2.0',
        'kindling_model_info{network="SimpleNet",version="0.1.0"} 1.0',
    ):
        assert f"{line}\n" in text, line
    assert len(text.splitlines()) < 120
    assert f"process_max_fds {float(resource.getrlimit(resource.RLIMIT_NOFILE)[0])}\n" in text
