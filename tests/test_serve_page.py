"""The page that ``serve`` shows at ``/``, in a real browser: Debian's Chromium, headless."""

import base64
import csv
import json
import os
import re
import shlex
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, FilePayload, Page, expect, sync_playwright

from kindling.serve.app import Settings, make_app
from kindling.serve.exported import Exported

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM or "CI" in os.environ), reason="the browser is missing: apt-get install chromium"),
]
expect.set_options(timeout=30_000)  # for a machine that has other work
HOSTILE = "<img src=x onerror=alert(1)>"
PRICE = {"name": "price", "type": "number", "gap": False, "low": 1.0, "high": 9.99, "example": 5.5}
COLOUR = {"name": "colour", "type": "category", "gap": True, "choices": ["red", HOSTILE], "example": "red"}
SOLD = {"name": "sold on", "type": "text", "gap": True, "form": "DD.MM.YYYY", "example": "31.12.2024"}
FORM = {"read_from": "sold on", "form": "%d.%m.%Y", "detail": ""}
COLUMNS = [
    {"column": "price", "largest": 1e18, "low": 1.0, "high": 9.99},
    {"column": "sold on", "largest": 1e18, "gap": "NaN", **FORM},
    {"column": "colour", "texts": {"red": 0, HOSTILE: 1}, "gap": 2, "unseen": -1},
]
TABLE = {"shape": ["N", 3], "dtype": "float32", "columns": COLUMNS, "fields": [PRICE, COLOUR, SOLD]}
FORM_OF_IMAGES = {"mode": "RGB", "size": 32, "ground": "white", "fit": "middle square"}
IMAGE = {"shape": ["N", 3, 32, 32], "dtype": "uint8", "image": FORM_OF_IMAGES}
# by the kind of task: input, what /model says of the task, the answer to any sample
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "binary": (
        TABLE,
        {"target": "label", "class_names": ["not popular", "popular"]},
        {"prediction": "popular", "probabilities": {"not popular": 0.125, "popular": 0.875}},
    ),
    "multiclass": (
        IMAGE,
        {"target": "class", "class_names": ["cat", HOSTILE, *(f"kind {n}" for n in range(10))]},
        {
            "prediction": HOSTILE,
            "probabilities": {"cat": 0.0004, HOSTILE: 0.7, **{f"kind {n}": 0.03 for n in range(10)}},
        },
    ),
    "multilabel": (
        TABLE,
        {"target": "tags", "class_names": ["sunny", "warm", "windy"], "threshold": 0.4},
        {"prediction": ["warm", "windy"], "probabilities": {"sunny": 0.1, "warm": 0.45, "windy": 0.95}},
    ),
    "regression": (TABLE, {"target": "price (EUR)", "with_std": True}, {"prediction": 913.2, "std": 12.345678}),
    "several": (
        TABLE,
        {"kind": "regression", "target": "y0, y1", "targets": ["y0", "y1"]},
        {"prediction": {"y0": 1.5, "y1": -2.0}},
    ),
    "other": ({"shape": ["N", 2, 2], "dtype": "float32"}, {"kind": "other", "target": ""}, {"prediction": [[1, 2]]}),
}


def served(kind: str, api_key: str | None) -> FastAPI:
    """The real server, around a network that answers the same to everything."""
    given, task, answer = KINDS[kind]
    usual = {"kind": kind, "targets": [], "class_names": [], "threshold": 0.5, "with_std": False}
    described = {
        **{"network": "SimpleNet", "data": "SyntheticTabular", "input": given, "task": usual | task},
        **{"checkpoint": {"file": "lightning_logs/version_0/checkpoints/best.ckpt", "epoch": 9, "step": 250}},
        **{"written": "2026-11-22", "scores": {"val/loss": 0.0123456789, "test/acc": 0.99}},
        **{"versions": {"kindling": "0.1.0", "python": "3.11.7"}, "output": {"meaning": "an image for each image"}},
    }
    outputs = {"several": lambda: [*answer["prediction"].values()], "other": lambda: answer["prediction"]}
    numbers = np.array(outputs.get(kind, lambda: [*answer.get("probabilities", answer).values()])(), np.float32)
    exported = Exported(Path("model.onnx"), described, "# A card", lambda x: np.stack([numbers] * len(x)))
    return make_app(exported, Settings(api_key=api_key, max_body=0.1))


class Server:
    """Keeps what it was asked.

    Args:
        sock: That it listens on.
    """

    kind = "binary"
    api_key: str | None = None

    def __init__(self, sock: socket.socket) -> None:
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}/"
        self.asked: list[Any] = []
        self._app = cache(served)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def kept() -> Any:
            message = await receive()
            if message.get("body"):
                self._keep(dict(scope["headers"])[b"content-type"], message["body"])
            return message

        await self._app(self.kind, self.api_key)(scope, kept, send)

    def _keep(self, content_type: bytes, body: bytes) -> None:
        if content_type == b"text/csv":
            self.asked.append(body.decode())
        elif content_type.startswith(b"multipart/form-data"):
            self.asked += re.findall(rb'filename="(.+?)"', body)
        else:
            self.asked.append(json.loads(body))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = Server(sock)
        running = uvicorn.Server(uvicorn.Config(server, lifespan="off", log_config=None))
        thread = threading.Thread(target=running.run, args=[[sock]])
        thread.start()
        yield server
        running.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "apt-get install chromium"
    args = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=CHROMIUM, args=args) as browser:
        yield browser


Visit = Callable[..., Page]


@pytest.fixture
def visit(server: Server, browser: Browser) -> Iterator[Visit]:
    """Opens the page for a kind of task; afterwards nothing but this server was asked, and no script has failed."""
    server.api_key = None
    server.asked.clear()
    contexts, asked, wrong = [], [], list[str]()

    def console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            wrong.append(message.text)

    def visit(kind: str, **options: Any) -> Page:
        server.kind = kind
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", console)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(server.url)
        page.wait_for_selector("#question fieldset, #key:not([hidden])")  # made from what /model answers
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not wrong
    assert {url for url in asked if not url.startswith((server.url, "blob:", "data:"))} == set()


def shown_bars(page: Page) -> list[tuple[str, str, str]]:
    """Names, percentages and lengths of the bars, top down."""
    return [
        (
            item.locator("> span").nth(0).text_content() or "",
            item.locator("> span").nth(1).text_content() or "",
            item.locator("i").evaluate("bar => bar.style.width"),
        )
        for item in page.locator(".bars li").all()
    ]


def image(colour: str = "red", size: int = 64) -> bytes:
    stream = BytesIO()
    Image.new("RGB", (size, size), colour).save(stream, "PNG")
    return stream.getvalue()


def upload(name: str, content: bytes, mime_type: str = "image/png") -> FilePayload:
    return {"name": name, "mimeType": mime_type, "buffer": content}


def test_a_row_is_predicted_by_keyboard_alone(visit: Visit, server: Server) -> None:
    page = visit("binary")
    expect(page).to_have_title("SimpleNet on SyntheticTabular")
    expect(page.locator("#purpose")).to_have_text("Predicts label: one of not popular, popular.")
    page.keyboard.press("Tab")
    expect(page.get_by_label("price")).to_be_focused()
    page.keyboard.type("7.5")  # in the place of the example, which focus selects
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowUp")  # from red to the gap
    page.keyboard.press("Tab")
    expect(page.get_by_label("sold on")).to_have_value("31.12.2024")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("popular")
    assert server.asked == [{"price": 7.5, "colour": None, "sold on": "31.12.2024"}]
    assert shown_bars(page) == [
        ("popular, predicted", "87.5\u00a0%", "87.5%"),
        ("not popular", "12.5\u00a0%", "12.5%"),
    ]


def test_what_the_server_refuses_is_said_at_its_field(visit: Visit, server: Server) -> None:
    page = visit("binary")
    price = page.get_by_label("price")
    expect(price).to_have_value("5.5")
    expect(price).to_have_accessible_description("1 to 9.99 in training")
    price.fill("12")
    expect(price).to_have_accessible_description("outside of what training saw: 1 to 9.99")
    price.fill("")  # a gap, which this column takes none of
    page.get_by_role("button", name="Predict").click()
    expect(price).to_be_focused()
    expect(price).to_have_attribute("aria-invalid", "true")
    expect(price).to_have_accessible_description("1 to 9.99 in training takes a finite number, such as 5.5")
    expect(page.get_by_role("alert")).to_be_empty()
    price.fill("1e999")  # is infinity to JavaScript, which JSON has none of
    price.press("Enter")
    expect(price).to_have_attribute("aria-invalid", "true")
    assert [sample["price"] for sample in server.asked] == [None, "1e999"]
    price.fill("-2.5e-1")
    price.press("Enter")
    expect(page.get_by_role("status")).to_have_text("popular")
    expect(price).not_to_have_attribute("aria-invalid", "true")
    assert server.asked[-1]["price"] == -0.25


def test_the_curl_command_holds_what_the_form_holds(visit: Visit, server: Server) -> None:
    page = visit("regression")
    page.get_by_label("sold on").fill("it's")
    page.get_by_text("Details").click()
    command = page.get_by_label("curl command").inner_text()
    sample = json.dumps({"price": 5.5, "colour": "red", "sold on": "it's"}, separators=(",", ":"))
    assert shlex.split(command) == [
        "curl",
        f"{server.url}predict",
        "-H",
        "Content-Type: application/json",
        "-d",
        sample,
    ]
    details = page.locator("#about").inner_text()
    assert all(
        text in details for text in ("0.0123457", "best.ckpt (epoch 9, step 250)", "kindling 0.1.0, python 3.11.7")
    )


def test_numbers_stand_with_their_standard_deviation(visit: Visit) -> None:
    page = visit("regression")
    expect(page.locator("#purpose")).to_have_text("Predicts the number price (EUR), with standard deviation.")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("status")).to_have_text("913.2 ± 12.3")
    page = visit("several")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("status")).to_have_text("y0 1.5\ny1 -2")


def test_tags_are_marked_that_are_predicted(visit: Visit) -> None:
    page = visit("multilabel")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("status")).to_have_text("warm, windy")
    assert shown_bars(page) == [
        ("✓ windy, predicted", "95.0\u00a0%", "95%"),
        ("✓ warm, predicted", "45.0\u00a0%", "45%"),
        ("sunny", "10.0\u00a0%", "10%"),
    ]
    assert page.locator(".bar b").first.evaluate("line => line.style.left") == "40%"


DROP = """([text, ...names]) => {
    const dataTransfer = new DataTransfer();
    for (const name of names) dataTransfer.items.add(new File([text], name, {type: "text/csv"}));
    const dropped = new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer});
    if (document.body.dispatchEvent(dropped)) throw new Error("the browser leaves the page for the file");
}"""
COPY = """(base64) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    return navigator.clipboard.write([new ClipboardItem({"image/png": new Blob([bytes], {type: "image/png"})})]);
}"""


def test_a_dropped_table_is_answered_row_by_row(visit: Visit, server: Server, tmp_path: Path) -> None:
    page = visit("binary")
    text = '\ufeffid;price;colour;sold on;note;prediction\r\n1;7.5;red;;"a;""b""\r\nc";x\r\n2;8;{};01.02.2024;;y\r\n'
    text = text.replace("{}", HOSTILE)
    page.evaluate(DROP, [text, "rows.csv", "more.csv"])
    expect(page.get_by_role("alert")).to_have_text("These are several files: give one at a time")
    page.evaluate(DROP, [text, "rows.csv"])
    expect(page.get_by_role("status")).to_have_text("2 answers")
    assert server.asked == [text]
    head, first, second = (row.locator("th, td").all_inner_texts() for row in page.get_by_role("row").all())
    assert head == ["prediction", "p(not popular)", "p(popular)", "id", "price", "colour", "sold on", "note"]
    assert first == ["popular", "12.5\u00a0%", "87.5\u00a0%", "1", "7.5", "red", "", 'a;"b" c']
    assert second[3:] == ["2", "8", HOSTILE, "01.02.2024", ""]
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "predictions.csv"
    download.value.save_as(tmp_path / "predictions.csv")
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as lines:
        assert list(csv.reader(lines)) == [
            [
                "id",
                "price",
                "colour",
                "sold on",
                "note",
                "prediction (data)",
                "prediction",
                "p(not popular)",
                "p(popular)",
            ],
            ["1", "7.5", "red", "", 'a;"b"\r\nc', "x", "popular", "0.125", "0.875"],
            ["2", "8", HOSTILE, "01.02.2024", "", "y", "popular", "0.125", "0.875"],
        ]


def test_images_are_chosen_or_pasted_and_a_bad_one_fails_alone(visit: Visit, server: Server) -> None:
    page = visit("multiclass")
    choose = page.get_by_label("Image files")
    choose.set_input_files(upload("cat.png", image()))
    expect(page.get_by_role("status")).to_have_text(HOSTILE)
    thumbnail = page.get_by_role("figure", name="cat.png").locator("img")
    assert thumbnail.evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
    bars = shown_bars(page)
    assert bars[:2] == [(f"{HOSTILE}, predicted", "70.0\u00a0%", "70%"), ("kind 0", "3.0\u00a0%", "3%")]
    assert bars[11][:2] == ("cat", "< 0.1\u00a0%")
    expect(page.get_by_text("kind 9")).to_be_hidden()
    page.get_by_text("2 more").click()
    expect(page.get_by_text("kind 9")).to_be_visible()
    choose.set_input_files([upload("a.png", image()), upload("b.png", b"%PDF"), upload("c.png", image("blue"))])
    expect(page.get_by_role("status")).to_have_text("3 images")
    figures = [figure.inner_text() for figure in page.get_by_role("figure").all()]
    assert [HOSTILE in text for text in figures] == [True, False, True]
    assert "b.png can't be read as an image" in figures[1]
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(COPY, base64.b64encode(image("green")).decode())
    page.keyboard.press("Control+V")
    expect(page.get_by_role("figure", name="image.png")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text(HOSTILE)
    assert (server.asked[0], server.asked[-1]) == (b"cat.png", b"image.png")
    choose.set_input_files(upload("bad.png", b"%PDF"))
    expect(page.get_by_role("alert")).to_contain_text("bad.png can't be read as an image")
    asked = len(server.asked)
    choose.set_input_files(upload("large.png", bytes(200_000)))
    expect(page.get_by_role("alert")).to_have_text("0.2 MB is too much: at most 0.1 MB are taken")
    assert len(server.asked) == asked
    assert page.locator("img[src=x]").count() == 0


def test_other_data_are_typed_as_json(visit: Visit, server: Server) -> None:
    page = visit("other")
    numbers = page.get_by_label("Numbers as JSON")
    expect(numbers).to_have_value("[[0,0],[0,0]]")
    numbers.fill("[[1, 2], [3, ]")
    page.get_by_role("button", name="Predict").click()
    expect(numbers).to_have_accessible_description(re.compile("nested lists of 2 . 2 write numbers in square brackets"))
    numbers.fill("[[1, 2], [3, 4]]")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#shown")).to_have_text("[[1,2]]")
    assert server.asked == [{"x": [[1, 2], [3, 4]]}]


def test_an_api_key_is_asked_for_once(visit: Visit, server: Server) -> None:
    server.api_key = "s3cret"
    page = visit("binary")
    key = page.get_by_label("The key that this server was started with")
    expect(key).to_be_focused()
    expect(page.get_by_role("alert")).to_contain_text("this server asks for its API key")
    key.fill("wrong")
    key.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("the API key is not this server's")
    key.fill("s3cret")
    key.press("Enter")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("status")).to_have_text("popular")
    expect(key).to_be_hidden()
    page.reload()
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("status")).to_have_text("popular")
    page.get_by_text("Details").click()
    command = page.get_by_label("curl command").inner_text()
    assert '-H "Authorization: Bearer $API_KEY"' in command
    assert "s3cret" not in page.content()
    assert page.get_by_role("link", name="API documentation").count() == 0


def test_a_server_that_is_gone_is_told(visit: Visit) -> None:
    page = visit("binary")
    page.context.set_offline(True)
    page.get_by_role("button", name="Predict").click()
    message = "The server doesn't answer: see whether it is still running"
    expect(page.get_by_role("alert")).to_have_text(message)


CONTRASTS = """() => {
    const luminance = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map((x) => x / 255).map(
            (x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (node) => {
        const colour = getComputedStyle(node).backgroundColor;
        return colour === "rgba(0, 0, 0, 0)" ? behind(node.parentElement) : colour;
    };
    const texts = [...document.querySelectorAll("body *")].filter((node) => node.checkVisibility()
        && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()));
    return texts.map((node) => {
        const [dark, light] = [getComputedStyle(node).color, behind(node)].map(luminance).sort((a, b) => a - b);
        return [(light + 0.05) / (dark + 0.05), node.textContent];
    });
}"""


def test_a_phone_shows_all_of_it_and_a_screen_reader_says_what_each_field_is(visit: Visit) -> None:
    for kind in ("binary", "multiclass", "multilabel", "other"):
        page = visit(kind, viewport={"width": 320, "height": 600}, has_touch=True)
        page.get_by_text("Details").click()
        page.get_by_text("Model card").click()
        if kind == "binary":
            page.get_by_label("price").fill("cheap")
            page.keyboard.press("Enter")
            expect(page.locator(".error").first).not_to_be_empty()
            check_for_everybody(page)
            rows = "price,colour,sold on,more,and more\n" + "1,red,01.02.2024,4,5\n" * 200
            page.evaluate(DROP, [rows, "a-file-with-a-long-name.csv"])
        elif kind == "multiclass":
            expect(page.get_by_label("Take a photo")).to_have_attribute("capture", "environment")
            page.get_by_label("Image files").set_input_files(upload("cat.png", image()))
        else:
            page.get_by_role("button", name="Predict").click()
        expect(page.locator("#shown > *").first).to_be_visible()
        check_for_everybody(page)
    assert visit("multiclass").get_by_label("Take a photo").count() == 0  # no phone


def check_for_everybody(page: Page) -> None:
    """On a screen of 320 pixels nothing is cut off; texts stand out, fields have labels, and one sees the focus."""
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 20
        assert min(contrasts)[0] >= 4.5, min(contrasts)
    unlabelled = "[...document.querySelectorAll('input, select, textarea')].filter((field) => !field.labels.length)"
    assert page.evaluate(f"{unlabelled}.length") == 0
    assert page.evaluate("document.documentElement.lang") == "en"
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
