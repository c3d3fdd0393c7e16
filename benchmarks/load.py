"""Asks a server as fast as it answers: ``python -m benchmarks.load PORT CLIENTS SECONDS REQUEST``.

Each client has a connection of its own, which stays open, and sends the bytes of the file REQUEST again as soon as its
answer is whole. Prints JSON. Against a server that answers at once with a constant it gets some 30,000 requests/s on
one core, so that it is not what limits a server in Python.
"""

import asyncio
import json
import sys
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Any

import uvloop

WARM_UP = 0.3  # of the seconds, which are not counted


class Client(asyncio.Protocol):
    """One connection; ``gone`` tells why it ended before its time."""

    def __init__(self, request: bytes, times: list[tuple[float, float]]) -> None:
        self._request, self._times = request, times
        self._answer = b""
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._ask()

    def _ask(self) -> None:
        self._sent = perf_counter()
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        answer = self._answer = self._answer + data
        head, separator, body = answer.partition(b"\r\n\r\n")
        if not separator or len(body) < length_of(head):
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            self.gone.set_exception(RuntimeError(answer.decode()))
            self.transport.close()
            return
        self._answer = b""
        now = perf_counter()
        self._times.append((now, now - self._sent))
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_exception(error or RuntimeError("the server closed a connection"))


def length_of(head: bytes) -> int:
    """Bytes of the body that follows the head of an answer."""
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])


async def load(port: int, clients: int, seconds: float, request: bytes) -> dict[str, Any]:
    """Requests per second, and the median and the 99th percentile of their milliseconds.

    Raises:
        RuntimeError: An answer was not 200, or there was none.
    """
    times: list[tuple[float, float]] = []
    loop = asyncio.get_running_loop()
    begun = perf_counter()
    connected = [
        (await loop.create_connection(lambda: Client(request, times), "127.0.0.1", port))[1] for _ in range(clients)
    ]
    ended, _ = await asyncio.wait([client.gone for client in connected], timeout=seconds, return_when="FIRST_EXCEPTION")
    for gone in ended:
        gone.result()
    counted = [took * 1e3 for when, took in times if when > begun + WARM_UP * seconds]
    cuts = quantiles(counted, n=100)
    for client in connected:
        client.gone.cancel()
        client.transport.abort()
    return {"rate": len(counted) / (seconds * (1 - WARM_UP)), "p50": cuts[49], "p99": cuts[98]}


if __name__ == "__main__":
    port, clients, seconds, request = sys.argv[1:]
    found = uvloop.run(load(int(port), int(clients), float(seconds), Path(request).read_bytes()))
    print(json.dumps(found))
