"""The door for Python: ``kindling.fit`` does what the command line does, in a program that goes on afterwards."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import RUN, Kindling, equal, needs, rows, weights
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn

import kindling as package
from kindling.data import FromDatasets, SyntheticTabular
from kindling.errors import CheckpointError, DataError, RunError, UsageError
from kindling.models import SimpleNet

SECOND = RUN.with_name("version_1")


def files(run: Path) -> set[str]:
    return {str(f.relative_to(run)).partition(".tfevents")[0] for f in run.rglob("*") if f.is_file()}


@pytest.mark.slow
def test_the_package_is_named_without_torch() -> None:
    script = (
        "import sys, kindling; kindling.models, kindling.data; print('torch' in sys.modules, kindling.models.SimpleNet)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out == "False <class 'kindling.models.simple_net.SimpleNet'>\n"


def test_the_same_run_as_the_command_line(kindling: Kindling) -> None:
    kindling("fit", "--model=SimpleNet", "--trainer.max_epochs=2")
    run = package.fit(SimpleNet, SyntheticTabular, max_epochs=2)
    assert run.folder == SECOND
    assert files(run.folder) == files(RUN)
    assert equal(*(weights(folder / "checkpoints/last.ckpt") for folder in (RUN, SECOND)))
    theirs, ours = (yaml.safe_load((folder / "config.yaml").read_text()) for folder in (RUN, SECOND))
    assert ours["model"] == theirs["model"]
    assert ours["data"] == theirs["data"]
    assert ours["trainer"] == theirs["trainer"]
    scores = run.test()
    assert scores["test/loss"] == pytest.approx(0.1079, abs=1e-4)
    data = SyntheticTabular()
    data.setup("test")
    share = max(np.bincount(data.test_set.tensors[1])) / 200
    baseline = {"acc": share, "f1": share / (1 + share), "auroc": 0.5}  # of one class 2 s / (1 + s), of the other 0
    assert {name: scores[f"baseline/{name}"] for name in baseline} == pytest.approx(baseline, rel=1e-6)
    kept = json.loads((SECOND / "test.json").read_text())
    assert {name: score for name, score in kept.items() if "/" in name} == scores
    lines = kindling("test", f"--ckpt_path={SECOND}").splitlines()
    shown = "  ".join(f"{name} {score:.4f}" for name, score in baseline.items())
    assert lines[2:4] == [f"{kept['baseline']}: {shown}", f"Scores -> {SECOND / 'test.json'}"]
    assert max(map(len, lines[1:4])) <= 80
    kindling("fit", f"--ckpt_path={SECOND}", "--trainer.max_epochs=3")  # and goes on there, with the same optimizer
    kindling("fit", f"--ckpt_path={RUN}", "--trainer.max_epochs=3")
    assert equal(*(weights(folder / "checkpoints/last.ckpt") for folder in (RUN, SECOND)))


def test_a_run_is_used_and_trained_on() -> None:
    run = package.fit("SimpleNet", "SyntheticTabular", max_epochs=1)
    probabilities = run.predict([[7.5, 3.0], [2.0, 2.0]])
    assert probabilities.shape == (2, 2)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(2))
    with pytest.raises(RunError, match="has had its 1 epochs"):
        run.fit()
    assert len(rows(run.fit(max_epochs=3).folder / "metrics.csv")) == 3
    assert [f.name for f in RUN.parent.iterdir()] == [RUN.name]
    package.fit("SimpleNet", "SyntheticTabular", max_epochs=3)
    assert equal(*(weights(folder / "checkpoints/last.ckpt") for folder in (RUN, SECOND)))
    model, data = run.load("last")
    other, _ = package.load(RUN, which="last")
    assert equal(model.state_dict(), other.state_dict())
    assert isinstance(data, SyntheticTabular)
    assert not model.training
    with pytest.raises(UsageError, match="there are best and last"):
        package.load(RUN, which="bset")


def test_parts_in_all_forms() -> None:
    net = partial(SimpleNet, hidden=8)
    run = package.fit(
        net, SyntheticTabular(train_size=64), loss="NLLLoss", max_epochs=1, logger=False, seed=None,
        optimizer=partial(torch.optim.SGD, lr=0.5), lr_scheduler=partial(torch.optim.lr_scheduler.StepLR, step_size=1),
    )  # fmt: skip
    config = yaml.safe_load((RUN / "config.yaml").read_text())
    assert config["model"] == {"class_path": "tiny.simple_net.SimpleNet", "init_args": {"hidden": 8}}
    assert config["data"]["init_args"]["train_size"] == 64
    assert config["loss"]["class_path"] == "torch.nn.NLLLoss"
    assert config["optimizer"]["init_args"]["lr"] == 0.5
    assert config["lr_scheduler"]["init_args"]["step_size"] == 1
    assert run.load()[0].hparams["hidden"] == 8
    again = package.fit(SimpleNet(hidden=4), SyntheticTabular, max_epochs=1)
    assert yaml.safe_load(again.config_file.read_text())["model"]["init_args"] == {"hidden": 4}


class Grouped(SimpleNet):
    """Trains its last layer ten times as fast."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        first, last = self.net[1], self.net[3]
        return [{"params": first.parameters()}, {"params": last.parameters(), "lr": 0.1}]


def test_an_optimizer_takes_the_networks_own_groups() -> None:
    package.fit(Grouped, SyntheticTabular, max_epochs=1, optimizer=partial(torch.optim.AdamW, lr=0.01))
    groups = torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)["optimizer_states"][0]["param_groups"]
    assert [group["lr"] for group in groups] == [0.01, 0.1]


def test_mistakes_are_exceptions() -> None:
    for error, words, options in (
        (UsageError, "there is no model 'SimpelNet', did you mean SimpleNet", {"model": "SimpelNet"}),
        (UsageError, "no option 'max_epoch', did you mean max_epochs", {"max_epoch": 1}),
        (UsageError, "the model is 3: give a LightningModule", {"model": 3}),
        (UsageError, "the data is a float: give a LightningDataModule", {"data": 0.5}),
        (DataError, "which states no facts: change --data", {"data": None}),
        (DataError, "states no facts: add a property facts that returns", {"data": LightningDataModule()}),
        (UsageError, "there is no optimizer 'Adm'", {"optimizer": "Adm"}),
        (
            UsageError,
            "--monitor val/own: no score of the task has that name; there are val/loss",
            {"monitor": "val/own"},
        ),
        (UsageError, "needs --mode max or --mode min", {"mode": "up"}),
        (UsageError, "You selected an invalid accelerator", {"accelerator": "abacus"}),
        (RunError, "no training run", {"resume": "last"}),
    ):
        with pytest.raises(error, match=words):
            package.fit(**{"model": SimpleNet, "data": SyntheticTabular, **options})
    assert not Path("lightning_logs").exists() or not [*Path("lightning_logs").iterdir()]


@pytest.mark.slow
def test_the_best_by_any_score(kindling: Kindling) -> None:
    for name, mode in (("val/acc", "max"), ("val/f1", "max"), ("val/loss", "min")):
        kindling("fit", "--model=SimpleNet", "--trainer.max_epochs=4", f"--monitor={name}", f"--mode={mode}")
        run = max(RUN.parent.iterdir())
        scores = [float(row[name]) for row in rows(run / "metrics.csv")]
        wanted = scores.index(max(scores) if mode == "max" else min(scores)) + 1
        assert f"Best epoch {wanted}: " in kindling.out
        assert torch.load(run / "checkpoints/best.ckpt", weights_only=True)["epoch"] == wanted
        plateau = yaml.safe_load((run / "config.yaml").read_text())["lr_scheduler"]["init_args"]
        assert (plateau["monitor"], plateau["mode"]) == (name, mode)
    assert "--mode maximal: should be 'min', 'max' or null" in kindling.fails(
        "fit", "--model=SimpleNet", "--mode=maximal"
    )


def test_the_program_around_it_is_left_as_it_was() -> None:
    def state() -> object:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        log = logging.getLogger("lightning.pytorch")
        return handlers, warnings.filters[:], os.environ.get("PL_GLOBAL_SEED"), log.handlers, log.propagate

    before = state()
    package.fit(SimpleNet, SyntheticTabular, max_epochs=1)
    assert state() == before
    thread = threading.Thread(target=package.fit, args=(SimpleNet, SyntheticTabular), kwargs={"max_epochs": 1})
    thread.start()
    thread.join()
    assert state() == before
    assert equal(*(weights(folder / "checkpoints/last.ckpt") for folder in (RUN, SECOND)))


class Interrupting(SimpleNet):
    """Presses Ctrl-C in its 30th step, in the second epoch."""

    times = 1

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        if self.global_step == 30:
            times, Interrupting.times = Interrupting.times, 0
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
        return super().training_step(batch)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_returns_a_run_to_go_on_with(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    monkeypatch.setattr(Interrupting, "times", times)
    handler = signal.getsignal(signal.SIGINT)
    run = package.fit(Interrupting, SyntheticTabular, max_epochs=3)
    assert signal.getsignal(signal.SIGINT) == handler
    assert len(rows(run.folder / "metrics.csv")) == 1
    assert run.fit().folder == run.folder
    package.fit(SimpleNet, SyntheticTabular, max_epochs=3)
    assert equal(*(weights(folder / "checkpoints/last.ckpt") for folder in (RUN, SECOND)))


def test_callbacks_of_a_run_are_not_left_out_in_silence(kindling: Kindling) -> None:
    run = package.fit(SimpleNet, SyntheticTabular, max_epochs=1, callbacks=[EarlyStopping("val/loss")])
    assert len(rows(run.fit(max_epochs=2).folder / "metrics.csv")) == 2
    line = kindling.fails("fit", "--ckpt_path=last", "--trainer.max_epochs=3")
    assert "EarlyStopping for --trainer.callbacks" in line


class Mine(SimpleNet):
    """A network of one's own."""


class Weighted(nn.CrossEntropyLoss):
    """A loss of one's own."""


def test_a_class_of_ones_own_is_known_to_its_run() -> None:
    run = package.fit(Mine, SyntheticTabular, loss=Weighted(label_smoothing=0.1), max_epochs=1)
    assert isinstance(run.load()[0], Mine)
    with pytest.raises(CheckpointError, match="whose code would run"):
        package.load(run.folder)
    model, _ = package.load(run.folder, classes=[Mine, Weighted])
    assert type(model) is Mine


def test_tensors_and_datasets_of_ones_own_need_no_sizes() -> None:
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    y = (x.sum(dim=1) > 0).long()
    whole = torch.utils.data.TensorDataset(x, y)
    for data in ((x, y), whole, ((x, y), (x, y), (x, y)), [whole, whole, whole]):
        run = package.fit(SimpleNet, data, max_epochs=1)
        assert run.load()[0].hparams["in_features"] == 5
    assert set(run.test()) >= {"test/loss", "test/acc"}
    assert run.predict(x[:7]).shape == (7, 2)
    with pytest.raises(UsageError, match=r"given in Python: give it here too, kindling.load\(.*, data=\.\.\.\)"):
        package.load(run.folder)
    network, _ = package.load(run.folder, data=[whole, whole, whole])
    assert network.hparams["in_features"] == 5


@pytest.mark.filterwarnings("ignore:.*LeafSpec")  # of Lightning alone
def test_a_training_without_validation_has_no_score_to_follow() -> None:
    run = package.fit("SimpleNet", "SyntheticTabular", max_epochs=1, limit_val_batches=0)
    assert yaml.safe_load(run.config_file.read_text())["lr_scheduler"] is None
    Trainer(max_epochs=1, limit_val_batches=0, logger=False, enable_checkpointing=False).fit(
        SimpleNet(), SyntheticTabular()
    )


def test_data_given_objects_has_to_be_given_again() -> None:
    x = torch.randn(40, 2)
    run = package.fit("SimpleNet", FromDatasets((x, (x.sum(dim=1) > 0).long())), max_epochs=1)
    assert yaml.safe_load(run.config_file.read_text())["data"] is None
    with pytest.raises(UsageError, match="was given in Python"):
        package.load(run.folder)


def test_auto_resumes_what_is_unfinished_and_else_begins() -> None:
    assert package.fit("SimpleNet", "SyntheticTabular", max_epochs=1, resume="auto").folder == RUN
    assert package.fit("SimpleNet", "SyntheticTabular", max_epochs=2, resume="auto").folder == RUN
    assert package.fit("SimpleNet", "SyntheticTabular", max_epochs=2, resume="auto").folder == SECOND


def test_a_network_is_exported_as_the_command_does(kindling: Kindling) -> None:
    run = package.fit(SimpleNet, SyntheticTabular, max_epochs=1)
    folder = run.export()
    assert folder == RUN / "export"
    assert equal(torch.load(folder / "weights.pt", weights_only=True), weights(run.best))
    before = files(folder)
    kindling("export", "--ckpt_path=best")
    assert files(folder) == before
    with pytest.raises(UsageError, match=r"run.export\('tflite'\): there are weights, onnx, pt2"):
        run.export("tflite")


def test_rows_of_a_frame_are_predicted_as_those_of_a_file(kindling: Kindling) -> None:
    needs("TabularCSV")
    draw = np.random.default_rng(0)
    table = pd.DataFrame({"size": draw.normal(size=60), "kind": draw.choice(["a", "b"], 60)})
    table.assign(price=table["size"] * 2.5 + (table["kind"] == "a")).to_csv("table.csv", index=False)
    run = package.fit(SimpleNet, package.data.TabularCSV("table.csv", target="price"), max_epochs=1)
    new = pd.DataFrame({"kind": ["b", None, "c"], "size": [0.5, None, -1.0]})
    new.to_csv("new.csv", index=False)
    kindling("predict", "--ckpt_path=best", "--data.predict_path=new.csv")
    by_command = [float(row["prediction"]) for row in rows(run.folder / "predictions.csv")]
    assert run.predict(new).flatten().tolist() == pytest.approx(by_command, rel=1e-5)
    with pytest.raises(DataError, match="size"):
        run.predict(new[["kind"]])
    other = package.fit(SimpleNet, SyntheticTabular, max_epochs=1)
    with pytest.raises(UsageError, match="SyntheticTabular has no columns: give a tensor, not a DataFrame"):
        other.predict(new)


@pytest.mark.slow
def test_tune_returns_the_best_run_of_the_same_sweep(kindling: Kindling, forked: None) -> None:
    own = partial(Mine, hidden=16)
    begun: dict[str, Any] = {"data": SyntheticTabular(train_size=64), "vary": {"lr": "1e-4..0.1 log"}, "max_epochs": 1}
    package.tune(own, **begun, trials=1)
    with pytest.raises(CheckpointError, match=r"names test_python.Mine for --model, whose code would run"):
        package.tune(resume="last")
    with pytest.raises(UsageError, match="--model: a sweep goes on as it was begun"):
        package.tune(Mine, **begun, trials=2, resume="last")
    best = package.tune(own, **begun, trials=2, resume="last")
    kindling(
        *("sweep", "--model=test_python.Mine", "--model.hidden=16", "--data=SyntheticTabular", "--data.train_size=64"),
        *("--vary.lr=1e-4..0.1 log", "--trials=2", "--epochs=1", "--test_best=true"),
    )
    ours, theirs = (rows(Path("lightning_logs", sweep, "sweep.csv")) for sweep in ("sweep_0", "sweep_1"))
    for row in (*ours, *theirs):
        del row["seconds"]
    assert ours == theirs
    assert best.folder == Path("lightning_logs/sweep_0", ours[0]["run"])
    scores = json.loads(Path("lightning_logs/sweep_1", ours[0]["run"], "test.json").read_text())
    assert best.test()["test/loss"] == scores["test/loss"]
    assert best.load()[0].hparams["hidden"] == 16
    assert len(rows(best.fit(max_epochs=2).folder / "metrics.csv")) == 2


def test_tune_says_what_other_processes_cannot_be_given() -> None:
    class Inner(SimpleNet):
        pass

    x = torch.zeros(4, 2)
    usual = {"model": SimpleNet, "data": SyntheticTabular, "vary": {"lr": [0.1, 1.0]}}
    for words, options in (
        ("needs a network: give its class", {"model": None}),
        ("varies nothing: give e.g. vary=", {"vary": {}}),
        ("can't import Inner, the model: move it into a file", {"model": Inner}),
        ("give SimpleNet, or functools.partial of it, in place of an object", {"model": SimpleNet()}),
        ("the model is made of objects", {"model": partial(SimpleNet, hidden=object())}),
        ("the data is made of objects, .* or call kindling.fit in a loop", {"data": (x, x)}),
        ("the optimizer is made of objects", {"optimizer": lambda parameters: parameters}),
        ("has no option 'trails', did you mean trials", {"trails": 3}),
        (
            "callbacks is for other processes, so give it as numbers and texts",
            {"callbacks": [EarlyStopping("val/loss")]},
        ),
        ("vary lr is for other processes", {"vary": {"lr": [object()]}}),
        ("--trials x: should be int", {"trials": "x"}),
        ("did you mean --vary.model.hidden", {"vary": {"model.hiden": [1, 2]}}),
    ):
        with pytest.raises(UsageError, match=words):
            package.tune(**usual | options)
    assert not Path("lightning_logs").exists()
