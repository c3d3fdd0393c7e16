"""A dataset of one's own: a ``Dataset`` whose samples are made, and changed at random, when they are asked for."""

import importlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import processes
import pytest
import torch
from conftest import RUN, Kindling, rows, weights
from lightning.pytorch import LightningModule, Trainer
from test_interrupted import assert_same, next_second
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from kindling.data import FromDatasets
from kindling.errors import DataError, UsageError
from kindling.facts import Facts
from kindling.models.base import SupervisedModule

MODULE = '''
import os
import random
import signal
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.utils.data import Dataset, IterableDataset

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


class Stream(IterableDataset):
    """Bars, one after the other, in an order that is new in each epoch."""

    def __init__(self, bars: Bars):
        self.bars, self.epochs = bars, []

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def __iter__(self):
        return map(self.bars.__getitem__, torch.randperm(len(self.bars)).tolist())


class BarData(DataModule):
    """Bars.

    Args:
        batch_size: Pictures per batch.
        num_workers: Processes that make them.
        size: Pictures to train on.
        test_size: Pictures to test and predict.
        damaged: A training picture that can't be read.
        streamed: Whether those to train on come as a stream.
    """

    def __init__(
        self,
        batch_size: int = 8,
        num_workers: int = 0,
        size: int = 45,
        test_size: int = 45,
        damaged: int = -1,
        streamed: bool = False,
    ):
        super().__init__(batch_size, num_workers)
        self.size, self.test_size, self.damaged, self.streamed = size, test_size, damaged, streamed

    @property
    def facts(self) -> Facts:
        return Facts(in_features=3 * 8 * 8, class_names=("top", "middle", "bottom"), in_channels=3, image_size=8)

    def setup(self, stage: str) -> None:
        self.train_set, self.val_set = Bars(self.size, 0.5, self.damaged), Bars(15, 0.5)
        self.train_set = Stream(self.train_set) if self.streamed else self.train_set
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
def bars(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, imported anew."""
    Path("bars.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.delitem(sys.modules, "bars", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)  # no advice on workers
    return importlib.import_module("bars")


@pytest.fixture
def stop_at(bars: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have a signal sent in an optimizer step, counted from 0."""

    def stop_at(step: int) -> None:
        training_step = bars.Linear.training_step

        def stopped(self: LightningModule, batch: tuple) -> object:
            if self.global_step == step:
                monkeypatch.setattr(bars.Linear, "training_step", training_step)
                os.kill(os.getpid(), signal.SIGTERM)
            return training_step(self, batch)

        monkeypatch.setattr(bars.Linear, "training_step", stopped)

    return stop_at


def test_from_fit_to_export(kindling: Kindling) -> None:
    kindling(*FIT, "--trainer.max_epochs=7", "--test_after_fit=true")
    assert kindling.err == ""
    assert json.loads((RUN / "test.json").read_text())["test/acc"] == 1
    kindling("predict", "--ckpt_path=best", "-c", str(RUN / "config.yaml"))
    predicted = rows(RUN / "predictions.csv")
    assert [row["sample"] for row in predicted] == [str(n) for n in range(45)]
    assert [row["prediction"] for row in predicted] == 15 * ["top", "middle", "bottom"]
    assert (RUN / "confusion.png").is_file()
    kindling("export", "--ckpt_path=best", "-c", str(RUN / "config.yaml"))
    assert (RUN / "export/weights.pt").is_file()


@pytest.mark.slow
def test_workers_change_nothing_and_each_epoch_draws_anew(kindling: Kindling) -> None:
    kindling(*FIT, "--trainer.max_epochs=2")
    kindling(*FIT, "--trainer.max_epochs=2", "--data.num_workers=2")
    assert kindling.err == ""
    assert_same(RUN, RUN.with_name("version_1"))
    losses = [float(row["train/loss"]) for row in rows(RUN / "metrics.csv")]
    assert len(set(losses)) == 2
    kindling(*FIT, "--seed_everything=43", "--trainer.max_epochs=1")
    assert float(rows(RUN.with_name("version_2") / "metrics.csv")[0]["train/loss"]) != losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_stopped_between_and_within_epochs(
    kindling: Kindling, bars: Any, stop_at: Callable[[int], None], workers: int
) -> None:
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


def test_a_stream_is_read_from_its_beginning_also_to_resume(
    kindling: Kindling, bars: Any, stop_at: Callable[[int], None]
) -> None:
    fit = (*FIT, "--trainer.max_epochs=3", "--data.streamed=true")  # 6 steps per epoch
    stop_at(8)
    kindling(*fit, code=143)
    assert "The training set is a stream, Stream: not shuffled, and read from its beginning" in kindling.out
    kindling("fit", "--ckpt_path=last", "-c", str(RUN / "config.yaml"))
    kindling(*fit)
    assert kindling.err == ""
    assert_same(RUN, RUN.with_name("version_1"))
    losses = [row["train/loss"] for row in rows(RUN / "metrics.csv")]
    assert len(set(losses)) == 3
    data = bars.BarData(streamed=True)
    data.setup("fit")
    batches = data.train_dataloader()
    for epoch in (4, 5):
        batches.set_epoch(epoch)
        assert sum(len(y) for _, y in batches) == 45
    assert data.train_set.epochs == [4, 5]


@pytest.mark.first_by_default
@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--data.num_workers=2"], "--data.num_workers 2: the process that trains reads a stream itself: leave it out"),
        (
            ["--lr_scheduler=OneCycleLR", "--lr_scheduler.max_lr=0.1"],
            "steps the training takes: give --trainer.max_steps",
        ),
    ],
)
def test_what_a_stream_can_not_do_is_one_line(kindling: Kindling, options: list[str], error: str) -> None:
    kindling(*FIT, "--data.streamed=true", *options, code=2)
    assert error in kindling.err
    assert kindling.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("step", [5, 8, 12])  # in the last step of an epoch, within one, in the first step
def test_a_stream_resumes_also_with_a_schedule_of_steps(
    kindling: Kindling, stop_at: Callable[[int], None], step: int
) -> None:
    schedule = ("--lr_scheduler=OneCycleLR", "--lr_scheduler.max_lr=0.1", "--trainer.max_steps=18")
    fit = (*FIT, "--data.streamed=true", *schedule)
    stop_at(step)
    kindling(*fit, code=143)
    next_second()
    kindling("fit", "--ckpt_path=last", "-c", str(RUN / "config.yaml"))
    kindling(*fit)
    assert_same(RUN, RUN.with_name("version_1"))


def test_of_a_million_samples_only_those_of_the_batches_are_read(kindling: Kindling, bars: Any) -> None:
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


@pytest.mark.first_by_default
@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_that_can_not_be_read_is_one_line(kindling: Kindling, workers: int) -> None:
    kindling(*FIT, "--data.damaged=7", f"--data.num_workers={workers}", code=2)
    assert kindling.err == "kindling: error: picture 7 is damaged: leave it out\n"


@pytest.mark.first_by_default
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
@pytest.mark.parametrize("how", ["--data.num_workers=0", "--data.num_workers=2", "--data.streamed=true"])
def test_two_processes_read_each_sample_once(how: str) -> None:
    for count in (1, 2):  # 45 samples in batches of 11 leave one for the last batch
        options = (f"--data.batch_size={22 // count}", how, "--model.dropout=0")
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


class Pictures(Dataset):
    """Of no more than an index: (3, 6, 6), a number and a label."""

    def __init__(self, y: Callable[[int], object]) -> None:
        self.y, self.reads = y, 0

    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> tuple[torch.Tensor, object]:
        self.reads += 1
        return torch.full((3, 6, 6), index / 100), self.y(index)


def test_facts_of_datasets() -> None:
    labels = FromDatasets(train=Pictures(lambda index: index % 4))
    assert labels.facts == Facts(in_features=108, class_names=tuple("0123"), in_channels=3, image_size=6)
    assert (len(labels.train_set), len(labels.val_set)) == (85, 15)
    assert not {*labels.train_set.indices} & {*labels.val_set.indices}

    pictures = Pictures(lambda index: index % 2)
    named = FromDatasets(pictures, Pictures(lambda index: 0), class_names=["no", "yes"])
    assert named.facts.class_names == ("no", "yes")
    assert pictures.reads == 1

    number = FromDatasets(Pictures(lambda index: float(index)), Pictures(float)).facts
    assert (number.kind, number.target_mean, number.target_min) == ("regression", 49.5, 0)
    assert number.target_std == pytest.approx(np.arange(100).std())

    numbers = FromDatasets(Pictures(lambda index: np.array([index, 2.0])), Pictures(float)).facts
    assert numbers.targets == ("y0", "y1")
    assert numbers.target_std == pytest.approx((np.arange(100).std(), 1))

    tags = FromDatasets(Pictures(lambda index: torch.tensor([index % 2, 1, 0])), task="multilabel")
    assert (tags.facts.kind, tags.facts.class_names) == ("multilabel", ("0", "1", "2"))


class Counted(IterableDataset):
    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        return ((torch.full((3,), n / 9), n % 3) for n in range(9))


def test_a_stream_of_training_samples_alone(kindling: Kindling, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = torch.zeros(6, 3), torch.arange(6) % 3
    assert FromDatasets(Counted(), (x, y), class_names=("a", "b", "c")).facts.class_names == ("a", "b", "c")
    assert "Reading" not in capsys.readouterr().out
    assert FromDatasets(Counted(), (x, y)).facts == Facts(in_features=3, class_names=tuple("012"))
    assert "Reading Counted once for its targets" in capsys.readouterr().out
    with pytest.raises(DataError, match="the val samples are a stream, which only train= can be"):
        FromDatasets(Counted(), Counted())
    with pytest.raises(DataError, match="no validation samples can be set aside from a stream"):
        FromDatasets(Counted())


def test_facts_of_tensors_and_what_the_network_sees() -> None:
    draw = torch.Generator().manual_seed(0)
    x = 7 + 3 * torch.randn(200, 2, generator=draw)
    data = FromDatasets((x.numpy(), (x.sum(dim=1) > 14).numpy()), test=(x, x[:, :1]))
    assert data.facts == Facts(in_features=2, class_names=("0", "1"), feature_names=("x0", "x1"))
    seen = data.normalize(data.train_set.tensors[0])
    assert seen.mean(dim=0).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert seen.std(dim=0, correction=0).tolist() == pytest.approx([1, 1], abs=1e-5)

    later = FromDatasets(test=x)  # as a checkpoint is tested, without the training samples
    later.load_state_dict(data.state_dict())
    assert later.facts == data.facts
    assert torch.equal(later.normalize(x), data.normalize(x))
    with pytest.raises(DataError, match="the test samples have 3 numbers each, but the network takes 2"):
        FromDatasets(test=torch.zeros(5, 3)).load_state_dict(data.state_dict())

    pixels = FromDatasets((torch.full((9, 1, 4, 4), 255, dtype=torch.uint8), torch.arange(9) % 3))
    assert pixels.facts == Facts(in_features=16, class_names=tuple("012"), in_channels=1, image_size=4)
    assert pixels.normalize(pixels.train_set.tensors[0]).unique().tolist() == [1]
    column = FromDatasets((x, x[:, :1]))
    _, y = column.on_after_batch_transfer((x[:5], x[:5, :1]), 0)
    assert y.shape == (5,)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"train": (torch.zeros(5, 2), torch.zeros(4))}, "x and y have different lengths: 5, 4"),
        ({"train": iter([1, 2])}, "a list_iterator is no set of samples"),
        ({"train": torch.zeros(5, 2)}, "a training sample has 1 parts"),
        ({"train": (torch.zeros(5, 2), torch.zeros(5, 2, dtype=torch.long))}, "with task='multilabel'"),
        ({"train": (torch.zeros(5, 2), torch.zeros(5, dtype=torch.long))}, "labels from 0 to 0"),
        ({"train": (torch.zeros(1, 2), torch.zeros(1))}, "no training samples, or only one"),
    ],
)
def test_samples_that_can_not_be_trained_on(data: dict, says: str) -> None:
    with pytest.raises(DataError, match=re.escape(says)):
        _ = FromDatasets(**data).facts
    with pytest.raises(UsageError, match="no test samples: give it test="):
        FromDatasets().setup("test")


@pytest.mark.filterwarnings("ignore:.*LeafSpec")
@pytest.mark.parametrize("task", ["", "multilabel"])
def test_training_on_tensors(task: Literal["", "multilabel"]) -> None:
    x = torch.randn(64, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    tags = (x[:, :, 0, 0] > 0).long()
    data = FromDatasets((x, tags if task else tags[:, 0]), task=task)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 3 if task else 2))

    class Small(SupervisedModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)

    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=2, accelerator="cpu", enable_model_summary=False, **quiet)
    trainer.fit(Small(), data)
    assert trainer.callback_metrics["val/loss"] < 1.5
