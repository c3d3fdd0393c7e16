"""Every loss trains something that it is for, and says in one line what it isn't for."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import RUN, Kindling, rows
from torch import nn

import kindling as package
from kindling.errors import UsageError
from kindling.facts import Facts
from kindling.models import SimpleNet
from kindling.registry import losses
from kindling.tasks import make_task
from kindling.tasks.losses import BINARY_LOSSES, CLASS_LOSSES, NUMBER_LOSSES


def test_the_catalogue_is_whole() -> None:
    assert set(losses()) == {
        *("CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss", "KLDivLoss", "HingeEmbeddingLoss"),
        *("MultiMarginLoss", "MultiLabelMarginLoss", "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"),
        *("PoissonNLLLoss", "GaussianNLLLoss", "SoftMarginLoss", "MultiLabelSoftMarginLoss"),
    }


def scores() -> dict[str, float]:
    found: dict[str, float] = json.loads((RUN / "test.json").read_text())
    return found


@pytest.mark.first_by_default
@pytest.mark.parametrize("loss", [*CLASS_LOSSES, *BINARY_LOSSES])
def test_on_two_classes(kindling: Kindling, loss: str) -> None:
    kindling("fit", "--model=SimpleNet", f"--loss={loss}", "--trainer.max_epochs=6", "--test_after_fit=true")
    assert kindling.err == ""
    parameters = 129 if loss in BINARY_LOSSES else 162
    assert f"SimpleNet, {loss}, {parameters} parameters" in kindling.out
    assert scores()["test/acc"] >= 0.93
    assert scores()["test/auroc"] >= 0.98


@pytest.mark.first_by_default
@pytest.mark.usefixtures("fashion")
@pytest.mark.parametrize("loss", [*CLASS_LOSSES])
def test_on_ten_classes(kindling: Kindling, loss: str) -> None:
    kindling(
        *("fit", "--model=SimpleNet", "--data=FashionMNIST", "--data.val_size=40", "--data.batch_size=16"),
        *(f"--loss={loss}", "--trainer.max_epochs=10", "--test_after_fit=true"),
    )
    assert scores()["test/acc"] >= 0.9


@pytest.fixture
def events() -> Path:
    """How many things happened: a count that grows with a, more so where b is "busy"."""
    draw = np.random.default_rng(0)
    a, busy = draw.uniform(0, 2, 400), draw.random(400) < 0.5
    count = draw.poisson(np.exp(1.5 + a * (1 + 0.3 * busy)))
    pd.DataFrame({"a": a, "b": np.where(busy, "busy", "calm"), "count": count}).to_csv("events.csv", index=False)
    return Path("events.csv")


EVENTS = ("--data=TabularCSV", "--data.path=events.csv", "--data.target=count", "--data.task=regression")


@pytest.mark.slow
@pytest.mark.usefixtures("events")
@pytest.mark.parametrize("loss", NUMBER_LOSSES)
def test_on_a_number(kindling: Kindling, loss: str) -> None:
    options = (f"--loss={loss}", "--trainer.max_epochs=30", "--test_after_fit=true")
    out = kindling("fit", "--model=SimpleNet", *EVENTS, *options)
    unit = "" if loss == "PoissonNLLLoss" else " (standard units)"
    assert out.startswith(f"SimpleNet, {loss}{unit}, ")
    for stage in ("val", "test"):
        assert re.search(rf"{stage}/loss -?[\d.]+{re.escape(unit)}  {stage}/mae [\d.]+  ", out)
    assert scores()["test/r2"] >= 0.8
    assert scores()["test/mae"] < 8  # counts go up to 80, and scatter by their square root
    kindling("predict", "--ckpt_path=best")
    table = rows(RUN / "predictions.csv")
    error = np.mean([abs(float(row["prediction"]) - float(row["count"])) for row in table])
    assert error == pytest.approx(scores()["test/mae"], rel=1e-4)
    trained = torch.load(RUN / "checkpoints/best.ckpt", weights_only=True)["facts"]["target_mean"]
    error = np.mean([abs(trained - float(row["count"])) for row in table])
    assert error == pytest.approx(scores()["baseline/mae"], rel=1e-6)
    assert ("std" in table[0]) == (loss == "GaussianNLLLoss")


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("HuberLoss", "HuberLoss is not for label, which is one of two classes: choose one of CrossEntropyLoss, "),
        ("HubrLoss", "--loss HubrLoss: there is no loss 'HubrLoss' in torch.nn, did you mean HuberLoss"),
        (
            "CTCLoss",
            "CTCLoss takes more than options can describe: write a network that makes its own",
        ),
        ("TripletMarginLoss", "TripletMarginLoss takes more than options can describe"),
    ],
)
def test_what_a_loss_is_not_for(kindling: Kindling, loss: str, message: str) -> None:
    assert message in kindling.fails("fit", "--model=SimpleNet", f"--loss={loss}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--loss.weight=[1, 2, 3]",),
            "--loss CrossEntropyLoss: weight tensor should be",
        ),
        (("--loss.weight=abc",), "--loss.weight abc: should be Tensor"),
        (("--loss.label_smoothing=x",), "--loss.label_smoothing x: should be float"),
        (("--loss.wait=1",), "no option --loss.wait, did you mean --loss.weight?"),
        (("--loss.reduction=none",), "--loss.reduction none: a loss to train by is one number"),
    ],
)
def test_arguments_that_a_loss_does_not_take(kindling: Kindling, options: tuple[str, ...], message: str) -> None:
    assert message in kindling.fails("fit", "--model=SimpleNet", "--loss=CrossEntropyLoss", *options)


@pytest.mark.usefixtures("events")
def test_a_number_is_no_class(kindling: Kindling) -> None:
    line = kindling.fails("fit", "--model=SimpleNet", *EVENTS, "--loss=NLLLoss")
    assert "NLLLoss is not for count, which is a number: choose one of MSELoss, L1Loss, SmoothL1Loss, " in line


def test_counts_are_not_negative(kindling: Kindling) -> None:
    pd.DataFrame({"a": range(40), "y": np.linspace(-2, 5, 40)}).to_csv("t.csv", index=False)
    options = ("--data=TabularCSV", "--data.path=t.csv", "--data.target=y", "--loss=PoissonNLLLoss")
    assert "PoissonNLLLoss counts, and y is as low as -" in kindling.fails("fit", "--model=SimpleNet", *options)


def test_a_losss_arguments_come_back_with_the_checkpoint(kindling: Kindling) -> None:
    weighted = ("--loss=CrossEntropyLoss", "--loss.weight=[1, 5]", "--loss.label_smoothing=0.2")
    kindling("fit", "--model=SimpleNet", *weighted, "--trainer.max_epochs=2", "--test_after_fit=true")
    after_fit = scores()
    kindling("test", "--ckpt_path=best")
    assert scores() == after_fit
    config = yaml.safe_load((RUN / "config.yaml").read_text())
    assert config["loss"]["class_path"] == "torch.nn.CrossEntropyLoss"
    assert (config["loss"]["init_args"]["weight"], config["loss"]["init_args"]["label_smoothing"]) == ([1, 5], 0.2)
    model, _ = package.load(RUN)
    assert model.loss.weight.tolist() == [1, 5]
    assert not [key for key in model.state_dict() if key.startswith("loss")]
    kindling("fit", "--ckpt_path=last", "--trainer.max_epochs=3")
    assert len(rows(RUN / "metrics.csv")) == 3


def test_a_config_file_names_a_loss_beside_the_model(kindling: Kindling) -> None:
    Path("a.yaml").write_text("model: SimpleNet\nloss: BCELoss\n")
    assert "SimpleNet, BCELoss, 129 parameters" in kindling("fit", "-c", "a.yaml", "--trainer.max_epochs=1")
    Path("b.yaml").write_text("model: {class_path: SimpleNet, init_args: {loss: BCELoss}}\n")
    assert "b.yaml: the loss stands beside the model, not in it" in kindling.fails("fit", "-c", "b.yaml")


def test_a_loss_of_ones_own_is_fed_as_the_usual_one(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("focal.py").write_text(
        "import torch\n"
        "class Focal(torch.nn.Module):\n"
        "    def __init__(self, gamma: float = 2.0):\n"
        "        super().__init__()\n"
        "        self.gamma = gamma\n"
        "    def forward(self, logits, labels):\n"
        "        loss = torch.nn.functional.cross_entropy(logits, labels, reduction='none')\n"
        "        return ((1 - (-loss).exp()) ** self.gamma * loss).mean()\n"
    )
    monkeypatch.syspath_prepend(".")
    own = ("--loss=focal.Focal", "--loss.gamma=1.5")
    kindling("fit", "--model=SimpleNet", *own, "--trainer.max_epochs=6", "--test_after_fit=true")
    assert "SimpleNet, Focal, 162 parameters" in kindling.out
    assert scores()["test/acc"] >= 0.93


X, Y = torch.tensor([[0.3, -1.2], [2.0, 0.1], [-0.4, 0.9]]), torch.tensor([0, 1, 1])
TWO = Facts(in_features=2, class_names=("no", "yes"))


@pytest.mark.parametrize(
    ("loss", "outputs", "expected"),
    [
        (nn.NLLLoss(), X, nn.functional.cross_entropy(X, Y)),
        (nn.KLDivLoss(reduction="batchmean"), X, nn.functional.cross_entropy(X, Y)),
        (nn.BCELoss(), X[:, :1], nn.functional.binary_cross_entropy_with_logits(X[:, 0], Y.float())),
        (nn.MSELoss(), X[:, :1], (X[:, 0].sigmoid() - Y).square().mean()),  # the Brier score
        (nn.MultiLabelMarginLoss(), X, ((1 - X.gather(1, Y[:, None]) + X).clamp(min=0).sum(1) - 1).mean() / 2),
    ],
)
def test_outputs_and_targets_reach_a_loss_in_its_own_form(
    loss: nn.Module, outputs: torch.Tensor, expected: torch.Tensor
) -> None:
    assert make_task(TWO, loss).compute_loss(outputs, Y).item() == pytest.approx(expected.item(), abs=1e-6)


def test_one_output_or_two_give_the_same_probabilities() -> None:
    one = make_task(TWO, nn.BCEWithLogitsLoss()).predict(X[:, :1])
    two = make_task(TWO).predict(torch.stack([torch.zeros(3), X[:, 0]], dim=1))
    assert torch.allclose(one, two)


def test_a_number_is_learnt_in_standard_units_and_read_in_its_own() -> None:
    facts = Facts(in_features=1, target="price", target_mean=100.0, target_std=20.0)
    task = make_task(facts)
    assert task.compute_loss(torch.tensor([[1.0]]), torch.tensor([120.0])).item() == pytest.approx(0)
    assert task.predict(torch.tensor([[1.0]])).tolist() == [[120.0]]


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1e-3), (1e6, 1e3), ((5e-4, 0.0), (1e-3, 1e-6))])
def test_the_share_explained_is_the_same_in_any_unit(mean: Any, std: Any) -> None:
    several = isinstance(mean, tuple)
    facts = Facts(in_features=1, targets=("a", "b") if several else (), target_mean=mean, target_std=std)
    outputs = torch.randn(50, 2 if several else 1, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1)) * 0.3
    task = make_task(facts)
    truth = task.predict(outputs + noise)
    metric = task.metrics("test")["r2"]
    for part in range(0, 50, 20):
        predicted, true = task.predict(outputs)[part : part + 20], truth[part : part + 20]
        metric.update(task.metric_inputs(predicted), task.metric_inputs(true))
    share = 1 - noise.square().mean(dim=0) / (outputs + noise).var(dim=0, correction=0)
    assert metric.compute().flatten().tolist() == pytest.approx(share.tolist(), abs=1e-3)


def test_a_network_without_a_task_says_so() -> None:
    with pytest.raises(RuntimeError, match="has no task yet: call set_task"):
        SimpleNet().predict_step((torch.zeros(1, 2),))
    with pytest.raises(UsageError, match="is not for label"):
        SimpleNet().set_task(TWO, nn.L1Loss())
