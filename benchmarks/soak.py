"""``serve`` for minutes on end, a tenth of the requests bad: ``python -m benchmarks.soak --minutes 5``.

Eight clients ask as fast as they are answered. No good request may be lost or answered wrong, each bad one has to get
its status, and memory at the end is within 5 % of that after the first minute (a fifth of the time, if that is less).
"""

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.load import length_of
from benchmarks.measure import PROJECT, newest_run, workplace
from benchmarks.serving import FIT, Server, export, png, resident, started, upload, with_body
from kindling.export import check

CLIENTS, BAD = 8, 0.1
GROWTH = 0.05  # of memory, at most
Good = tuple[bytes, list[float]]  # a request, and the probabilities of its answer
Bad = tuple[str, bytes, int]  # what is wrong, the request, and the status of its answer; 0: the client leaves before it


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--model", choices=FIT, default="SimpleNet")
    options = parser.parse_args(args)
    with workplace() as root:
        export(options.model, root)
        run(options.model, 60 * options.minutes)


def run(network: str, seconds: float) -> None:
    """Serve the newest run's export, and ask.

    Raises:
        RuntimeError: The server answered wrong, or its memory grew.
        OSError: It closed a connection; EOFError likewise.
    """
    folder = newest_run() / "export"
    good, bad = (rows if network == "SimpleNet" else images)(check.load(folder / "model.onnx"))
    with started(
        good[0][0], str(PROJECT / "scripts" / "main.py"), "serve", "--export", str(folder), "--port"
    ) as server:
        asyncio.run(soak(server, good, bad, seconds))


async def soak(server: Server, good: list[Good], bad: list[Bad], seconds: float) -> None:
    counts: Counter[str] = Counter()
    begun = time.perf_counter()
    clients = [asyncio.create_task(client(server.port, n, good, bad, begun + seconds, counts)) for n in range(CLIENTS)]
    await asyncio.sleep(min(60, seconds / 5))
    first = resident(server.pid)
    print(f"after {time.perf_counter() - begun:.0f} s: {first:.1f} MB, {counts.total():,} requests", flush=True)
    await asyncio.gather(*clients)
    last = resident(server.pid)
    print(f"after {time.perf_counter() - begun:.0f} s: {last:.1f} MB ({last / first - 1:+.1%}), as they should be:")
    print(", ".join(f"{what} {count:,}" for what, count in counts.most_common()))
    if last > first * (1 + GROWTH):
        raise RuntimeError(f"memory grew from {first:.1f} to {last:.1f} MB")


async def client(port: int, seed: int, good: list[Good], bad: list[Bad], end: float, counts: Counter[str]) -> None:
    draw = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < end:
        if draw.random() >= BAD:
            request, expected = draw.choice(good)
            writer.write(request)
            status, answer = await answer_of(reader)
            found = json.loads(answer)
            found = found[0] if isinstance(found, list) else found
            if status != 200 or not np.allclose([*found["probabilities"].values()], expected, rtol=0, atol=1e-6):
                raise RuntimeError(f"{request!r} was answered {status} {answer!r}, not {expected}")
            counts["answered"] += 1
            continue
        what, request, wanted = draw.choice(bad)
        if wanted in (0, 413):  # ends the connection, so it has one of its own
            own_reader, own_writer = await asyncio.open_connection("127.0.0.1", port)
            own_writer.write(request)
            status = (await answer_of(own_reader))[0] if wanted else 0
            own_writer.close()
        else:
            writer.write(request)
            status, answer = await answer_of(reader)
        if status != wanted:
            raise RuntimeError(f"{what} was answered {status}, not {wanted}")
        counts[what] += 1
    writer.close()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split()[1]), await reader.readexactly(length_of(head))


def rows(network: Callable[[Any], Any]) -> tuple[list[Good], list[Bad]]:
    draw = np.random.default_rng(0)
    x = np.stack([draw.uniform(1, 10, 500), draw.uniform(1, 5, 500)], axis=1).round(2)
    right = [json.dumps(dict(zip(("price", "rating"), row, strict=True))).encode() for row in x.tolist()]
    texts = {
        "no JSON": b'{"price": 7.5, ',
        "an unknown column": b'{"price": 7.5, "rating": 3.0, "weight": 1}',
        "a missing column": b'{"price": 7.5}',
        "NaN": b'{"price": NaN, "rating": 3.0}',
        "infinity": b'{"price": 1e999, "rating": 3.0}',
        "a wrong type": b'{"price": [7.5], "rating": 3.0}',
        "a word": b'{"price": "cheap", "rating": 3.0}',
        "a bad row among good ones": b"[" + right[0] + b', {"price": null, "rating": 3.0}]',
        "no bytes": b"",
        "no text": b"\x00\xff\xfe" * 99,
    }
    bad = [(what, with_body(text), 422) for what, text in texts.items()]
    bad.append(("another type", with_body(right[0], "text/xml"), 415))
    bad.append(("too large", with_body(b"[" + b" " * 5_000_000 + b"]"), 413))
    bad.append(("too many rows", with_body(b"[" + b",".join([b"{}"] * 10_001) + b"]"), 413))
    bad.append(("gone in the middle", with_body(right[0])[:-5], 0))
    return list(zip(map(with_body, right), network(x.astype(np.float32)).tolist(), strict=True)), bad


def images(network: Callable[[Any], Any]) -> tuple[list[Good], list[Bad]]:
    pixels = np.random.default_rng(0).integers(0, 256, (100, 1, 28, 28)).astype(np.uint8)
    files = [png(one[0]) for one in pixels]
    contents = {
        "a PDF called .png": b"%PDF-1.7\n" + bytes(5000),
        "a PNG cut short": files[0][:-200],
        "a decompression bomb": png(np.zeros((10_000, 10_000), np.uint8)),
        "no bytes": b"",
    }
    bad = [(what, with_body(content, "image/png"), 422) for what, content in contents.items()]
    bad.append(("no upload", with_body(b"?", "multipart/form-data; boundary=limit"), 422))
    bad.append(("no base64", with_body(b'{"image": "~"}'), 422))
    bad.append(("another type", with_body(files[0], "text/xml"), 415))
    bad.append(("too large", with_body(bytes(33_000_000), "image/png"), 413))
    bad.append(("gone in the middle", upload(files[0])[:-5], 0))
    return list(zip(map(upload, files), network(pixels).tolist(), strict=True)), bad


if __name__ == "__main__":
    main()
