"""Lightning's own callbacks: what they make of a training can be resumed and tested; and which epoch is the best."""

import importlib
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import RUN, Kindling, rows
from lightning.pytorch import Trainer
from test_interrupted import assert_same, next_second, signal_at
from torch.optim import SGD
from tqdm import tqdm

from kindling import load
from kindling.callbacks.report import progress
from kindling.models import SimpleNet

__all__ = ["signal_at"]  # a fixture
FIT = ("fit", "--model=SimpleNet", "--trainer.max_epochs=4")
EMA = ("EMAWeightAveraging", "decay=0.9")
BACKBONE = """
from torch import nn
from kindling.models.base import SupervisedModule

class Backboned(SupervisedModule):
    def __init__(self, in_features: int, num_outputs: int):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(in_features, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.head = nn.Linear(8, num_outputs)

    def forward(self, x):
        return self.head(self.backbone(x))

    def configure_optimizers(self):
        from torch.optim import Adam
        return Adam(self.head.parameters(), lr=0.01)
"""


def callback(name: str, *options: str) -> tuple[str, ...]:
    return (f"--trainer.callbacks+={name}", *(f"--trainer.callbacks.{option}" for option in options))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        callback(*EMA),
        (*callback(*EMA), "--loss=CrossEntropyLoss", "--loss.weight=[1, 2.3]"),
        callback("EarlyStopping", "monitor=val/loss", "patience=1", "min_delta=0.05"),
        callback("StochasticWeightAveraging", "swa_lrs=0.05", "swa_epoch_start=3"),
        (*callback("BackboneFinetuning", "unfreeze_backbone_at_epoch=2"), "--model=backboned.Backboned",
         "--data=SyntheticTabular"),
    ],
)  # fmt: skip
def test_a_callback_is_resumed_and_tested(
    kindling: Kindling, signal_at: Callable[..., None], monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    Path("backboned.py").write_text(BACKBONE)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    own = importlib.import_module("backboned").Backboned
    typed = [option for option in options if option.startswith("--model=")]
    signal_at(30, signal.SIGTERM, model=own if typed else SimpleNet)
    kindling(*FIT, *options, code=143)
    next_second()
    kindling("fit", "--ckpt_path=last", *typed)
    kindling(*FIT, *options)
    assert_same(RUN, RUN.with_name("version_1"))

    table = rows(RUN / "metrics.csv")
    for command in ("validate", "test"):
        kindling(command, "--ckpt_path=version_0", *typed)
        assert kindling.err == ""
    scored = json.loads((RUN / "validate.json").read_text())
    best = min(table, key=lambda row: float(row["val/loss"]))
    assert scored["epoch"] == int(best["epoch"])
    assert scored["val/loss"] == pytest.approx(float(best["val/loss"]), rel=1e-6)


@pytest.mark.slow
def test_a_finished_run_with_averaged_weights_goes_on(kindling: Kindling) -> None:
    kindling(*FIT, *callback(*EMA))
    kindling("fit", "--ckpt_path=last", "--trainer.max_epochs=6")
    kindling(*FIT, *callback(*EMA), "--trainer.max_epochs=6")
    losses = [[row["val/loss"] for row in rows(run / "metrics.csv")] for run in (RUN, RUN.with_name("version_1"))]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 6


@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated")  # Lightning 2.6 asks torch 2.15 in the old way
def test_a_plain_trainer_asks_for_none_of_our_callbacks(run: Path) -> None:
    model, data = load(run)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.test(model, datamodule=data, ckpt_path=run / "checkpoints/best.ckpt", weights_only=True, verbose=False)


@pytest.mark.parametrize(("monitor", "mode"), [("val/acc", "max"), ("train/loss", "min")])
def test_the_best_epoch_is_the_best_by_the_monitored_score(
    kindling: Kindling, monkeypatch: pytest.MonkeyPatch, monitor: str, mode: str
) -> None:
    monkeypatch.setattr(SimpleNet, "monitor", monitor)
    monkeypatch.setattr(SimpleNet, "mode", mode, raising=False)
    kindling(*FIT)
    scores = [float(row[monitor]) for row in rows(RUN / "metrics.csv")]
    best = scores.index(max(scores) if mode == "max" else min(scores)) + 1
    assert f"Best epoch {best}: " in kindling.out
    kindling("validate", "--ckpt_path=best")
    assert json.loads((RUN / "validate.json").read_text())["epoch"] == best
    if mode == "max":
        assert min(scores) < max(scores)


def test_a_monitored_score_that_is_not_there_stops_the_first_epoch(
    kindling: Kindling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimpleNet, "monitor", "val/accuracy")
    monkeypatch.setattr(SimpleNet, "configure_optimizers", lambda self: SGD(self.parameters(), lr=0.1))
    kindling(*FIT, code=2)
    there = "val/loss, val/acc, val/f1, val/auroc"
    assert kindling.err.startswith(
        f"kindling: error: --monitor val/accuracy: no score of the task has that name; there are {there}"
    )


@pytest.mark.slow
def test_a_notebook_has_a_bar(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = []

    def bar(**options: Any) -> object:
        bars.append(options["desc"])
        return tqdm(disable=True)

    monkeypatch.setattr(progress, "tqdm", bar)
    kindling(*FIT)
    assert bars == []  # neither a terminal nor a notebook
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    for _ in range(2):
        kindling(*FIT)
    assert bars == [f"epoch {n}/4" for n in (1, 2, 3, 4)] * 2
