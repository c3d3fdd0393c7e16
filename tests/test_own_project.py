"""A project of one's own hands its networks and datasets to the engine, which knows them by their names."""

import sys
from pathlib import Path

import pytest
import torch
from conftest import RUN, Kindling, needs, rows

import kindling as engine
from kindling import data, models, project
from kindling.cli import main
from kindling.registry import Entry

MODELS = {"ZebraNet": Entry("zebra.models.zebra_net", default_data="ZebraData")}
DATA = {"ZebraData": Entry("zebra.data.zebra_data")}
FIT = ("fit", "--model=ZebraNet", "--trainer.max_epochs=2", "--model.hidden=4", "--optimizer.lr=0.02")


class Zebra(Kindling):
    """The command line of the project; its networks and datasets alone."""

    def __call__(self, *args: str, code: int = 0) -> str:
        self._capsys.readouterr()
        result = main([str(a) for a in args], name="zebra", models=MODELS, data=DATA)
        self.out, self.err = self._capsys.readouterr()
        assert result == code, self.out + self.err
        return self.out


@pytest.fixture
def zebra(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Zebra:
    monkeypatch.setattr(project, "_current", project.KINDLING)  # put back afterwards
    return Zebra(capsys)


def test_it_trains_tests_predicts_and_resumes_by_short_names(zebra: Zebra) -> None:
    assert "ZebraNet, CrossEntropyLoss, 26 parameters, on ZebraData" in zebra(*FIT)
    assert (RUN / "config.yaml").read_text().count("zebra.models.zebra_net.ZebraNet") == 1
    zebra("test", "--ckpt_path=best")
    assert len(rows(RUN / "mistakes.csv")) < 60
    zebra("predict", "--ckpt_path=best")
    assert len(rows(RUN / "predictions.csv")) == 60
    zebra("fit", "--ckpt_path=last", "--epochs=3")
    assert len(rows(RUN / "metrics.csv")) == 3
    zebra("fit", "-c", str(RUN / "config.yaml"), "--epochs=1")
    model, _ = engine.load(RUN)  # a class that the project in use has named
    assert type(model).__name__ == "ZebraNet"


def test_what_is_listed_and_helped_is_its_own(zebra: Zebra) -> None:
    out = zebra("list")
    assert "ZebraNet          Tells zebras from horses. Trains on ZebraData." in out
    assert "SimpleNet" not in out
    assert "hidden  int, 8\n      Units of the hidden layer." in zebra("fit", "--model.help=ZebraNet")
    assert "ZebraData" in zebra("fit", "--help")


def test_kindlings_own_can_be_kept_and_come_after(zebra: Zebra, shipped: None) -> None:
    needs("SimpleNet")
    project.use("zebra", models.MODELS | MODELS, data.DATA | DATA)
    assert list(project.current().models) == ["ZebraNet", *models.MODELS]
    assert list(project.current().data) == ["ZebraData", *data.DATA]
    spelled = {"zebra.models.ZebraNet": "zebra.models.zebra_net.ZebraNet"}
    spelled |= {f"kindling.models.{name}": f"{entry.module}.{name}" for name, entry in models.MODELS.items()}
    from kindling.runs.class_names import canonical

    assert {path: canonical("model", path) for path in spelled} == spelled


def test_mistakes_are_answered_in_its_name(zebra: Zebra, monkeypatch: pytest.MonkeyPatch) -> None:
    zebra("fit", "--model=ZebarNet", code=2)
    assert zebra.err == "zebra: error: --model ZebarNet: there is no model 'ZebarNet', did you mean ZebraNet?\n"
    zebra("fit", "--model=SimpleNet", code=2)
    assert zebra.err.endswith("there is no model 'SimpleNet': there are ZebraNet\n")
    zebra("fit", "--model=Unlisted", code=2)
    assert "zebra.models.zebra_net has it, but zebra.models does not list it: add the line" in zebra.err
    assert zebra.err.endswith("to src/zebra/models/__init__.py\n")
    zebra("fit", "--model=zebra.models.zebra_net.Unfinished", code=2)
    assert zebra.err.endswith("it has no forward yet: write it, as SupervisedModule asks for it\n")
    for called, program in (
        *(("bin/zebra", "zebra"), ("zebra.exe", "zebra"), ("zebra/__main__.py", "python -m zebra")),
        ("scripts/main.py", "python scripts/main.py"),
    ):
        monkeypatch.setattr(sys, "argv", [called])
        zebra(code=2)
        assert zebra.err == f"zebra: error: no command: type e.g. {program} fit --model ZebraNet (--help shows more)\n"


@pytest.mark.slow
def test_a_sweep_in_processes_of_its_own(zebra: Zebra) -> None:
    zebra("sweep", "--model=ZebraNet", "--epochs=1", "--vary.lr", "[0.1, 0.2]", "--trials=2")
    assert [row["state"] for row in rows(Path("lightning_logs/sweep_0/sweep.csv"))] == ["complete", "complete"]


def test_a_checkpoint_of_a_newer_version_is_refused(kindling: Kindling) -> None:
    kindling("fit", "--model=SimpleNet", "--trainer.max_epochs=1")
    content = torch.load(RUN / "checkpoints/best.ckpt", weights_only=True)
    assert content["kindling_version"] == engine.__version__
    major, minor, patch = engine.__version__.split(".")
    torch.save(content | {"kindling_version": f"{major}.{minor}.{int(patch) + 1}"}, RUN / "checkpoints/best.ckpt")
    kindling("test", "--ckpt_path=best")
    newer = f"{major}.{int(minor) + 1}.0"
    torch.save(content | {"kindling_version": newer, "best": "of another form"}, RUN / "checkpoints/best.ckpt")
    line = kindling.fails("test", "--ckpt_path=best")
    assert f"best.ckpt was written by Kindling {newer}, and this is {engine.__version__}: update Kindling" in line
    before = {key: value for key, value in content.items() if key != "kindling_version"}  # as 0.1 wrote it
    torch.save(before, RUN / "checkpoints/best.ckpt")
    kindling("test", "--ckpt_path=best")
