"""A LightningModule and a LightningDataModule that know nothing of this project work all the same."""

from pathlib import Path

import pytest
import yaml
from conftest import RUN, Kindling, rows
from test_fit import scalars

from kindling.models import MODELS

MODULE = '''
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch.utils.data import DataLoader, TensorDataset


class Line(LightningModule):
    """A straight line, by least squares."""

    def __init__(self, slope: float = 0.0):
        super().__init__()
        self.save_hyperparameters()
        self.slope = torch.nn.Parameter(torch.tensor(slope))

    def _loss(self, batch, name):
        loss = (self.slope * batch[0] - batch[1]).square().mean()
        self.log(name, loss, on_epoch=True, batch_size=len(batch[0]))
        return loss

    def training_step(self, batch):
        return self._loss(batch, "train/loss")

    def validation_step(self, batch):
        self._loss(batch, "val/loss")

    def test_step(self, batch):
        self._loss(batch, "test/loss")

    def predict_step(self, batch):
        return torch.stack([self.slope * batch[0], -batch[0]], dim=1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Points(LightningDataModule):
    """Points on a line.

    Args:
        slope: Of the line.
    """

    def __init__(self, slope: float = 3.0):
        super().__init__()
        x = torch.linspace(-1, 1, 64)
        self.points = TensorDataset(x, slope * x)

    def train_dataloader(self):
        return DataLoader(self.points, batch_size=16)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader
'''


@pytest.fixture(autouse=True)
def _module(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("theirs.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(Path.cwd()))


def test_from_fit_to_predict(kindling: Kindling) -> None:
    options = ("--model", "theirs.Line", "--data", "theirs.Points")
    out = kindling("fit", *options, "--model.slope=1", "--data.slope=2", "--trainer.max_epochs=20")
    assert kindling.err == ""
    assert "Line, 1 parameters, on Points" in out
    table = rows(RUN / "metrics.csv")
    assert len(table) == 20
    assert float(table[-1]["val/loss"]) < 1e-3
    assert len(scalars(RUN).Scalars("train/loss_step")) == 80
    assert "in the checkpoint's run" not in kindling("test", *options, "--ckpt_path", "best")
    assert "test/loss 0.000" in kindling.out
    assert kindling.out.count("test/loss") == 1
    kindling("predict", *options, "--ckpt_path", "best")
    predicted = rows(RUN / "predictions.csv")
    assert len(predicted) == 64
    assert float(predicted[-1]["p(0)"]) == pytest.approx(2, abs=0.05)
    kindling("fit", *options, "--ckpt_path", "last", "--trainer.max_epochs", "21")
    assert len(rows(RUN / "metrics.csv")) == 21


def test_arguments_of_its_own_that_are_called_like_ours(kindling: Kindling) -> None:
    Path("scaled.py").write_text(
        "from kindling.models import SimpleNet\n"
        "class Scaled(SimpleNet):\n"
        "    '''Scaled.'''\n"
        "    def __init__(self, in_features: int = 2, num_outputs: int = 2, loss_scale: float = 1.0) -> None:\n"
        "        super().__init__(in_features, 8, num_outputs)\n"
    )
    own = ("--model=scaled.Scaled", "--data=SyntheticTabular", "--model.loss_scale=3", "--loss=NLLLoss")
    kindling("fit", *own, "--trainer.max_epochs=1")
    config = yaml.safe_load((RUN / "config.yaml").read_text())
    assert config["model"]["init_args"] == {"loss_scale": 3.0}
    assert config["loss"]["class_path"] == "torch.nn.NLLLoss"


def test_a_class_that_needs_data_says_so(kindling: Kindling) -> None:
    Path("ours.py").write_text(
        "from kindling.models import SimpleNet\nclass Wider(SimpleNet):\n    '''Wider.'''\n    default_lr = 0.02\n"
    )
    assert "there is no usual data for Wider: add --data NAME: there are" in kindling.fails(
        "fit", "--model", "ours.Wider"
    )
    assert "Wider, CrossEntropyLoss, 162 parameters" in kindling(
        "fit", "--model", "ours.Wider", "--data", "SyntheticTabular", "--trainer.max_epochs", "1"
    )


def test_usual_data_that_is_not_listed_is_one_line(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "SimpleNet", MODELS["SimpleNet"]._replace(default_data="Photos"))
    assert "its usual data 'Photos' is not in DATA" in kindling.fails("fit", "--model", "SimpleNet")
