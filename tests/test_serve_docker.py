"""``serve --docker``: files for an image without torch. No daemon runs here, so that what they say is done by hand."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import Kindling, needs

from kindling.errors import RunError
from kindling.serve import docker

TRAINING = ("torch", "lightning", "torchvision", "torchmetrics", "matplotlib", "optuna", "tensorboard", "safetensors")


def test_the_files_of_an_image_name_what_is_there_and_no_torch(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no model\.onnx, which the image needs: export the network with --format"):
        docker.write(tmp_path)
    for name in (*docker.MODEL, "weights.pt"):
        (tmp_path / name).write_text("x")
    docker.write(tmp_path)
    docker.write(tmp_path)  # in place of the first
    assert {file.name for file in tmp_path.iterdir()} - {"weights.pt"} == {
        *("Dockerfile", ".dockerignore", "compose.yaml", "requirements.txt", "kindling", *docker.MODEL)
    }
    steps = [line.split() for line in (tmp_path / "Dockerfile").read_text().splitlines()]
    copied = {name for word, *names in steps if word == "COPY" for name in names[:-1]}
    assert all((tmp_path / name).exists() for name in copied)
    ignored, *taken = (tmp_path / ".dockerignore").read_text().split()
    assert (ignored, {name.removeprefix("!") for name in taken}) == ("*", copied)
    assert [user for word, *user in steps if word == "USER"] == [["10001:10001"]]
    pinned = (tmp_path / "requirements.txt").read_text().split()
    assert not {line.partition("==")[0] for line in pinned} & {*TRAINING}
    assert f"onnxruntime=={importlib.metadata.version('onnxruntime')}" in pinned
    service = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]["kindling"]
    assert service["read_only"]
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert not list((tmp_path / "kindling").rglob("__pycache__"))


@pytest.mark.slow
def test_the_command_of_the_image_answers_with_nothing_but_what_the_image_has(
    kindling: Kindling, run: Path, tmp_path: Path
) -> None:
    """Its packages alone are linked into a folder, and Python is kept from all others."""
    needs("SimpleNet", "SyntheticTabular")
    folder = run.absolute() / "export"
    kindling("serve", "--ckpt_path", "best", "--docker")
    packages = tmp_path / "packages"
    packages.mkdir()
    for line in (folder / "requirements.txt").read_text().split():
        package = importlib.metadata.distribution(line.partition("==")[0])
        for top in {file.parts[0] for file in package.files or () if file.parts[0] not in ("..", "__pycache__")}:
            (packages / top).symlink_to(Path(str(package.locate_file(top))))
    steps = (folder / "Dockerfile").read_text()
    command = json.loads(re.search(r"(?m)^CMD (.*)$", steps)[1])  # type: ignore[index]
    healthy = json.loads(re.search(r"(?m)^HEALTHCHECK .*? CMD (.*)$", steps)[1])  # type: ignore[index]
    assert command[0] == healthy[0] == "python"
    own = {"/model": str(folder), "0.0.0.0": "127.0.0.1"}
    command = [sys.executable, "-S", *(own.get(word, word) for word in command[1:]), "--port", "0"]
    environment = {"PYTHONPATH": f"{folder}{os.pathsep}{packages}"}
    with subprocess.Popen(command, cwd="/", env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            address = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())[0]  # type: ignore[index]
            healthy = [sys.executable, *(word.replace("http://127.0.0.1:8000", address) for word in healthy[1:])]
            row = json.dumps({"price": 7.5, "rating": 3.0}).encode()
            request = f"urllib.request.Request('{address}/predict', {row!r}, {{'Content-Type': 'application/json'}})"
            code = f"import urllib.request; print(urllib.request.urlopen({request}).read().decode())"
            subprocess.run(healthy, check=True)
            asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        finally:
            server.terminate()
    assert json.loads(asked.stdout)["prediction"] in ("popular", "not popular")
    assert server.returncode == 143
    assert subprocess.run(healthy, capture_output=True).returncode == 1  # as nothing answers any more
