"""docs/serving.md: its commands run, and what it asks by curl and from Python is answered as it says."""

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from conftest import ROOT, Kindling, needs
from PIL import Image
from starlette.testclient import TestClient
from test_readme import COMMANDS, PAGES
from test_serve import TASK

from kindling.serve.app import Settings, make_app
from kindling.serve.exported import Exported


@contextmanager
def listening(app: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        thread = threading.Thread(target=server.run, args=([sock],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page calls curl")
@pytest.mark.usefixtures("shipped")
def test_what_the_page_on_serving_asks_is_answered(kindling: Kindling, served: list[TestClient]) -> None:
    needs("SimpleNet", "TabularCSV")
    shutil.copytree(ROOT / "examples", "examples")
    Path("key.txt").write_text("correct horse\n")
    Path("photos").mkdir()
    for name in ("a.png", "b.jpg"):
        Image.new("L", (99, 50), 200).save(f"photos/{name}")
    for _, _, *args in COMMANDS["docs/serving.md"]:
        kindling(*args, *(["--port=0"] if args[0] == "serve" else []))
        assert kindling.err == ""
    form = {"mode": "L", "size": 28, "ground": "white", "fit": "pad"}
    described = {"network": "Net", "data": "Photos", "versions": {"kindling": "0.1.0"}, "task": TASK, "scores": {}}
    described |= {"input": {"shape": ["N", 1, 28, 28], "dtype": "uint8", "image": form}, "output": {}}
    mean = Exported(Path("model.onnx"), described, "", lambda x: x.mean(axis=(2, 3), dtype=np.float32))
    images = make_app(mean, Settings())
    blocks = re.findall(r"```(sh|json|python)\n(.*?)```", PAGES["docs/serving.md"], re.DOTALL)
    answered: list[str] = []
    with listening(served[0].app) as open_, listening(served[1].app) as locked, listening(images) as of_images:
        for kind, block in blocks:
            address = of_images if "photos/" in block else locked if "key.txt" in block else open_
            block = block.replace("http://127.0.0.1:8000", address)
            if kind == "python":
                out = subprocess.run([sys.executable, "-c", block], check=True, capture_output=True, text=True).stdout
                assert re.fullmatch(r"\[\d+\.\d+, \d+\.\d+\]\n", out)
            elif kind == "json":
                for said, line in zip(block.splitlines(), answered, strict=True):
                    assert alike(json.loads(said), json.loads(line)), line
            elif "pip install" in block:
                assert Path("lightning_logs/version_0/export/requirements.txt").is_file()
            else:
                script = block.replace("curl ", "curl -sS -w '\\n' ")
                done = subprocess.run(["bash", "-ec", script], check=True, capture_output=True, text=True)
                answered = done.stdout.splitlines()
                assert ('{"detail"' in done.stdout) == ("many" in block), done.stdout


def alike(one: Any, other: Any) -> bool:
    """Whether two answers say the same, but for digits that another CPU may change, and for dots in a text."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == "..." or one == (pytest.approx(other, rel=1e-3) if isinstance(other, float) else other)
