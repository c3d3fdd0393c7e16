"""``serve``: what is asked and answered, in the data's own terms."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import RUN, SCRIPT, Kindling, rows
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from kindling.errors import RunError
from kindling.export import write
from kindling.serve.app import Settings, make_app
from kindling.serve.exported import Exported

Array = NDArray[Any]
TASK = {"kind": "regression", "target": "price", "targets": [], "class_names": [], "threshold": 0.5, "with_std": False}
COLUMNS = [
    {"column": "size", "low": 20.0, "high": 200.0, "largest": 1e18, "gap": "NaN"},
    *(
        {"column": name, "low": low, "high": low + 9, "largest": 1e18, "gap": "NaN", "read_from": "sold on"}
        | {"form": "%d.%m.%Y", "detail": detail}
        for name, low, detail in (("sold on", 20000, ""), ("sold on weekday", 0, "weekday"))
    ),
    {"column": "town", "texts": {"Bonn": 0, "Ulm": 1}, "gap": 2, "unseen": -1},
]
FIELDS = [
    {"name": "size", "type": "number", "gap": True, "low": 20.0, "high": 200.0, "example": 99.5},
    {"name": "town", "type": "category", "gap": True, "choices": ["Bonn", "Ulm"], "example": "Ulm"},
    {"name": "sold on", "type": "text", "gap": True, "form": "DD.MM.YYYY", "example": "31.12.2024"},
]
FLAT = {"size": 99.5, "town": "Ulm", "sold on": "31.12.2024"}
SECRET = "correct horse"
SERVE = ("serve", "--ckpt_path", "best", "--port", "0")


def described(input: dict[str, Any], **task: Any) -> dict[str, Any]:
    return {
        "network": "SimpleNet",
        "data": "TabularCSV",
        "versions": {"kindling": "0.1.0"},
        "task": TASK | task,
        "scores": {"val/mae": 3.25},
        "input": {"name": "x", "dtype": "float32", **input},
        "output": {},
    }


def client(
    description: dict[str, Any], network: Callable[[Array], Array] = lambda x: x[:, :1], **settings: Any
) -> TestClient:
    exported = Exported(Path("model.onnx"), description, "# card", network)
    return TestClient(make_app(exported, Settings(**settings)), raise_server_exceptions=False)


def flats(**settings: Any) -> TestClient:
    def network(x: Array) -> Array:
        """The sum of a flat's numbers; a day counts from 1970."""
        return np.nansum(x, axis=1, keepdims=True).astype(np.float32)

    return client(described({"shape": ["N", 4], "columns": COLUMNS, "fields": FIELDS}), network, **settings)


def mistakes(answer: Any) -> list[tuple[list[Any], str]]:
    assert answer.status_code == 422, answer.text
    return [(one["loc"], one["msg"]) for one in answer.json()["detail"]]


def test_rows_are_read_as_predict_reads_them() -> None:
    ask = flats()
    day = (np.datetime64("2024-12-31") - np.datetime64("1970-01-01")).astype(int)  # a Tuesday
    assert ask.post("/predict", json=FLAT).json() == {"prediction": pytest.approx(99.5 + day + 1 + 1)}
    several = ask.post("/predict", json=[FLAT, FLAT | {"size": None}, FLAT | {"size": "99.5", "town": "Oz"}])
    assert [one["prediction"] for one in several.json()] == pytest.approx([day + 101.5, day + 2, day + 99.5])
    table = "town;size;id;sold on\nUlm;99.5;a;31.12.2024\n;;b;31.12.2024\n"
    answer = ask.post("/predict", content=table, headers={"Content-Type": "text/csv; charset=utf-8"})
    assert [one["prediction"] for one in answer.json()] == pytest.approx([day + 101.5, day + 1 + 2])
    drift = [line for line in ask.get("/metrics").text.splitlines() if line.startswith("kindling_drift_total")]
    assert sorted(drift) == [
        'kindling_drift_total{column="size",kind="missing"} 2.0',
        'kindling_drift_total{column="sold on",kind="outside"} 6.0' if day > 20009 else "",
        'kindling_drift_total{column="town",kind="missing"} 1.0',
        'kindling_drift_total{column="town",kind="unknown"} 1.0',
    ]


def test_what_chinese_tables_have_is_read_as_there() -> None:
    percent, yuan, three = "\uff05", "\uffe5", "\uff13"  # as wide as Chinese letters
    row = {"成交日期": "2024年5月1日", "面积": "89.5㎡", "涨幅": f"12{percent}", "单价": f"{yuan}1,200", "楼层": three}
    forms = {
        "成交日期": ("%Y年%m月%d日", ""),
        "面积": (".", "㎡"),
        "涨幅": (".", "%"),
        "单价": (".", "¥"),
        "楼层": None,
    }
    columns, fields = [], []
    for name, form in forms.items():
        read = {"read_from": name, "form": form[0], "detail": form[1]} if form else {}
        columns.append({"column": name, "largest": 1e18, "gap": "NaN", **read})
        kind = {"type": "text", "form": "", "example": row[name]} if form else {"type": "number", "example": 1.5}
        fields.append({"name": name, "gap": True, **kind})
    network = lambda x: x.sum(axis=1, keepdims=True)  # noqa: E731
    ask = client(described({"shape": ["N", 5], "columns": columns, "fields": fields}), network)
    day = int((np.datetime64("2024-05-01") - np.datetime64("1970-01-01")).astype(int))
    known = {"prediction": day + 89.5 + 12 + 1200 + 3}
    assert ask.post("/predict", json=row).json() == known
    table = ",".join(row) + "\n" + ",".join(f'"{cell}"' for cell in row.values()) + "\n"
    headers = {"Content-Type": "text/csv"}
    assert ask.post("/predict", content=table.encode("utf-8-sig"), headers=headers).json() == [known]
    ((_, message),) = mistakes(ask.post("/predict", content=table.encode("gbk"), headers=headers))
    assert message == "the table, line 1: not UTF-8 text: save the table as UTF-8, in Excel as CSV UTF-8"


def test_a_row_that_is_refused_says_which_column_and_what_it_takes() -> None:
    ask = flats()
    post = lambda body: mistakes(ask.post("/predict", json=body))  # noqa: E731
    assert post(FLAT | {"sise": 1}) == [(["body", "sise"], "there is no such column: there are size, town, sold on")]
    without = {name: cell for name, cell in FLAT.items() if name != "town"}
    assert post([FLAT, without]) == [
        (["body", 1, "town"], 'this column is missing: send a text, such as "Ulm", or null for a gap')
    ]
    assert post(FLAT | {"size": True}) == [(["body", "size"], "takes a finite number, such as 99.5, or null for a gap")]
    assert post(FLAT | {"size": [1]})[0][0] == ["body", "size"]
    ((place, text),) = post([FLAT, FLAT | {"size": "big"}])
    assert (place, text.partition(":")[0]) == (["body", 1, "size"], "'big' in column size is not a number")
    ((place, text),) = post([FLAT, FLAT | {"sold on": "2024-12-31"}])
    assert place == ["body", 1, "sold on"]
    assert "is not written like DD.MM.YYYY" in text
    ((place, text),) = post(FLAT | {"size": 1e30})
    assert (place, "too large" in text) == (["body", "size"], True)
    assert "this is no JSON" in mistakes(ask.post("/predict", content="{", headers=JSON))[0][1]
    for body in ('{"size": NaN, "town": "Ulm", "sold on": null}', '{"size": 1e999, "town": "Ulm", "sold on": null}'):
        assert mistakes(ask.post("/predict", content=body, headers=JSON))[0][0] == ["body", "size"]
    others: list[Any] = [7, "x", [[]], [7], [None]]
    for other in others:
        assert "send a row as an object, like" in post(other)[0][1]
    assert post([]) == [(["body"], "the list is empty: send at least one row")]
    assert len(post([{}] * 100)) == 20
    many = ask.post("/predict", json=[{}] * 10_001)
    assert (many.status_code, many.json()) == (
        413,
        {"detail": "at most 10,000 rows are taken at once: send them in several requests"},
    )
    assert ask.post("/predict", data={"size": "1"}).status_code == 415
    assert ask.post("/predict", content=b"x").json()["detail"].startswith("a body without a Content-Type is not taken")
    wrong = ask.post("/predict", content="size,town\n1,Ulm\n", headers={"Content-Type": "text/csv"})
    assert "the table has no column sold on" in mistakes(wrong)[0][1]


JSON = {"Content-Type": "application/json"}


def test_made_up_products_take_no_gap() -> None:
    columns = [{"column": name, "largest": 1e18} for name in ("price", "rating")]
    fields = [{"name": name, "type": "number", "gap": False, "example": 3.0} for name in ("price", "rating")]
    ask = client(described({"shape": ["N", 2], "columns": columns, "fields": fields}))
    assert ask.post("/predict", json={"price": 7, "rating": 3.0}).json() == {"prediction": 7.0}
    assert ask.post("/predict", json={"rating": "3", "price": 7}).json() == {"prediction": 7.0}
    assert mistakes(ask.post("/predict", json={"price": "nan", "rating": 3}))[0][0] == ["body", "price"]
    assert mistakes(ask.post("/predict", json={"price": 7, "rating": None})) == [
        (["body", "rating"], "takes a finite number, such as 3.0")
    ]
    gap = ask.post("/predict", content="price,rating\n7,3\n7,\n", headers={"Content-Type": "text/csv"})
    assert mistakes(gap) == [(["body", 1, "rating"], "a number is needed here, as training knew no gaps")]


def png(color: tuple[int, ...] = (200, 100, 0), size: tuple[int, int] = (9, 9)) -> bytes:
    Image.new("RGB", size, color).save(buffer := BytesIO(), "PNG")
    return buffer.getvalue()


def test_images_of_any_form() -> None:
    image = {"mode": "RGB", "size": 4, "ground": "white", "fit": "middle square"}
    red = lambda x: x[:, 0].astype(np.float32).mean(axis=(1, 2))[:, None]  # noqa: E731
    ask = client(described({"shape": ["N", 3, 4, 4], "dtype": "uint8", "image": image}), red)
    coded = base64.b64encode(png()).decode()
    assert ask.post("/predict", content=png(), headers={"Content-Type": "image/png"}).json() == {"prediction": 200.0}
    assert ask.post("/predict", json={"image": f"data:image/png;base64,{coded}"}).json() == {"prediction": 200.0}
    assert len(ask.post("/predict", json=[{"image": coded}] * 3).json()) == 3
    uploads = [("a", ("a.png", png(), "image/png")), ("b", ("b.png", png((7, 0, 0), (30, 20)), "image/png"))]
    assert ask.post("/predict", files=uploads).json() == [{"prediction": 200.0}, {"prediction": 7.0}]

    pdf = [uploads[0], ("x", ("scan.png", b"%PDF-1.4", "image/png"))]
    ((place, text),) = mistakes(ask.post("/predict", files=pdf))
    assert place == ["body", 1]
    assert text.startswith("scan.png can't be read as an image (")
    wrong: list[Any] = [{"image": "§"}, {"image": 7}, {"img": coded}, [], "x"]
    for body in wrong:
        assert mistakes(ask.post("/predict", json=body))[0][0][0] == "body"
    assert mistakes(ask.post("/predict", files={"a": (None, "a.png")})) == [
        (["body", "a"], "this is a text: send a file, with curl as -F image=@PHOTO.jpg")
    ]
    upload = {"Content-Type": "multipart/form-data; boundary=x"}
    assert "the upload can't be read" in mistakes(ask.post("/predict", content=b"no parts", headers=upload))[0][1]
    ((_, text),) = mistakes(ask.post("/predict", files=uploads * 40))
    assert text == "the upload can't be read (Too many files. Maximum number of files is 64): send one to 64 files"
    Image.new("1", (20_000, 20_000)).save(bomb := BytesIO(), "PNG")
    ((_, text),) = mistakes(ask.post("/predict", content=bomb.getvalue(), headers={"Content-Type": "image/png"}))
    assert "exceeds limit" in text


def test_arrays_of_data_that_says_no_more() -> None:
    ask = client(described({"shape": ["N", 2, 3]}), lambda x: x.sum(axis=(1, 2))[:, None])
    assert ask.post("/predict", json={"x": [[1, 2, 3], [4, 5, 6.5]]}).json() == {"prediction": 21.5}
    for bad in ([[1, 2], [3]], [1, 2, 3], "x", [[1, 2, "3"], [4, 5, 6]], [[1, 2, 1e99], [4, 5, 6]], None):
        ((place, text),) = mistakes(ask.post("/predict", json=[{"x": bad}]))
        assert place == ["body", 0, "x"]
        assert text.startswith("takes numbers of the shape [2, 3]")
    deep = ask.post("/predict", content="[" * 100_000, headers=JSON)
    assert "this is no JSON" in mistakes(deep)[0][1]


def test_answers_name_classes_tags_and_numbers_with_their_spread() -> None:
    def answer(outputs: list[float], **task: Any) -> Any:
        network = lambda x: np.tile(np.array(outputs, np.float32), (len(x), 1))  # noqa: E731
        return client(described({"shape": ["N", 1]}, **task), network).post("/predict", json={"x": [1]}).json()

    names = {"class_names": ["a", "b", "c"]}
    shares = {"a": 0.25, "b": 0.5, "c": 0.75}
    assert answer([0.25, 0.5, 0.75], kind="multiclass", **names) == {"prediction": "c", "probabilities": shares}
    tags = answer([0.25, 0.5, 0.75], kind="multilabel", threshold=0.3, **names)
    assert tags == {"prediction": ["b", "c"], "probabilities": shares}
    assert answer([2.5, 0.5], with_std=True) == {"prediction": 2.5, "std": 0.5}
    several = answer([1, 2, 3, 4], targets=["price", "rooms"], with_std=True)
    assert several == {"prediction": {"price": 1, "rooms": 2}, "std": {"price": 3, "rooms": 4}}
    assert answer([1, 2], kind="own") == {"prediction": [1, 2]}
    nothing = answer([float("nan")])
    assert nothing["detail"][0]["msg"] == "the network's answer is NaN or infinite"


def test_a_folder_whose_parts_do_not_fit_is_refused() -> None:
    def refuse(x: Array) -> Array:
        raise RuntimeError("Got: 4\n Expected: 3")

    with pytest.raises(RunError, match=r"does not take what preprocessing.json says \(Got: 4 Expected: 3\): export"):
        client(described({"shape": ["N", 4]}), refuse)
    fields = [field | {"example": "much"} for field in FIELDS[:1]]
    for damaged in ({}, {"fields": FIELDS}, {"columns": COLUMNS[:1], "fields": fields}, {"image": {"mode": "RGB"}}):
        with pytest.raises(RunError, match=r"preprocessing.json beside model.onnx is damaged .*: export the network"):
            client(described(damaged))


def test_requests_at_the_same_time_share_a_batch_but_not_a_failure() -> None:
    import asyncio

    from kindling.serve.batching import Batcher, NetworkError

    sizes: list[int] = []

    def network(x: Array) -> Array:
        if (x == 13).any():
            raise RuntimeError("no such row")
        return x * 2

    async def ask() -> list[Any]:
        batcher = Batcher(network, 8, 0, sizes.append)
        wanted = [np.full((n, 1), n, np.float32) for n in (1, 2, 13, 3, 20)]
        return await asyncio.gather(*map(batcher.predict, wanted), return_exceptions=True)

    one, two, failed, three, twenty = asyncio.run(ask())
    assert [found.tolist() for found in (one, two, three)] == [[[2]], [[4]] * 2, [[6]] * 3]
    assert twenty.tolist() == [[40]] * 20
    assert isinstance(failed, NetworkError)
    assert max(sizes) <= 8
    assert len(sizes) < 9


def test_what_is_served_is_described() -> None:
    ask = flats()
    assert ask.get("/health").json() == {"live": True, "ready": True}
    model = ask.get("/model").json()
    assert (model["title"], model["card"], model["scores"]) == ("SimpleNet on TabularCSV", "# card", {"val/mae": 3.25})
    assert model["input"]["fields"] == FIELDS
    body = ask.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
    row, several = body["application/json"]["schema"]["anyOf"]
    assert (row["required"], several["items"], row["additionalProperties"]) == (["size", "town", "sold on"], row, False)
    assert row["properties"]["size"]["description"] == "in training 20 to 200; null is a gap"
    assert "written like DD.MM.YYYY" in row["properties"]["sold on"]["description"]
    assert ask.post("/predict", json=body["application/json"]["example"]).status_code == 200
    table = ask.post("/predict", content=body["text/csv"]["example"], headers={"Content-Type": "text/csv"})
    assert table.status_code == 200
    assert "<h1" in ask.get("/").text
    assert ask.get("/docs").status_code == 200


def test_keys_sizes_and_other_peoples_pages() -> None:
    ask = flats(api_key=SECRET, max_body=0.001)
    assert ask.post("/predict", json=FLAT).status_code == 401
    assert ask.get("/model", headers={"Authorization": "Bearer wrong"}).status_code == 401
    key = {"Authorization": f"Bearer {SECRET}"}
    assert ask.post("/predict", json=FLAT, headers=key).status_code == 200
    assert ask.post("/predict", json=[FLAT] * 30, headers=key).status_code == 413
    assert ask.get("/health").status_code == 200
    page = {"Origin": "https://example.org"}
    assert "access-control-allow-origin" not in ask.get("/health", headers=page).headers
    allowed = flats(cors="https://example.org").get("/health", headers=page)
    assert allowed.headers["access-control-allow-origin"] == "https://example.org"


def given(columns: list[str], file: str) -> list[dict[str, Any]]:
    """Rows of a table as JSON has them: numbers where all cells are numbers, null for a gap."""
    frame = pd.read_csv(file)[columns].astype(object)
    cells: list[dict[str, Any]] = frame.where(frame.notna(), None).to_dict("records")  # type: ignore[assignment]
    return cells


def same(answers: list[dict[str, Any]], wanted: list[dict[str, str]], columns: dict[str, Callable[[Any], Any]]) -> None:
    """That the answers are what ``predict`` wrote, to 1e-6 of their size."""
    assert len(answers) == len(wanted) > 0
    for name, value in columns.items():
        found, expected = [value(answer) for answer in answers], [row[name] for row in wanted]
        if isinstance(found[0], str):
            assert found == expected
        else:
            np.testing.assert_allclose(found, [float(cell) for cell in expected], rtol=1e-6, atol=1e-6)


def write_cars() -> None:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"km": draw.integers(0, 200, 240) * 1000, "make": draw.choice(["BMW", "VW", "KIA"], 240)})
    frame["sold on"] = pd.date_range("2020-01-01", periods=240).strftime("%d.%m.%Y")
    frame["price"] = 30_000 - frame["km"] / 10 + 5000 * (frame["make"] == "BMW")
    frame["state"] = np.where(frame["km"] < 60_000, "new", np.where(frame["km"] < 130_000, "used", "old"))
    frame["fast"], frame["cheap"] = (frame["make"] == "BMW").astype(int), (frame["price"] < 20_000).astype(int)
    frame.loc[::9, "km"] = None
    frame.loc[::7, "make"] = None
    frame.to_csv("cars.csv", index=False)


def a_share(name: str) -> Callable[[Any], Any]:
    return lambda answer: answer["probabilities"][name]


def said(answer: Any) -> Any:
    return answer["prediction"]


KINDS: dict[str, tuple[list[str], dict[str, Callable[[Any], Any]]]] = {
    "multiclass": (
        ["--data.target", "state"],
        {
            "prediction": said,
            **{f"p({name})": a_share(name) for name in ("new", "old", "used")},
        },
    ),
    "multilabel": (
        ["--data.target", "fast,cheap"],
        {
            "prediction": lambda one: ", ".join(one["prediction"]),
            **{f"p({name})": a_share(name) for name in ("fast", "cheap")},
        },
    ),
    "regression": (
        ["--data.target", "price", "--loss", "GaussianNLLLoss"],
        {"prediction": said, "std": lambda one: one["std"]},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_table_gets_the_very_numbers_that_predict_writes(
    kindling: Kindling, served: list[TestClient], kind: str
) -> None:
    write_cars()
    options, columns = KINDS[kind]
    data = ["--data", "TabularCSV", "--data.path", "cars.csv", "--data.features", "km,make,sold on", *options]
    kindling("fit", "--model", "SimpleNet", *data, "--epochs", "2")
    kindling("predict", "--ckpt_path", "best", "--data.predict_path", "cars.csv")
    kindling(*SERVE)
    (ask,) = served
    wanted, path = rows(RUN / "predictions.csv"), ["km", "make", "sold on"]
    same(ask.post("/predict", json=given(path, "cars.csv")).json(), wanted, columns)
    body = Path("cars.csv").read_bytes()
    same(ask.post("/predict", content=body, headers={"Content-Type": "text/csv"}).json(), wanted, columns)
    fields = ask.get("/model").json()["input"]["fields"]
    assert [field["name"] for field in fields] == path
    assert ask.post("/predict", json={field["name"]: field["example"] for field in fields}).status_code == 200


@pytest.mark.slow
def test_products_and_what_is_said_of_the_address(
    run: Path, kindling: Kindling, served: list[TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    kindling("predict", "--ckpt_path", "best")
    assert f"({RUN}/export/model.onnx) answers at http://127.0.0.1:" in kindling(*SERVE)
    wanted = rows(RUN / "predictions.csv")
    body = [{name: float(row[name]) for name in ("price", "rating")} for row in wanted]
    columns: dict[str, Callable[[Any], Any]] = {"prediction": said}
    names = ("not popular", "popular")
    same(served[0].post("/predict", json=body).json(), wanted, columns | {f"p({n})": a_share(n) for n in names})

    written = (RUN / "export/model.onnx").stat().st_mtime_ns
    monkeypatch.setenv("THE_KEY", SECRET)
    out = kindling(
        "serve", "--export", str(RUN / "export"), "--host", "0.0.0.0", "--port", "0", "--api_key=env:THE_KEY"
    )
    assert "--host 0.0.0.0: every machine that reaches this one can ask, who has the key; nothing is encrypted" in out
    assert "-H 'Authorization: Bearer KEY'" in out
    assert served[1].post("/predict", json=body).status_code == 401
    kindling(*SERVE)
    assert (RUN / "export/model.onnx").stat().st_mtime_ns == written  # it was up to date
    os.utime(RUN / "checkpoints/best.ckpt")
    assert "Exporting" in kindling(*SERVE)


@pytest.mark.slow
def test_photos_get_the_very_numbers_that_predict_writes(kindling: Kindling, served: list[TestClient]) -> None:
    draw = np.random.default_rng(0)
    for number in range(24):
        photo = Path("insects", ("ants", "bees")[number % 2], f"{number}.{('jpg', 'png')[number % 3 > 0]}")
        photo.parent.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 255, (40 + number, 50, 3 + (photo.suffix == ".png")), dtype=np.uint8)
        Image.fromarray(pixels).save(photo)
    kindling("fit", "--model", "Net", "--data", "ImageFolder", "--data.root", "insects", "--epochs=1")
    kindling("predict", "--ckpt_path", "best", "--data.samples", "insects")
    kindling(*SERVE)
    wanted = rows(RUN / "predictions.csv")
    photos = [Path(row["image"]) for row in wanted]
    columns: dict[str, Callable[[Any], Any]] = {"prediction": said}
    columns |= {f"p({name})": a_share(name) for name in ("ants", "bees")}
    uploads = [("photos", (photo.name, photo.read_bytes())) for photo in photos]
    same(served[0].post("/predict", files=uploads).json(), wanted, columns)
    coded = [{"image": base64.b64encode(photo.read_bytes()).decode()} for photo in photos]
    same(served[0].post("/predict", json=coded).json(), wanted, columns)


@pytest.mark.slow
def test_what_onnx_cannot_hold_is_served_by_torch(
    run: Path, kindling: Kindling, served: list[TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = write._program

    def without_onnx(suffix: str, *args: Any) -> bytes:
        if suffix == ".onnx":
            raise RuntimeError("no such operator")
        return program(suffix, *args)

    monkeypatch.setattr(write, "_program", without_onnx)
    (run / "export").mkdir()
    (run / "export/model.onnx").write_bytes(b"of older weights")
    out = kindling(*SERVE)
    assert "can't be written as onnx: no such operator; so it is written as pt2, which needs torch to be served" in out
    assert served[0].post("/predict", json={"price": 7.5, "rating": 3.0}).json()["prediction"] == "popular"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at a process in /proc")
def test_the_process_that_answers_has_no_torch_and_ends_when_it_is_asked_to(run: Path) -> None:
    with Path("output.txt").open("w") as output:
        command = [sys.executable, str(SCRIPT), *SERVE]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        limit = time.monotonic() + 60
        while not (address := re.search(r"answers at http://127.0.0.1:(\d+)", Path("output.txt").read_text())):
            assert process.poll() is None, Path("output.txt").read_text()
            assert time.monotonic() < limit, Path("output.txt").read_text()
            time.sleep(0.1)
        assert "Exporting" in Path("output.txt").read_text()
        with socket.socket() as connected:
            connected.settimeout(10)
            connected.connect(("127.0.0.1", int(address[1])))
            client = HTTPConnection("127.0.0.1")
            client.sock = connected
            client.request("POST", "/predict", '{"price": 7.5, "rating": 3.0}', {"Content-Type": "application/json"})
            assert json.load(client.getresponse())["prediction"] == "popular"
        assert "torch" not in Path(f"/proc/{process.pid}/maps").read_text()
        used = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        assert used
        assert int(used[1]) < 250_000
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143
    finally:
        process.kill()
        process.wait()
    assert Path("output.txt").read_text().endswith("kindling: stopped by SIGTERM\n")
