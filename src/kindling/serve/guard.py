"""What every request passes on its way in and out: the API key, limits of size and time, the last resort for errors."""

import asyncio
import hmac
import json
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from kindling.serve.metrics import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

ROUTES = {"/", "/docs", "/openapi.json", "/health", "/model", "/metrics", "/predict"}  # others are one in the metrics
WITHOUT_KEY = {"/", "/health", "/favicon.ico"}  # nothing of the network or the data
BODY_SECONDS, BYTES_PER_SECOND = 30, 50_000  # a body has that long, and a second more for so many bytes that came
DRAIN_SECONDS = 10  # that a client may still send a body that was refused
HELD = 256 * 2**20  # bytes of all bodies that are held at once
HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
NOT_STORED = [*HEADERS, (b"cache-control", b"no-store")]
CLOSE = (b"connection", b"close")  # last of the headers where no more of the body is read
DISCONNECTED = 499  # the status, in the metrics alone, of a request whose client has gone; nginx's number
UNAVAILABLE = "the server could not answer this request; its log says why. Other requests are not affected"
STOPPING = "the server is shutting down: ask again when it is back"


class Refused(Exception):  # noqa: N818
    """A request that is answered before the app sees it."""

    def __init__(self, status: int, detail: str, *headers: tuple[bytes, bytes]) -> None:
        self.status, self.detail, self.headers = status, detail, headers


class Guard:
    """ASGI middleware.

    Args:
        max_body: Bytes of a request's body; the app gets a body as a whole.
        api_key: Needed for all but ``WITHOUT_KEY``; None: for nothing.
    """

    def __init__(self, app: App, *, max_body: int, api_key: str | None = None, metrics: Metrics) -> None:
        self._app, self._max_body, self._metrics = app, max_body, metrics
        self._key = None if api_key is None else api_key.encode()
        self._held = 0  # bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, path, metrics = time.perf_counter(), scope["path"], self._metrics
        headers = NOT_STORED if path == "/predict" else HEADERS
        status = failed = held = 0

        async def answer(message: Message) -> None:
            nonlocal status, failed
            if message["type"] == "http.response.start":
                if message["status"] == 500:  # Starlette's own answer to an exception, which it raises afterwards
                    failed = True
                    return
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *headers]
            if not failed:
                await send(message)

        async def refuse(refused: Refused, has_body: bool = False) -> None:
            nonlocal failed
            failed = False
            body = json.dumps({"detail": refused.detail}).encode()
            own = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *refused.headers]
            await answer({"type": "http.response.start", "status": refused.status, "headers": own})
            await answer({"type": "http.response.body", "body": body, "more_body": has_body})
            if has_body:  # to be read all the same: closing a connection that still has some takes the answer back
                await _drain(receive)
                await answer({"type": "http.response.body", "body": b""})

        metrics.under_way += 1
        try:
            self._check(scope)
            if scope["method"] not in ("GET", "HEAD"):
                body = await self._read(receive)
                if body is None:
                    status = DISCONNECTED
                    return
                held = len(body)
                self._held += held
                receive = _again(body, receive)
            await self._app(scope, receive, answer)
            if not status:
                raise RuntimeError("the app gave no answer, or the status 500")
        except Refused as refused:
            await refuse(refused, has_body=refused.headers[-1:] != (CLOSE,))
        except asyncio.CancelledError:  # the time that the server had to shut down is over
            if status:
                raise
            await refuse(Refused(503, STOPPING))
        except Exception:
            # repr: a path may hold line breaks
            print(f"kindling: {scope['method']} {path!r} failed:", traceback.format_exc(), sep="\n", file=sys.stderr)
            if status:
                raise  # the server closes the connection, so that the client sees that the answer is no whole one
            await refuse(Refused(503, UNAVAILABLE))
        finally:
            self._held -= held
            metrics.under_way -= 1
            metrics.observe(path if path in ROUTES else "other", status, time.perf_counter() - start)

    def _check(self, scope: Message) -> None:
        """What the head of a request tells.

        Raises:
            Refused: The key is missing or wrong, or the body is too large.
        """
        key, length, expects = None, b"0", False
        for name, value in scope["headers"]:
            if name == b"content-length":
                length = value
            elif name == b"authorization" and value[:7].lower() == b"bearer ":
                key = value[7:].strip()
            elif name == b"x-api-key":
                key = value
            elif name == b"expect":
                expects = True
        close = [CLOSE] if expects else []  # the body will not come
        if self._key is not None and scope["path"] not in WITHOUT_KEY:
            if key is None:
                detail = "this server asks for its API key: add the header  Authorization: Bearer KEY"
                raise Refused(401, detail, (b"www-authenticate", b"Bearer"), *close)
            if not hmac.compare_digest(key, self._key):
                detail = "the API key is not this server's: ask whoever started it"
                raise Refused(401, detail, (b"www-authenticate", b"Bearer"), *close)
        if not (len(length) < 20 and length.isdigit() and int(length) <= self._max_body):
            raise self._too_large(*close)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body; None where the client has gone.

        Raises:
            Refused: It is too large or takes too long, or the server has too much to hold.
        """
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_SECONDS) as limit:
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    part = message.get("body", b"")
                    size += len(part)
                    self._held += len(part)
                    if size > self._max_body:
                        raise self._too_large()
                    if self._held > HELD + self._max_body:
                        raise Refused(
                            503, "the server has too many requests at once: ask again", (b"retry-after", b"1")
                        )
                    parts.append(part)
                    if not message.get("more_body", False):
                        return b"".join(parts)
                    limit.reschedule((limit.when() or 0.0) + len(part) / BYTES_PER_SECOND)
        except TimeoutError:
            detail = f"the body did not come within {BODY_SECONDS} s: send less, or over a faster connection"
            raise Refused(408, detail, CLOSE) from None
        finally:
            self._held -= size

    def _too_large(self, *headers: tuple[bytes, bytes]) -> Refused:
        detail = (
            f"the body is larger than {self._max_body:,} bytes: send less at once, or start the server with a larger"
            " --max_body"
        )
        return Refused(413, detail, *headers)


async def _drain(receive: Receive) -> None:
    with suppress(TimeoutError, asyncio.CancelledError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while (await receive()).get("more_body", False):
                pass


def _again(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives a body which was read already, and then what comes later: that the client has gone."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
