"""Checkpoints: files that are damaged, of something else, or dangerous."""

import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import RUN, Kindling, equal, weights
from errors_page import Case

import kindling as package

BEST = RUN / "checkpoints/best.ckpt"
FILE = f"{BEST}"
TEST = ("test", "--ckpt_path")


class Code:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


def _write(content: bytes) -> Callable[[], object]:
    return lambda: BEST.write_bytes(content)


def _cut() -> None:
    BEST.write_bytes(BEST.read_bytes()[:-2000])


def _flip() -> None:
    """One bit of a weight, which torch reads without complaint."""
    with zipfile.ZipFile(BEST) as parts:
        part = next(p for p in parts.infolist() if p.filename.endswith("/data/0"))
    content = bytearray(BEST.read_bytes())
    place = content.index(weights(BEST)["net.1.weight"].numpy().tobytes(), part.header_offset)
    content[place + 3] ^= 0x40
    BEST.write_bytes(content)
    torch.load(BEST, weights_only=True)


def _save(content: Any, file: Path = BEST) -> None:
    torch.save(content, file)


def _change(**changes: Any) -> None:
    _save(torch.load(BEST, weights_only=True) | changes)


def _rename_weights() -> None:
    _change(state_dict={name.replace("net.3", "net.head"): value for name, value in weights(BEST).items()})


def _archive() -> None:
    with zipfile.ZipFile(BEST, "w") as parts:
        parts.writestr("letter.txt", "hello")


CASES = [
    Case("no such file", (*TEST, "nowhere.ckpt"), "no such file or run"),
    Case("a file that is empty", (*TEST, FILE), "is no checkpoint, or a damaged one", _write(b"")),
    Case("a truncated file", (*TEST, FILE), "is no checkpoint, or a damaged one", _cut),
    Case("a flipped bit in a weight", (*TEST, "best"), "is damaged", _flip),
    Case("a flipped bit, training on", ("fit", "--ckpt_path", FILE), "is damaged", _flip),
    Case("a text", (*TEST, FILE), "is no checkpoint, or a damaged one", _write(b"just a text\n")),
    Case("another kind of archive", (*TEST, FILE), "is no checkpoint, or a damaged one", _archive),
    Case("weights alone", (*TEST, FILE), "it has no state_dict", lambda: _save(weights(BEST))),
    Case("a pickled network", (*TEST, FILE), "which is not run", lambda: _save(torch.nn.Linear(2, 2))),
    Case("a pickle that runs a program", (*TEST, FILE), "which is not run", lambda: _change(hyper_parameters=Code())),
    Case("a bare pickle", (*TEST, FILE), "is no checkpoint", lambda: BEST.write_bytes(pickle.dumps(Code()))),
    Case("of another network", (*TEST, FILE, "--model", "Net"), "holds SimpleNet, not Net"),
    Case("of another version of the network", (*TEST, FILE), 'Missing key(s) in state_dict: "net.3', _rename_weights),
    Case("of another width", (*TEST, FILE, "--model.hidden", "64"), "mismatch for net.1.weight: copying"),
    Case("for other data", (*TEST, FILE, "--data", "FashionMNIST"), "model is torch.Size([32, 784])"),
    Case("of another program", (*TEST, FILE), "add --model and --data", lambda: _change(config={})),
    Case("a class that is gone", (*TEST, FILE), "names kindling.models.Gone for --model", lambda: _change(
        config=torch.load(BEST, weights_only=True)["config"] | {"model": {"class_path": "kindling.models.Gone"}})),
    Case("a folder that is no run", (*TEST, "lightning_logs"), "there is no lightning_logs/checkpoints/best.ckpt"),
    Case("nothing trained yet", (*TEST, "best"), "train one first", lambda: shutil.rmtree("lightning_logs")),
    Case("training on a finished run", ("fit", "--ckpt_path", "last"), "has had its 10 epochs"),
    Case("a damaged config.yaml", (*TEST, "best", "--model", "SimpleNet"), "can't be read", lambda: (
        RUN / "config.yaml").write_text("model: [")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_bad_checkpoints(kindling: Kindling, run: Path, case: Case) -> None:
    kindling.answers("Checkpoints", case)
    assert not Path("executed").exists()


@pytest.mark.parametrize("command", ["validate", "predict", "export", "fit"])
def test_every_command_refuses_a_flipped_bit(kindling: Kindling, run: Path, command: str) -> None:
    _flip()
    assert "is damaged" in kindling.fails(command, f"--ckpt_path={FILE}")


def test_a_checkpoint_from_a_gpu_is_read_without_one(
    kindling: Kindling, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = weights(BEST)
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        _change()
    assert b"cuda:0" in BEST.read_bytes()
    assert equal(before, dict(package.load(RUN)[0].state_dict()))
    kindling("test", "--ckpt_path=best")
    kindling("fit", f"--ckpt_path={FILE}", "--trainer.max_epochs=11")
