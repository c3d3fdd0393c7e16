"""Tests go through the front door: ``kindling`` runs a command in process, in an empty folder, without a network."""

import csv
import gzip
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

os.environ["OMP_NUM_THREADS"] = "1"  # the suite runs in a process per core
os.environ["TQDM_DISABLE"] = "1"  # as main does where there is no terminal, before anybody imports tqdm

import errors_page
import numpy as np
import pytest
import tiny
import torch
from errors_page import Case
from fastapi import FastAPI
from starlette.testclient import TestClient
from torchvision import datasets

from kindling.cli import main, serving, sweeping
from kindling.data import DATA
from kindling.models import MODELS
from kindling.pictures import style
from kindling.serve import server
from kindling.sweep import workers

ROOT = Path(__file__).parents[1]
RUN = Path("lightning_logs/version_0")
SCRIPT = ROOT / "tests/program.py"  # scripts/main.py with the tests' own network and dataset
# examples that tests of other things use too: when an adopter has deleted one, those tests are skipped
EXAMPLES = {
    *("Net", "NeuralNetwork", "WideResNet", "TripletNet", "Backbone", "SimpleNN", "SequentialNN", "SimpleNet"),
    *("FashionMNIST", "TabularCSV", "SyntheticTabular", "ImageFolder"),
}


def needs(*names: str) -> None:
    """Skip a test that uses networks or datasets which were deleted."""
    if gone := _deleted(names):
        pytest.skip(f"the project has no {', '.join(gone)} any more")


def _deleted(names: Iterable[str]) -> list[str]:
    return [name for name in names if name in EXAMPLES - MODELS.keys() - DATA.keys()]


def _imported(file: Path) -> list[str]:
    """Names that a file imports from ``kindling.data`` and ``kindling.models``."""
    lines = re.findall(r"(?m)^from kindling\.(?:data|models) import (.+)$", file.read_text(encoding="utf-8"))
    return [name for line in lines for name in line.split(", ")]


collect_ignore = [file.name for file in Path(__file__).parent.glob("test_*.py") if _deleted(_imported(file))]


class Kindling:
    """Runs commands and keeps what the last one printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *args: str, code: int = 0) -> str:
        """Run one command, check its exit code, and return its standard output."""
        needs(*named(args))
        self._capsys.readouterr()
        result: object
        try:
            result = main([str(a) for a in args])
        except SystemExit as stop:
            result = stop.code
        self.out, self.err = self._capsys.readouterr()
        assert result == code, self.out + self.err
        return self.out

    def fails(self, *args: str) -> str:
        """Run one command that must answer with one line and exit code 2, and return that line."""
        before = _files()
        self(*args, code=2)
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("kindling: error: ")
        assert _files() == before, "something was left behind"
        return self.err

    def answers(self, section: str, case: Case) -> None:
        """Go through a case of docs/errors.md."""
        case.prepare()
        errors_page.check(section, case, self.fails(*case.args).removeprefix("kindling: error: ").strip())


def named(args: Sequence[str]) -> list[str]:
    """The network and the dataset of a command; where no dataset is typed, it is the network's own."""
    words = [word for arg in args for word in str(arg).split("=", 1)]
    typed = {option: name for option, name in pairwise(words) if option in ("--model", "--data")}
    network = MODELS.get(typed.get("--model", ""))
    return [*typed.values(), *([network.default_data or ""] if network and "--data" not in typed else [])]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the cases of a test that is marked ``first_by_default`` the others are slow."""
    seen = set()
    for item in items:
        test = item.nodeid.partition("[")[0]
        if item.get_closest_marker("first_by_default") and test in seen:
            item.add_marker("slow")
        seen.add(test)


def pytest_sessionfinish() -> None:
    if errors_page.WRITE:
        errors_page.write()


def _files() -> set[Path]:
    """All files, and the folders of runs, which may not be left behind empty; but for locks."""
    return {f for f in Path().rglob("*") if (f.is_file() and f.name != ".lock") or f.name.startswith("version_")}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty working directory, no network, and no trace of an earlier command in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["scripts/main.py"])
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    before = set(sys.modules)
    yield
    for name in sys.modules.keys() - before:  # modules that this test wrote; the next may write others of these names
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def _blank_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that are not about pictures have blank ones: drawing takes as long as two epochs of SimpleNet."""
    if not request.node.get_closest_marker("pictures"):
        monkeypatch.setattr(style, "paint", lambda draw: np.zeros((8, 8, 3), np.uint8))


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's own networks and datasets under all names, as outside of tests."""
    for entries, own in zip((MODELS, DATA), tiny.SHIPPED, strict=True):
        for name in entries.keys() - own.keys():
            monkeypatch.delitem(entries, name)
        for name, entry in own.items():
            monkeypatch.setitem(entries, name, entry)


@pytest.fixture
def kindling(capsys: pytest.CaptureFixture[str]) -> Kindling:
    return Kindling(capsys)


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished default run of SimpleNet, which no test may change."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["fit", "--model", "SimpleNet"]) == 0
    return folder / RUN


@pytest.fixture
def run(trained_once: Path) -> Path:
    """A finished default run of SimpleNet in the working directory, the test's own to spoil."""
    shutil.copytree(trained_once, RUN)
    return RUN


@pytest.fixture
def fashion(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Archives of the official form in ``data/``, 200 training and 50 test images: a bar whose place is the class."""
    raw = Path("data/FashionMNIST/raw")
    raw.mkdir(parents=True)
    resources = []
    for stage, count in (("train", 200), ("t10k", 50)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = np.random.default_rng(count).integers(0, 60, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, 2 * label + 4 : 2 * label + 6] = 255
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = np.array([0x0800 + array.ndim, *array.shape], dtype=">i4").tobytes()
            archive = raw / f"{stage}-{kind}-ubyte.gz"
            archive.write_bytes(gzip.compress(header + array.tobytes(), mtime=0))
            resources.append((archive.name, hashlib.md5(archive.read_bytes()).hexdigest()))
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    known = f"from torchvision import datasets; datasets.FashionMNIST.resources = {resources}"
    monkeypatch.setattr(sweeping, "CODE", f"{known}; {sweeping.CODE}")  # the processes of a sweep take them as well
    return raw


@pytest.fixture
def real(tmp_path: Path) -> None:
    """The real FashionMNIST in ``data/``, from FASHION_MNIST_ROOT (as seen from the clone) or the clone's ``data/``."""
    raw = ROOT / os.environ.get("FASHION_MNIST_ROOT", "data") / "FashionMNIST/raw"
    if not raw.is_dir() and "FASHION_MNIST_ROOT" not in os.environ:
        pytest.skip(f"the real archives are not in {raw}: name their root with FASHION_MNIST_ROOT")
    assert len(list(raw.glob("*.gz"))) == 4
    Path("data/FashionMNIST/raw").mkdir(parents=True)
    for archive in raw.glob("*.gz"):
        shutil.copy(archive, "data/FashionMNIST/raw")


@pytest.fixture
def fit(kindling: Kindling) -> Callable[..., Path]:
    """Train SimpleNet, for two epochs unless told otherwise; returns the folder that it said it wrote into."""

    def run(*options: str, epochs: int = 2) -> Path:
        out = kindling("fit", "--model", "SimpleNet", "--trainer.max_epochs", str(epochs), *options)
        return Path(next(line for line in out.splitlines() if " -> " in line).rpartition(" -> ")[2])

    return run


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(checkpoint, weights_only=True)["state_dict"]
    return state


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[TestClient]:
    """Clients of what ``serve`` would answer for ever, in the order of the commands, which end at once instead."""
    clients: list[TestClient] = []
    monkeypatch.setattr(serving, "_serve_anew", lambda folder, own: None)  # and so it is served here

    def serve(app: FastAPI, sock: socket.socket, grace: float) -> None:
        sock.close()
        clients.append(TestClient(app, raise_server_exceptions=False))

    monkeypatch.setattr(server, "serve", serve)
    return clients


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of a sweep start in an instant, and know the tests' own network and dataset."""
    import processes

    names = {"PIPE": subprocess.PIPE, "TimeoutExpired": subprocess.TimeoutExpired, "Popen": processes.Forked}
    monkeypatch.setattr(workers, "subprocess", SimpleNamespace(**names))
