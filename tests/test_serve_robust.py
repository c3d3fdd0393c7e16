"""Whatever a client sends, the answer says what was wrong, the server goes on, and its memory stays as it was."""

import base64
import json
import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_serve import FLAT, client, described, flats
from test_serve_server import Server, answer, ask, start

pytestmark = pytest.mark.slow
ALIKE = settings(  # the same requests in every run, so that a failure is a change's
    max_examples=128,
    derandomize=True,
    database=None,
    deadline=10_000,  # ms
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
TYPES = (
    "application/json",
    "text/csv",
    "image/png",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "",
    "ä/*",
)
TEXTS = st.text(st.characters(), max_size=8) | st.sampled_from(["", "NA", "1e999", "1,5", "-0", "31.12.2024", "\ud800"])
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXTS
ANY = st.recursive(
    SCALARS, lambda one: st.lists(one, max_size=3) | st.dictionaries(TEXTS, one, max_size=3), max_leaves=5
)
KINDS = {"number": st.floats() | st.integers(), "string": TEXTS, "boolean": st.booleans(), "null": st.none()}
IMAGE = {"mode": "RGB", "size": 8, "ground": "white", "fit": "middle square"}
FILES = [  # of each format and mode that Pillow can save
    (kind, mode)
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
    for mode in ("1", "L", "P", "RGB", "RGBA", "I", "F")
]


# Serves a network that answers with the first number of each sample.
PROGRAM = """
import json, sys
from pathlib import Path
from kindling.serve import app, exported, server

sock = server.listen("127.0.0.1", 0)
print(sock.getsockname()[1], flush=True)
network = lambda x: x.reshape(len(x), -1)[:, :1].astype("float32")
served = exported.Exported(Path("model.onnx"), json.loads(sys.argv[1]), "", network)
server.serve(app.make_app(served, app.Settings()), sock, 5)
"""
__all__ = ["start"]  # pytest's fixture
Request = tuple[str, bytes]  # content type and body


def damaged(content: bytes, place: int) -> list[bytes]:
    """As it is, cut, and with another byte."""
    place %= len(content) or 1
    return [content, content[:place], content[:place] + b"\xa7" + content[place + 1 :]]


@st.composite
def tables(draw: st.DrawFn, row: dict[str, Any]) -> list[Request]:
    """Requests about rows: by their schema, nearly so, or not at all."""
    cells = {name: st.one_of(*(KINDS[one] for one in schema["type"])) | ANY for name, schema in row.items()}
    rows = st.fixed_dictionaries({}, optional=cells).map(lambda some: FLAT | some) | st.fixed_dictionaries(
        {}, optional=cells | {"other": ANY}
    )
    one, place = draw(rows), draw(st.integers(0, 999))
    lines = [list(row), [str(one.get(name, "")) for name in row], list(map(str, FLAT.values()))]
    table = "".join(draw(st.sampled_from([",", ";", "\t"])).join(line) + "\n" for line in lines)
    code = draw(st.sampled_from(["utf-8", "utf-16", "latin-1"]))
    return [
        *(("application/json", body) for body in damaged(json.dumps([FLAT, one]).encode(), place)),
        ("application/json", json.dumps(draw(st.just(one) | ANY)).encode()),
        *(("text/csv", body) for body in damaged(table.encode(code, "replace"), place)),
        (draw(st.sampled_from(TYPES)), json.dumps(one).encode()),
    ]


@st.composite
def images(draw: st.DrawFn) -> list[Request]:
    """Requests about images of any format and mode, whole and damaged."""
    kind, mode = draw(st.sampled_from(FILES))
    file, place, name = BytesIO(), draw(st.integers(0, 999)), draw(TEXTS).encode("utf-8", "replace")
    try:
        Image.new(mode, draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))).save(file, kind)
    except (OSError, KeyError):
        file.write(b"%PDF-1.4")
    contents = damaged(file.getvalue(), place)
    coded: list[Any] = [{"image": base64.b64encode(content).decode()} for content in contents]
    head = b'--x\r\nContent-Disposition: form-data; name="a"; filename="%b"\r\n\r\n' % name
    upload = head + contents[0] + b"\r\n" + head + contents[0] + b"\r\n--x--\r\n"
    return [
        *(("image/png", body) for body in contents[1:]),
        *(("multipart/form-data; boundary=x", body) for body in damaged(upload, place)),
        ("application/json", json.dumps(coded[0]).encode()),
        ("application/json", json.dumps([*coded, draw(ANY | st.dictionaries(st.just("image"), ANY))]).encode()),
        (draw(st.sampled_from(TYPES)), contents[0]),
    ]


def check(status: int, answer: Any) -> None:
    """It is what the contract of /predict promises."""
    assert status in (200, 413, 415, 422), answer
    if status == 200:
        assert all("prediction" in one for one in (answer if isinstance(answer, list) else [answer]))
    elif isinstance(answer["detail"], str):
        assert "\n" not in answer["detail"]
    else:
        assert answer["detail"]
        for one in answer["detail"]:
            assert one.keys() == {"loc", "msg", "type"}
            assert one["loc"][0] == "body"
            assert one["msg"]


def send_all(app: Any, requests: st.SearchStrategy[list[Request]]) -> None:
    """Check the answers to a thousand requests or more, of which some are good."""
    answered = []

    @ALIKE
    @given(requests)
    def send(requests: list[Request]) -> None:
        for kind, body in requests:
            status, _, answer = ask(app, body, content_type=kind)
            check(status, answer)
            answered.append(status)

    send()
    assert len(answered) >= 1000
    assert answered.count(200) > 50


def test_no_request_about_rows_is_answered_by_an_error_of_the_server() -> None:
    app = flats().app
    content = ask(app, path="/openapi.json")[2]["paths"]["/predict"]["post"]["requestBody"]["content"]
    send_all(app, tables(content["application/json"]["schema"]["anyOf"][0]["properties"]))


@pytest.mark.filterwarnings("ignore:Exception ignored")  # Starlette leaves the file of an upload that is cut to Python
def test_no_upload_is_answered_by_an_error_of_the_server() -> None:
    red = lambda x: x[:, 0].astype(np.float32).mean(axis=(1, 2))[:, None]  # noqa: E731
    app = client(described({"shape": ["N", 3, 8, 8], "dtype": "uint8", "image": IMAGE}), red).app
    send_all(app, images())


def memory(running: Server) -> float:
    """MB, as ``/metrics`` has it."""
    text = answer(running.connect(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"))[2].decode()
    return float(re.search(r"(?m)^process_resident_memory_bytes (.*)$", text)[1]) / 1e6  # type: ignore[index]


def send(running: Server, kind: str, body: bytes) -> int:
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    with running.connect(head % (kind.encode(), len(body)) + body) as connection:
        return answer(connection)[0]


def test_bombs_and_floods_are_answered_in_little_memory(start: Callable[..., Server]) -> None:
    row = json.dumps({"price": 7.5, "rating": 3.0}).encode()
    Image.new("1", (20_000, 20_000)).save(bomb := BytesIO(), "PNG")
    Image.new("RGB", (9, 9)).save(photo := BytesIO(), "PNG")
    columns = [{"column": name, "largest": 1e18} for name in ("price", "rating")]
    fields = [{"name": name, "type": "number", "gap": False, "example": 3.0} for name in ("price", "rating")]
    of_rows = start(json.dumps(described({"shape": ["N", 2], "columns": columns, "fields": fields})), PROGRAM)
    of_images = start(json.dumps(described({"shape": ["N", 3, 8, 8], "dtype": "uint8", "image": IMAGE})), PROGRAM)
    rows: list[tuple[int, str, bytes]] = [
        (200, "application/json", row),
        (200, "application/json", b"[" + b",".join([row] * 10_000) + b"]"),
        (413, "application/json", b"[" + b",".join([row] * 100_000) + b"]"),
        (413, "application/json", b"[" + b",".join([row] * 1_000_000) + b"]"),
        (413, "text/csv", b"price,rating\n" + b"7.5,3\n" * 500_000),
        (422, "application/json", b"[" * 3_900_000),
        (422, "application/json", b"[" + b",".join([b"[]"] * 1_300_000) + b"]"),
        (422, "application/json", b"{" + b",".join(b'"k%d":1' % n for n in range(300_000)) + b"}"),
    ]
    uploads: list[tuple[int, str, bytes]] = [
        (200, "image/png", photo.getvalue()),
        (422, "image/png", bomb.getvalue()),
        (422, "image/png", b"%PDF-1.4"),
        (422, "image/png", b"x" * 31_000_000),
        (413, "image/png", b"x" * 33_000_000),
        (413, "application/json", b"[" + b",".join([b"[]"] * 10_000_000) + b"]"),
        (413, "application/json", json.dumps([{"image": base64.b64encode(photo.getvalue()).decode()}] * 65).encode()),
    ]
    before = 0.0
    for running, cases in ((of_rows, rows), (of_images, uploads)):
        for round in range(2):
            for status, kind, body in cases:
                assert send(running, kind, body) == status, (kind, body[:20])
            before = before if round else memory(running)
        for _ in range(200):
            assert send(running, "image/gif", b"x" * 1000) in (415, 422)
        assert memory(running) < before + 60
        assert before < 350
