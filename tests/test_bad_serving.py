"""Serving: bad input of ``serve``, answered before it listens."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Kindling
from errors_page import Case

FOLDER = "lightning_logs/version_0/export"
SERVE = ("serve", "--export", FOLDER, "--port=0")


def typed(what: str, says: str, *more: str) -> Case:
    return Case(what, (*SERVE, *more), says, exported)


def exported(description: object = None) -> None:
    """A folder whose network is no network."""
    Path(FOLDER).mkdir(parents=True)
    Path(FOLDER, "model.onnx").write_bytes(b"no network")
    described: dict[str, object] = {key: {} for key in ("network", "data", "task", "input", "output")}
    Path(FOLDER, "preprocessing.json").write_text(json.dumps(description or {"format": 2} | described))


def without(name: str) -> Callable[[], None]:
    def prepare() -> None:
        exported()
        Path(FOLDER, name).unlink()

    return prepare


def cut_short() -> None:
    exported()
    Path(FOLDER, "preprocessing.json").write_text('{"format": 2')


CASES = [
    Case("no checkpoint", ("serve",), "serve needs a trained network: add --ckpt_path best"),
    Case("no run", ("serve", "--ckpt_path", "best"), "no training run with a best.ckpt under lightning_logs"),
    Case("two things to serve", ("serve", "--export", "a", "--ckpt_path", "best"), "leave out --ckpt_path and --model"),
    typed("an option of the data", "--data.batch_size: --export names what is served as it is", "--data.batch_size=7"),
    Case("no such folder", SERVE, f"--export {FOLDER}: there is no such folder: name one that export has written"),
    Case("no network in it", SERVE, "export the network with --format onnx", without("model.onnx")),
    Case(
        "no description", SERVE, "preprocessing.json is missing: export the network anew", without("preprocessing.json")
    ),
    Case("a damaged description", SERVE, "is damaged (Expecting ',' delimiter", cut_short),
    Case(
        "an older export",
        SERVE,
        "is of format 1, and this version of Kindling serves format 2",
        lambda: exported({"input": 1}),
    ),
    Case("a newer export", SERVE, "serves format 2: update Kindling", lambda: exported({"format": 3})),
    typed("a damaged network", "model.onnx can't be read ("),
    typed("a port that is none", "--port 70000", "--port=70000"),
    typed("a port in words", "--port http: should be int", "--port=http"),
    typed("an address of another machine", "--host 203.0.113.7", "--host=203.0.113.7"),
    typed("no batch", "--max_batch 0: should be at least 1", "--max_batch=0"),
    typed("a wait below 0", "--max_wait_ms -1.0: should be at least 0", "--max_wait_ms=-1"),
    typed("no grace", "--grace -1.0: should be at least 0", "--grace=-1"),
    typed("no body", "--max_body 0.0: should be above 0", "--max_body=0"),
    typed("a key that is typed", "--api_key names a file that holds the key, or env:NAME", "--api_key=secret"),
    typed("a variable that is not set", "the variable NO_SUCH is empty or not set", "--api_key=env:NO_SUCH"),
    Case("an option of serve", ("fit", "--model", "SimpleNet", "--port", "80"), "--port is an option of serve, not of"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_bad_serving(kindling: Kindling, case: Case) -> None:
    kindling.answers("Serving", case)


def test_a_port_that_is_taken(kindling: Kindling) -> None:
    exported()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"--port {port}" in kindling.fails("serve", "--export", FOLDER, f"--port={port}")
