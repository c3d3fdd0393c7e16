"""Sockets and signals: listens before anything is loaded, and ends when it is asked to, with what it began answered."""

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kindling.errors import ENDING_SIGNALS, Stopped, UsageError

HEAD_SECONDS, HEAD_BYTES = 10, 64 * 1024  # that a request's first line and headers may take
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
BACKLOG = 2048  # connections that wait until the server is up, or has time for them
KEEP_ALIVE = 65  # seconds between two requests on a connection; load balancers drop theirs after 60
SAME = 0.5  # seconds: ``timeout`` sends its signal to the process, and to its group at once
ADDRESSES = "give 127.0.0.1 for this machine alone, or 0.0.0.0 for all of its networks"


def listen(host: str, port: int) -> socket.socket:
    """A socket on which clients can connect from now on.

    Args:
        port: 0: any that is free.

    Raises:
        UsageError: The address can't be used.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}: give a number from 1 to 65535")
    if not host:  # Python would take any address of this machine
        raise UsageError(f"--host is empty: {ADDRESSES}")
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if sys.platform == "win32":  # where the other option would let two programs listen on one port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # so soon after an earlier server
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except (OSError, ValueError, TypeError) as error:
        sock.close()
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.EADDRINUSE:
            other = port + 1 if port < 65535 else 8000
            what = f"--port {port} is taken on {host}: end the program that listens there, or add e.g. --port {other}"
        elif number == errno.EACCES:
            what = f"--port {port} is for administrators: add e.g. --port 8000"
        else:
            what = f"--host {host} can't be used ({getattr(error, 'strerror', error)}): {ADDRESSES}"
        raise UsageError(what) from None
    return sock


def serve(app: Any, sock: socket.socket, grace: float) -> None:
    """Answer requests until a signal comes; ``request.state.stopping`` tells the app that one has.

    Args:
        app: ASGI.
        grace: Seconds that requests under way have to be answered; then they are answered 503.

    Raises:
        Stopped: A signal came.
    """
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of each damaged upload
    config = uvicorn.Config(
        app,
        http=_Connection,
        loop="auto",  # uvloop, or where there is none, as on Windows, asyncio's own
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=max(grace - 1, grace / 2),  # type: ignore[arg-type]  # parts of a second will do
    )
    server = _Server(config, grace)
    server.run([sock])
    if server.signal:
        raise Stopped(128 + server.signal, f"stopped by {signal.Signals(server.signal).name}")


class _Server(uvicorn.Server):
    """Ends the process itself where the app does not end in time, or a second signal comes."""

    def __init__(self, config: uvicorn.Config, grace: float) -> None:
        super().__init__(config)
        self._grace, self._since = grace, 0.0
        self.signal = 0  # that came first

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.lifespan.state["stopping"] = False
        await super().startup(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn's own sends them again at the end, which would end the process before it can say so."""
        before = {number: signal.signal(number, self.handle_exit) for number in ENDING_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.signal:
            self.signal, self._since, self.should_exit = sig, time.monotonic(), True
            if self.started:
                self.lifespan.state["stopping"] = True
            deadline = threading.Timer(self._grace, _end, [sig])
            deadline.daemon = True
            deadline.start()  # never cancelled: Python waits at its end for threads that still work
        elif time.monotonic() - self._since > SAME:
            _end(sig)


def _end(number: int) -> None:
    os.write(2, f"kindling: stopped by {signal.Signals(number).name}, with requests unanswered\n".encode())
    os._exit(128 + number)


class _Connection(HttpToolsProtocol):
    """Closes a connection on which the head of a request does not come in time, or has no end."""

    _late: asyncio.TimerHandle | None = None
    _head: int | None = None  # bytes so far of a head under way

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        if self._late is None and (self.cycle is None or self.cycle.response_complete):
            self._wait()
        super().data_received(data)
        if self._head is not None:
            self._head += len(data)
            if self._head > HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        self._head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head = None
        self._in_time()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _in_time(self) -> None:
        if self._late:
            self._late.cancel()
            self._late = None
