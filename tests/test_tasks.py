"""Other tasks than a class or a number: tags, several numbers, and a task and scores of the network's own."""

import importlib
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from conftest import RUN, Kindling, equal, rows, weights
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from test_fit import scalars

from kindling.data import SyntheticTabular
from kindling.errors import UsageError
from kindling.facts import Facts
from kindling.models import SimpleNet
from kindling.registry import losses
from kindling.tasks import make_task
from kindling.tasks.losses import NUMBER_LOSSES, TAG_LOSSES

NAMES = ("acc", "f1", "auroc")
MODULE = """
from pathlib import Path

import torch
from torch import nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from kindling.data.base import DataModule
from kindling.data.loading import InMemory
from kindling.facts import Facts
from kindling.models import SimpleNet
from kindling.models.base import SupervisedModule
from kindling.tasks.base import Task


class Points(DataModule):
    def __init__(self, batch_size: int = 16):
        super().__init__(batch_size)

    def normalize(self, x):
        return x

    def setup(self, stage):
        x = torch.randn(480, 3, generator=torch.Generator().manual_seed(0))
        parts = [InMemory(*part) for part in zip(*(t.split(160) for t in (x, self.targets(x))))]
        self.train_set, self.val_set, self.test_set = parts
        self.predict_set = self.test_set


class Tags(Points):
    facts = Facts(in_features=3, class_names=("left", "high", "near"), task="multilabel")

    def targets(self, x):
        return (x > 0).long()


class Numbers(Points):
    facts = Facts(in_features=3, target="place", targets=("east", "north"), target_mean=(400.0, 5.0),
                  target_std=(100.0, 1.0), target_min=(10.0, 1.0))

    def targets(self, x):
        return torch.stack([400 + 100 * x[:, 0].clamp(-3), 5 + x[:, 1].clamp(-3)], dim=1)


class Classes(Points):
    facts = Facts(in_features=3, class_names=("a", "b", "c"))

    def targets(self, x):
        return x.argmax(dim=1)


class Maps(Points):
    facts = Facts(in_features=36, in_channels=1, class_names=("low", "middle", "high"), task="segmentation")

    def setup(self, stage):
        x = torch.randn(120, 1, 6, 6, generator=torch.Generator().manual_seed(0))
        y = (x[:, 0] > -0.5).long() + (x[:, 0] > 0.5)
        self.train_set, self.val_set, self.test_set = (InMemory(*p) for p in zip(x.split(40), y.split(40)))
        self.predict_set = self.test_set


class Segmentation(SupervisedModule):
    monitor = "val/iou"

    def __init__(self, in_channels: int = 1, num_outputs: int = 3):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(in_channels, 16, 1), nn.ReLU(), nn.Conv2d(16, num_outputs, 1))

    def forward(self, x):
        return self.net(x)

    @classmethod
    def configure_task(cls, facts, loss):
        return Task(facts, loss)

    def configure_metrics(self, stage):
        return {"iou": MulticlassJaccardIndex(3)}


class Top2(SimpleNet):
    def configure_metrics(self, stage):
        return super().configure_metrics(stage) | {"top2": MulticlassAccuracy(num_classes=3, top_k=2)}


class Stopped(Top2):
    def on_train_batch_start(self, batch, batch_idx):
        if self.trainer.global_step == 150 and not Path("go").exists():
            raise KeyboardInterrupt


class ByAccuracy(SimpleNet):
    monitor = "val/acc"


class Groups(SimpleNet):
    def parameter_groups(self):
        first, *rest = self.parameters()
        return [{"params": [first], "lr": 0.0}, {"params": rest}]
"""


@pytest.fixture(autouse=True)
def _module(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("ours.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.delitem(sys.modules, "ours", raising=False)


def scores() -> dict[str, float]:
    found: dict[str, float] = json.loads((RUN / "test.json").read_text())
    return found


def targets_of_test(name: str) -> torch.Tensor:
    data = getattr(importlib.import_module("ours"), name)()
    data.setup("test")
    return cast(torch.Tensor, data.test_set.tensors[1])


@pytest.mark.first_by_default
@pytest.mark.parametrize("loss", TAG_LOSSES)
def test_tags(kindling: Kindling, loss: str) -> None:
    train = ("--trainer.max_epochs=8", "--optimizer=Adam", "--optimizer.lr=0.02")
    out = kindling("fit", "--model=SimpleNet", "--data=ours.Tags", f"--loss={loss}", *train)
    assert f"SimpleNet, {loss}, 227 parameters" in out
    line = next(line for line in out.splitlines() if line.startswith("epoch 8/8"))
    assert [word for word in line.split() if word.isalpha()][1:-1] == ["train", "loss", "acc", "val", "loss", "acc"]
    assert len(line) <= 80
    assert "_high" not in line
    kindling("test", "--data=ours.Tags", "--ckpt_path=best")
    found = scores()
    assert found["test/acc"] > (0.9 if loss != "MultiLabelMarginLoss" else 0.7)
    for name in ("acc", "f1", "auroc"):
        each = [found[f"test/{name}_{tag}"] for tag in ("left", "high", "near")]
        assert np.mean(each) == pytest.approx(found[f"test/{name}"], abs=1e-6)
    assert found["test/auroc"] > 0.9
    shares = targets_of_test("Tags").double().mean(dim=0)
    assert [found[f"baseline/acc_{tag}"] for tag in ("left", "high", "near")] == pytest.approx(
        torch.maximum(shares, 1 - shares).tolist(), rel=1e-6
    )
    assert found["baseline/auroc"] == 0.5
    kindling("predict", "--data=ours.Tags", "--ckpt_path=best")
    table = rows(RUN / "predictions.csv")
    assert list(table[0]) == ["sample", "prediction", "p(left)", "p(high)", "p(near)"]
    for row in table:
        assert row["prediction"] == ", ".join(t for t in ("left", "high", "near") if float(row[f"p({t})"]) > 0.5)
    wrong = rows(RUN / "mistakes.csv")
    assert 0 < len(wrong) < (80 if loss != "MultiLabelMarginLoss" else 160)
    assert all(row["label"] != row["prediction"] for row in wrong)
    assert [float(r["probability"]) for r in wrong] == sorted((float(r["probability"]) for r in wrong), reverse=True)


def test_a_tag_is_predicted_above_the_threshold_of_the_network() -> None:
    class Careful(SimpleNet):
        threshold = 0.8

    network = Careful(num_outputs=2)
    network.set_task(Facts(in_features=2, class_names=("a", "b"), task="multilabel"))
    shares = torch.tensor([[0.9, 0.7], [0.7, 0.6]])
    assert network.task.prediction_columns(shares)["prediction"] == ["a", ""]
    metric = network.configure_metrics("val")["acc"]
    metric.update(shares, torch.tensor([[1, 0], [0, 1]]))
    assert metric.compute().tolist() == [1, 0.5]


def test_a_tag_that_no_sample_has_is_left_out_of_the_mean() -> None:
    network = SimpleNet(num_outputs=2)
    network.set_task(Facts(in_features=2, class_names=("a", "b"), task="multilabel"))
    scores = network.scores_of("val")
    for _ in range(3):
        scores.hold(torch.tensor(1.0), torch.tensor([[2.0, -1.0], [-2.0, -1.0]]), torch.tensor([[1, 0], [0, 0]]))
    scores.settle()
    found = scores.compute()
    assert (found["auroc"], found["auroc_a"]) == (1, 1)
    assert "auroc_b" not in found


@pytest.mark.first_by_default
@pytest.mark.parametrize("loss", NUMBER_LOSSES)
def test_several_numbers(kindling: Kindling, loss: str) -> None:
    train = ("--trainer.max_epochs=12", "--optimizer=Adam", "--optimizer.lr=0.02")
    kindling("fit", "--model=SimpleNet", "--data=ours.Numbers", f"--loss={loss}", *train)
    kindling("test", "--data=ours.Numbers", "--ckpt_path=best")
    found = scores()
    assert found["test/r2_east"] > 0.8
    assert found["test/r2_north"] > 0.8
    assert found["test/mae"] == pytest.approx((found["test/mae_east"] + found["test/mae_north"]) / 2, rel=1e-5)
    assert found["test/mae_east"] > 20 * found["test/mae_north"]  # each in its own unit
    y = targets_of_test("Numbers")
    assert found["baseline/mae_east"] == pytest.approx((y[:, 0] - 400).abs().mean().item(), rel=1e-6)
    assert found["baseline/rmse_north"] == pytest.approx((y[:, 1] - 5).square().mean().sqrt().item(), rel=1e-6)
    assert '"baseline": "always the mean of training"' in (RUN / "test.json").read_text()
    assert ("loss_unit" in found) == (loss != "PoissonNLLLoss")
    kindling("predict", "--data=ours.Numbers", "--ckpt_path=best")
    table = rows(RUN / "predictions.csv")
    stds = ["std(east)", "std(north)"] if loss == "GaussianNLLLoss" else []
    assert list(table[0]) == ["sample", "prediction(east)", "prediction(north)", *stds]
    assert np.mean([float(row["prediction(east)"]) for row in table]) == pytest.approx(400, abs=30)
    wrong = rows(RUN / "mistakes.csv")
    assert list(wrong[0])[:2] == ["east", "north"]


def test_several_numbers_count_alike_in_the_loss() -> None:
    facts = Facts(in_features=1, targets=("a", "b"), target_mean=(100.0, 0.0), target_std=(20.0, 2.0))
    task = make_task(facts)
    outputs = torch.tensor([[1.0, 1.0]])
    assert task.compute_loss(outputs, torch.tensor([[120.0, 0.0]])).item() == pytest.approx(0.5)
    assert task.compute_loss(outputs, torch.tensor([[100.0, 2.0]])).item() == pytest.approx(0.5)
    assert task.predict(outputs).tolist() == [[120.0, 2.0]]
    with pytest.raises(UsageError, match="CrossEntropyLoss is not for label, which is several numbers"):
        make_task(facts, torch.nn.CrossEntropyLoss())


def test_a_network_brings_its_own_task_from_fit_to_predict(kindling: Kindling) -> None:
    own = ("--model=ours.Segmentation", "--data=ours.Maps")
    out = kindling("fit", *own, "--trainer.max_epochs=6", "--seed_everything=1")
    assert kindling.err == ""
    table = rows(RUN / "metrics.csv")
    assert "train/iou" in table[0]
    assert float(table[-1]["val/iou"]) > float(table[0]["val/iou"])
    best = max(table, key=lambda row: float(row["val/iou"]))
    assert f"Best epoch {best['epoch']}: " in out
    kindling("test", *own, "--ckpt_path=best")
    assert scores()["test/iou"] == pytest.approx(float(best["val/iou"]), abs=0.15)
    assert "baseline" not in " ".join(scores())  # the task has none
    out = kindling("predict", *own, "--ckpt_path=best")
    assert out.splitlines()[-1] == f"40 predictions -> {RUN / 'predictions.npy'}"
    predicted = np.load(RUN / "predictions.npy")
    assert (predicted.shape, predicted.dtype) == ((40, 3, 6, 6), np.float32)
    assert [row["sample"] for row in rows(RUN / "predictions.csv")] == [str(n) for n in range(40)]
    kindling("fit", *own, "--ckpt_path=last", "--trainer.max_epochs=8")
    resumed = weights(RUN / "checkpoints/last.ckpt")
    kindling("fit", *own, "--trainer.max_epochs=8", "--seed_everything=1", "--trainer.default_root_dir=whole")
    assert equal(resumed, weights(Path("whole") / RUN / "checkpoints/last.ckpt"))


def test_one_line_adds_a_metric_also_in_training(kindling: Kindling) -> None:
    kindling("fit", "--model=ours.Top2", "--data=ours.Classes", "--trainer.max_epochs=2", "--test_after_fit=true")
    for row in rows(RUN / "metrics.csv"):
        assert float(row["train/top2"]) > float(row["train/acc"])
        assert float(row["val/top2"]) > float(row["val/acc"])
    assert scores()["test/top2"] > scores()["test/acc"] > scores()["baseline/acc"]
    assert "baseline/top2" not in scores()


@pytest.mark.slow
def test_metrics_of_ones_own_go_on_within_an_epoch(kindling: Kindling) -> None:
    """Their sums, which are settled every 64 batches, and the batches that are not in them yet."""
    own = ("--model=ours.Stopped", "--data=ours.Classes", "--data.batch_size=2")
    options = ("--checkpoint_every=150", "--trainer.max_epochs=2")  # of 80 steps
    kindling("fit", *own, *options, code=130)
    Path("go").touch()
    kindling("fit", *own, "--ckpt_path=last")
    kindling("fit", *own, *options, "--trainer.default_root_dir=whole")
    resumed, whole = rows(RUN / "metrics.csv")[-1], rows(Path("whole") / RUN / "metrics.csv")[-1]
    for name in ("train/loss", "train/acc", "train/top2", "val/loss"):
        assert resumed[name] == whole[name]


@pytest.mark.parametrize("optimizer", [(), ("--optimizer=Adam", "--optimizer.lr=0.05")])
def test_best_by_a_score_of_which_high_is_good(kindling: Kindling, optimizer: tuple[str, ...]) -> None:
    data = ("--data=ours.Classes", "--trainer.max_epochs=4")
    out = kindling("fit", "--model=ours.ByAccuracy", *data, *optimizer)
    accuracies = [float(row["val/acc"]) for row in rows(RUN / "metrics.csv")]
    assert min(accuracies) < max(accuracies)
    assert f"Best epoch {1 + accuracies.index(max(accuracies))}: " in out
    if not optimizer:  # the learning rate falls where the accuracy is no higher than before
        rates = [float(row["lr"]) for row in rows(RUN / "metrics.csv")]
        fell = [b < a for a, b in pairwise(rates)]
        assert fell == [accuracies[n] <= max(accuracies[:n], default=0) for n in range(3)]


@pytest.mark.parametrize(
    ("monitor", "mode"), [("val/loss", "min"), ("val/acc", "max"), ("val/f1", "max"), ("train/loss", "min")]
)
def test_a_metric_says_whether_high_is_good(monitor: str, mode: str) -> None:
    network = SimpleNet()
    network.monitor = monitor
    network.set_task(Facts(in_features=2, class_names=("a", "b")))
    assert (network.monitor, network.mode) == (monitor, mode)


def test_a_score_that_nobody_knows_needs_a_mode() -> None:
    network = SimpleNet()
    network.monitor = "val/cost"
    with pytest.raises(UsageError, match="--monitor val/cost: no score of the task has that name; there are val/loss"):
        network.set_task(Facts(in_features=2, class_names=("a", "b")))


@pytest.mark.parametrize("optimizer", [(), ("--optimizer=AdamW", "--optimizer.lr=0.05")])
def test_a_network_offers_groups_of_parameters(kindling: Kindling, optimizer: tuple[str, ...]) -> None:
    kindling("fit", "--model=ours.Groups", "--data=ours.Classes", "--trainer.max_epochs=1", *optimizer)
    trained = torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)
    groups = trained["optimizer_states"][0]["param_groups"]
    assert [(len(group["params"]), group["lr"] > 0) for group in groups] == [(1, False), (3, True)]


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning", "ignore:.*does not have many workers")
def test_a_bare_trainer_logs_the_scores() -> None:
    network, data = SimpleNet(), SyntheticTabular()
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = Trainer(max_epochs=2, logger=CSVLogger("bare", name="", version=""), log_every_n_steps=1, **quiet)
    trainer.fit(network, datamodule=data)
    table = rows(Path("bare/metrics.csv"))
    for name in ("train/loss", "train/acc", "val/loss", "val/acc", "val/auroc"):
        assert len([row for row in table if row.get(name)]) == 2, name
    (found,) = trainer.test(network, datamodule=data, verbose=False)
    assert set(found) == {"test/loss", *(f"{kind}/{name}" for kind in ("test", "baseline") for name in NAMES)}
    (found,) = Trainer(logger=False, **quiet).test(network, datamodule=data, verbose=False)
    assert found["test/acc"] > 0.4


def test_a_run_of_kindling_writes_each_score_once(run: Path) -> None:
    assert len(scalars(run).Scalars("val/acc")) == 10
    assert len(scalars(run).Scalars("train/loss")) == 250


def test_scores_so_far_change_nothing() -> None:
    network = SimpleNet()
    network.set_task(Facts(in_features=2, class_names=("a", "b")))
    torch.manual_seed(0)
    batches = [(torch.rand(()), torch.randn(8, 2), torch.randint(2, (8,))) for _ in range(100)]
    looked, plain = network.scores_of("train"), network.scores_of("val")
    for n, batch in enumerate(batches):
        looked.hold(*batch)
        plain.hold(*batch)
        right = sum(int((o.argmax(1) == y).sum()) for _, o, y in batches[: n + 1])
        assert looked.so_far()["acc"] == pytest.approx(right / (8 * (n + 1)))
    looked.settle()
    plain.settle()
    assert torch.equal(looked.compute()["loss"], plain.compute()["loss"])
    assert torch.equal(looked.compute()["acc"], plain.compute()["acc"])


def test_all_losses_are_found_without_torch() -> None:
    assert {"SoftMarginLoss", "MultiLabelSoftMarginLoss", "GaussianNLLLoss", "KLDivLoss"} < set(losses())
