"""A dataset of one's own: a ``Dataset`` whose samples are made, and changed at random, when they are asked for."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import processes
import pytest
from conftest import RUN, Kindling, rows, weights
from test_interrupted import assert_same, next_second

MODULE = '''
import os
import random
import signal
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.utils.data import Dataset

from kindling.data.base import DataModule
from kindling.errors import DataError
from kindling.facts import Facts
from kindling.models.base import SupervisedModule


class Bars(Dataset):
    """Pictures (3, 8, 8) of a bar whose place is the class, brighter or darker at random; ``reads`` counts them."""

    reads = 0

    def __init__(self, size: int, noise: float = 0.0, damaged: int = -1):
        self.size, self.noise, self.damaged = size, noise, damaged

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int):
        Bars.reads += 1
        if index == self.damaged:
            raise DataError(f"picture {index} is damaged: leave it out")
        x, y = torch.zeros(3, 8, 8), index % 3
        x[:, 2 * y + 1] = 1
        x += self.noise * (torch.rand(1) + np.random.rand() + random.random()).float()
        return x, y


class BarData(DataModule):
    """Bars.

    Args:
        batch_size: Pictures per batch.
        num_workers: Processes that make them.
        size: Pictures to train on.
        test_size: Pictures to test and predict.
        damaged: A training picture that can't be read.
    """

    def __init__(
        self, batch_size: int = 8, num_workers: int = 0, size: int = 45, test_size: int = 45, damaged: int = -1
    ):
        super().__init__(batch_size, num_workers)
        self.size, self.test_size, self.damaged = size, test_size, damaged

    @property
    def facts(self) -> Facts:
        return Facts(in_features=3 * 8 * 8, class_names=("top", "middle", "bottom"), in_channels=3, image_size=8)

    def setup(self, stage: str) -> None:
        self.train_set, self.val_set = Bars(self.size, 0.5, self.damaged), Bars(15, 0.5)
        self.test_set = self.predict_set = Bars(self.test_size)


class Linear(SupervisedModule):
    """One layer, and dropout, which draws from the generators of the process that trains."""

    def __init__(self, in_features: int, num_outputs: int, dropout: float = 0.2):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(in_features, num_outputs))

    def forward(self, x):
        return self.net(x)


class Plain(LightningModule):
    """No SupervisedModule, and can't take an empty batch: notes the size of each batch of a process."""

    def __init__(self, in_features: int):
        super().__init__()
        self.net = nn.Linear(in_features, 3)

    def _loss(self, batch, stage):
        x, y = batch
        assert len(x)
        with open(f"{stage}{self.global_rank}.txt", "a") as file:
            file.write(f"{len(x)} ")
        loss = nn.functional.cross_entropy(self.net(x.flatten(1)), y)
        self.log(f"{stage}/loss", loss, on_epoch=True, sync_dist=True, batch_size=len(x))
        return loss

    def training_step(self, batch):
        return self._loss(batch, "train")

    def validation_step(self, batch):
        self._loss(batch, "val")

    def test_step(self, batch):
        self._loss(batch, "test")

    def predict_step(self, batch):
        assert len(batch[0])
        return self.net(batch[0].flatten(1)).softmax(dim=1)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)
'''
OWN = ("--model=bars.Linear", "--data=bars.BarData")
FIT = ("fit", *OWN, "--trainer.max_epochs=4", "--optimizer=Adam", "--optimizer.lr=0.03")


@pytest.fixture(autouse=True)
def _module(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("bars.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)  # no advice on workers


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have a signal sent in an optimizer step, counted from 0."""

    def stop_at(step: int) -> None:
        import bars

        training_step = bars.Linear.training_step

        def stopped(self: bars.Linear, batch: tuple) -> object:
            if self.global_step == step:
                monkeypatch.setattr(bars.Linear, "training_step", training_step)
                os.kill(os.getpid(), signal.SIGTERM)
            return training_step(self, batch)

        monkeypatch.setattr(bars.Linear, "training_step", stopped)

    return stop_at


def test_from_fit_to_export(kindling: Kindling) -> None:
    kindling(*FIT, "--trainer.max_epochs=8", "--test_after_fit=true")
    assert kindling.err == ""
    assert json.loads((RUN / "test.json").read_text())["test/acc"] == 1
    kindling("predict", "--ckpt_path=best", "-c", str(RUN / "config.yaml"))
    predicted = rows(RUN / "predictions.csv")
    assert [row["sample"] for row in predicted] == [str(n) for n in range(45)]
    assert [row["prediction"] for row in predicted] == 15 * ["top", "middle", "bottom"]


def test_workers_change_nothing_and_each_epoch_draws_anew(kindling: Kindling) -> None:
    kindling(*FIT)
    kindling(*FIT, "--data.num_workers=2")
    assert kindling.err == ""
    assert_same(RUN, RUN.with_name("version_1"))
    losses = [float(row["train/loss"]) for row in rows(RUN / "metrics.csv")]
    assert len(set(losses)) == 4
    kindling(*FIT, "--seed_everything=43", "--trainer.max_epochs=1")
    assert float(rows(RUN.with_name("version_2") / "metrics.csv")[0]["train/loss"]) != losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_stopped_between_and_within_epochs(kindling: Kindling, stop_at: Callable[[int], None], workers: int) -> None:
    import bars

    fit = (*FIT, f"--data.num_workers={workers}")  # 6 steps per epoch
    resume = ("fit", "--ckpt_path=last", "-c", str(RUN / "config.yaml"))
    stop_at(8)
    kindling(*fit, code=143)
    next_second()
    stop_at(11)  # the last step of an epoch
    kindling(*resume, code=143)
    next_second()
    bars.Bars.reads = 0
    kindling(*resume)
    if not workers:
        assert bars.Bars.reads == 2 * (45 + 15)  # of the epochs that were over nothing was read again
    kindling(*fit)
    assert_same(RUN, RUN.with_name("version_1"))


def test_of_a_million_samples_only_those_of_the_batches_are_read(kindling: Kindling) -> None:
    import bars

    config = ("-c", str(RUN / "config.yaml"))
    kindling(*FIT, "--trainer.max_epochs=1")
    many = ("--ckpt_path=best", "--data.test_size=1000000")
    bars.Bars.reads = 0
    kindling("predict", *config, *many, "--trainer.limit_predict_batches=2")
    assert bars.Bars.reads == 2 * 4 * 8  # batches without gradients are four times as large
    assert len(rows(RUN / "predictions.csv")) == 2 * 4 * 8
    bars.Bars.reads = 0
    kindling("test", *config, *many, "--trainer.limit_test_batches=3")
    assert 3 * 4 * 8 <= bars.Bars.reads <= 3 * 4 * 8 + 100  # and those that the pictures show


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_that_can_not_be_read_is_one_line(kindling: Kindling, workers: int) -> None:
    kindling(*FIT, "--data.damaged=7", f"--data.num_workers={workers}", code=2)
    assert kindling.err == "kindling: error: picture 7 is damaged: leave it out\n"


@pytest.mark.parametrize("items", ["{'image': x, 'label': y}", "('x', y)", "(x[:, : 1 + index], y)"])
def test_samples_that_are_no_batch(kindling: Kindling, items: str) -> None:
    Path("bars.py").write_text(MODULE.replace("return x, y", f"return {items}"))
    sys.modules.pop("bars", None)
    kindling(*FIT, code=2)
    assert kindling.err.startswith("kindling: error: samples of the dataset can't be made a batch (")
    assert "each item has to be (x, y)" in kindling.err


def importable() -> None:
    sys.path.insert(0, str(Path.cwd()))


def in_processes(count: int, *args: str) -> None:
    devices = ("--trainer.accelerator=cpu", "--trainer.strategy=ddp", f"--trainer.devices={count}")
    codes = processes.finish(*processes.start_several(count, *args, *devices, first=importable))
    assert codes == [0] * count, [f.read_text() for f in Path().glob("output*.txt")]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_two_processes_read_each_sample_once(workers: int) -> None:
    for count in (1, 2):  # 45 samples in batches of 11 leave one for the last batch
        options = (f"--data.batch_size={22 // count}", f"--data.num_workers={workers}", "--model.dropout=0")
        in_processes(count, *FIT, *options, "--trainer.max_epochs=2")
    one, two = RUN, RUN.with_name("version_1")
    a, b = (weights(run / "checkpoints/last.ckpt") for run in (one, two))
    assert max((a[name] - b[name]).abs().max() for name in a) < 1e-6
    in_processes(2, "predict", f"--ckpt_path={two}", "-c", str(two / "config.yaml"))
    assert [row["sample"] for row in rows(two / "predictions.csv")] == [str(n) for n in range(45)]


@pytest.mark.slow
def test_two_processes_have_as_many_samples_for_a_network_that_asks_for_no_less() -> None:
    plain = ("--model=bars.Plain", "--data=bars.BarData", "--data.batch_size=11")
    in_processes(2, "fit", *plain, "--trainer.max_epochs=1")
    for rank in range(2):
        assert Path(f"train{rank}.txt").read_text() == "11 11 1 "
        assert Path(f"val{rank}.txt").read_text() == "8 8 "  # the first before training
    in_processes(2, "test", *plain, f"--ckpt_path={RUN}")
    assert "1 of the samples count twice" in Path("output0.txt").read_text()
    in_processes(2, "predict", *plain, f"--ckpt_path={RUN}")
    assert [row["sample"] for row in rows(RUN / "predictions.csv")] == [str(n) for n in range(45)]
