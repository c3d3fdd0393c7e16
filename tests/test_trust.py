"""A checkpoint may be a stranger's: what it names is imported, called or written only if it is known, or typed."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import RUN, Kindling, equal, needs, rows, weights
from test_foreign_modules import MODULE

import kindling as package
from kindling.errors import CheckpointError, UsageError

BEST = RUN / "checkpoints/best.ckpt"
STRANGER = Path("stranger.ckpt")
COMMANDS = ("test", "validate", "predict", "export", "fit")
SPY = """
from pathlib import Path
Path("executed").touch()
from kindling.data import SyntheticTabular
from kindling.models import SimpleNet
from lightning.pytorch import Callback
class Mine(Callback):
    def on_train_start(self, *args):
        Path("called").touch()
"""


def cls(path: str, **init_args: Any) -> dict[str, Any]:
    return {"class_path": path, "init_args": init_args}


TOUCH = cls("os.system", command="touch executed")
ATTACKS: dict[str, tuple[dict[str, Any], str]] = {  # what, options, what the answer names
    "a nested callable of a loss": (
        {"loss": cls("torch.nn.TripletMarginWithDistanceLoss", distance_function=TOUCH)},
        "torch.nn.TripletMarginWithDistanceLoss for --loss",
    ),
    "a nested class of a known loss": ({"loss": cls("torch.nn.NLLLoss", weight=TOUCH)}, "os.system for --loss."),
    "a function as loss": ({"loss": cls("subprocess.getoutput", cmd="touch executed")}, "subprocess.getoutput"),
    "a function as data": ({"data": cls("subprocess.getoutput", cmd="touch executed")}, "getoutput for --data"),
    "a module as network": ({"model": cls("spy.SimpleNet")}, "spy.SimpleNet for --model"),
    "a module as data": ({"data": cls("spy.SyntheticTabular")}, "spy.SyntheticTabular for --data"),
    "a nested class of a known network": (
        {"model": cls("tiny.simple_net.SimpleNet", hidden=TOUCH)},
        "os.system for --model.hidden",
    ),
}
TRAINER_ATTACKS: dict[str, tuple[dict[str, Any], str]] = {
    "a callback": ({"callbacks": [cls("spy.Mine")]}, "spy.Mine for --trainer.callbacks"),
    "a callback that calls": (
        {"callbacks": [cls("lightning.pytorch.callbacks.LambdaCallback", on_fit_start="os.getcwd")]},
        "LambdaCallback",
    ),
    "a callback that writes": (
        {"callbacks": cls("lightning.pytorch.callbacks.ModelCheckpoint", dirpath="elsewhere")},
        "ModelCheckpoint",
    ),
    "a callable of a harmless callback": (
        {"callbacks": [cls("lightning.pytorch.callbacks.StochasticWeightAveraging", swa_lrs=0.1, avg_fn="spy.Mine")]},
        "spy.Mine for --trainer.callbacks.avg_fn",
    ),
    "a logger": ({"logger": cls("lightning.pytorch.loggers.CSVLogger", save_dir="elsewhere")}, "CSVLogger"),
    "a profiler": ({"profiler": "spy.Mine"}, "spy.Mine for --trainer.profiler"),
    "a plugin": ({"plugins": [cls("spy.Mine")]}, "spy.Mine for --trainer.plugins"),
    "a strategy": ({"strategy": cls("spy.Mine")}, "spy.Mine for --trainer.strategy"),
}


@pytest.fixture(autouse=True)
def _spy(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("spy.py").write_text(SPY)
    Path("theirs.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(Path.cwd()))


def change(run: Path, config: dict[str, Any], **trainer: Any) -> None:
    """A stranger's checkpoint: the run's, with other options in it."""
    content = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    config = content["config"] | config
    content["config"] = config | {"trainer": config["trainer"] | trainer}
    torch.save(content, STRANGER)


def nothing_happened() -> bool:
    return not any(Path(trace).exists() for trace in ("executed", "called", "elsewhere"))


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_what_a_checkpoint_names(
    kindling: Kindling, trained_once: Path, command: str, attack: str
) -> None:
    config, says = ATTACKS[attack]
    change(trained_once, config)
    error = kindling.fails(command, "--ckpt_path", str(STRANGER))
    assert says in error
    assert "if you trust it, type --" in error
    assert nothing_happened()


@pytest.mark.parametrize("attack", TRAINER_ATTACKS)
def test_fit_takes_no_parts_of_the_trainer_from_a_checkpoint(
    kindling: Kindling, trained_once: Path, attack: str
) -> None:
    trainer, says = TRAINER_ATTACKS[attack]
    change(trained_once, {}, **trainer)
    assert says in kindling.fails("fit", "--ckpt_path", str(STRANGER), "--trainer.max_epochs=11")
    assert nothing_happened()


def test_a_class_that_is_named_brings_no_other_with_it(kindling: Kindling, trained_once: Path) -> None:
    hidden = cls("theirs.Line", slope=TOUCH)
    change(trained_once, {"model": cls("tiny.simple_net.SimpleNet", hidden=hidden)})
    error = kindling.fails("test", "--ckpt_path", str(STRANGER), "--trainer.model_registry=theirs.Line")
    assert "names os.system for --model.hidden" in error
    assert nothing_happened()


def test_test_takes_nothing_of_the_trainer(kindling: Kindling, trained_once: Path) -> None:
    change(trained_once, {}, callbacks=[cls("spy.Mine")], profiler="spy.Mine")
    kindling("test", "--ckpt_path", str(STRANGER))
    assert nothing_happened()


def test_fit_takes_no_scheduler_that_calls(kindling: Kindling, trained_once: Path) -> None:
    change(trained_once, {"lr_scheduler": cls("torch.optim.lr_scheduler.LambdaLR", lr_lambda="spy.Mine")})
    error = kindling.fails("fit", "--ckpt_path", str(STRANGER), "--trainer.max_epochs=11")
    assert "names spy.Mine for --lr_scheduler.lr_lambda" in error
    assert nothing_happened()


def test_fit_writes_where_the_user_is_not_where_a_checkpoint_says(kindling: Kindling, trained_once: Path) -> None:
    change(trained_once, {}, default_root_dir="elsewhere")
    kindling("fit", "--ckpt_path", str(STRANGER), "--trainer.max_epochs=9")
    assert RUN.is_dir()
    assert nothing_happened()


@pytest.mark.parametrize("attack", ATTACKS)
def test_python_runs_nothing_either(trained_once: Path, attack: str) -> None:
    config, _ = ATTACKS[attack]
    change(trained_once, config)
    with pytest.raises(CheckpointError, match=r"give its class to kindling\.load\(\.\.\., classes=\[\.\.\.\]\)"):
        package.load(STRANGER)
    assert nothing_happened()


def test_python_names_no_instantiator(trained_once: Path) -> None:
    content = torch.load(trained_once / "checkpoints/best.ckpt", weights_only=True)
    hyper = {"_instantiator": "lightning.pytorch.cli.instantiate_module", "_class_path": "spy.SimpleNet"}
    torch.save(content | {"hyper_parameters": hyper}, STRANGER)
    with pytest.raises(CheckpointError, match="hyper_parameters"):
        package.load(STRANGER)
    assert nothing_happened()


def test_a_class_of_ones_own_is_named_by_its_path_or_by_a_file(kindling: Kindling) -> None:
    own = ("--model", "theirs.Line", "--data", "theirs.Points")
    out = kindling("fit", *own, "--trainer.max_epochs=2", "--trainer.callbacks+=spy.Mine")
    config = f"-c {RUN}/config.yaml"
    assert f"Next: python scripts/main.py test --ckpt_path best {config}  |  predict --ckpt_path best {config}" in out
    error = kindling.fails("test", "--ckpt_path", "best")
    assert f"if you trust it, type --model theirs.Line, or add {config}" in error
    assert "names theirs.Points for --data" in kindling.fails("test", "--ckpt_path", "best", *own[:2])
    for named in (own, config.split()):
        assert "in the checkpoint's run" not in kindling("test", "--ckpt_path", "best", *named)
    Path("alias.py").write_text("from theirs import Line, Points\n")
    kindling("test", "--ckpt_path", "best", "--model", "alias.Line", "--data", "alias.Points")
    Path("called").unlink()
    error = kindling.fails("fit", "--ckpt_path", "last", *own, "--trainer.max_epochs=3")
    assert "names spy.Mine for --trainer.callbacks" in error
    kindling("fit", "--ckpt_path", "last", *config.split(), "--trainer.max_epochs=3")
    assert Path("called").exists()
    kindling("fit", "--ckpt_path", "last", *own, "--trainer.callbacks=null", "--trainer.max_epochs=4")
    assert len(rows(RUN / "metrics.csv")) == 4


def test_python_takes_classes_of_ones_own(kindling: Kindling) -> None:
    kindling("fit", "--model", "theirs.Line", "--data", "theirs.Points", "--trainer.max_epochs=1")
    with pytest.raises(CheckpointError, match=r"theirs\.Line"):
        package.load(RUN)
    from theirs import Line, Points  # type: ignore[import-not-found]

    model, data = package.load(RUN, classes=[Line, Points])
    assert (type(model), type(data)) == (Line, Points)


def test_python_names_a_checkpoint_that_there_is(trained_once: Path) -> None:
    with pytest.raises(UsageError, match="there are best and last"):
        package.load(trained_once, which="bset")


SPELLINGS = ["SimpleNet", "kindling.models.SimpleNet", "tiny.simple_net.SimpleNet"]


@pytest.mark.first_by_default
@pytest.mark.parametrize("then", SPELLINGS)
@pytest.mark.parametrize("now", SPELLINGS)
def test_a_class_is_the_same_however_it_is_spelled(kindling: Kindling, then: str, now: str) -> None:
    others = "optimizer: {class_path: SGD, init_args: {lr: 0.1}}\n"
    others += "lr_scheduler: {class_path: StepLR, init_args: {step_size: 1}}"
    Path("my.yaml").write_text(f"model: {then}\ndata: SyntheticTabular\nloss: NLLLoss\n{others}\n")
    kindling("fit", "-c", "my.yaml", "--trainer.max_epochs=1", "--data.train_size=64")
    config = yaml.safe_load((RUN / "config.yaml").read_text())
    assert [config[kind]["class_path"] for kind in ("model", "data", "loss", "optimizer", "lr_scheduler")] == [
        "tiny.simple_net.SimpleNet",
        "tiny.synthetic_tabular.SyntheticTabular",
        "torch.nn.NLLLoss",
        "torch.optim.SGD",
        "torch.optim.lr_scheduler.StepLR",
    ]
    Path("now.yaml").write_text(f"model: {now}\ndata: kindling.data.SyntheticTabular\n{others}\n")
    out = kindling("fit", "-c", "now.yaml", "--ckpt_path=auto", "--trainer.max_epochs=2")
    assert out.startswith("--trainer.max_epochs 2 (in the checkpoint's run: 1)\nResuming from")
    assert [row["step"] for row in rows(RUN / "metrics.csv")] == ["2", "4"]  # with the 64 samples of the checkpoint
    kindling("fit", "--model", now, "--ckpt_path=last", "--trainer.max_epochs=3")
    assert rows(RUN / "metrics.csv")[-1]["step"] == "6"


@pytest.mark.slow
def test_data_typed_beside_its_checkpoint_keep_the_checkpoints_options(kindling: Kindling) -> None:
    needs("TabularCSV")
    Path("t.csv").write_text("a,b,y\n" + "".join(f"{n},{n % 7},{'pq'[n % 2]}\n" for n in range(60)))
    Path("my.yaml").write_text(
        "model: SimpleNet\ndata: {class_path: TabularCSV, init_args: {path: t.csv, target: y, ignore: b, seed: 3}}"
    )
    kindling("fit", "-c", "my.yaml", "--trainer.max_epochs=1")
    for data in ("TabularCSV", "kindling.data.TabularCSV", "kindling.data.tabular_csv.TabularCSV"):
        assert "in the checkpoint's run" not in kindling("test", "--ckpt_path=best", "--data", data)


@pytest.mark.slow
def test_the_same_command_goes_on_after_a_requeue(kindling: Kindling) -> None:
    """Callbacks typed again are those of the run, not a second set of them."""
    stopping = ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss")
    fit = ("fit", "--model=SimpleNet", *stopping, "--ckpt_path=auto", "--trainer.max_epochs")
    kindling(*fit, "2")
    kindling(*fit, "4")
    kindling("fit", "--model=SimpleNet", *stopping, "--trainer.max_epochs=4")
    both = [weights(run / "checkpoints/last.ckpt") for run in (RUN, RUN.with_name("version_1"))]
    assert equal(*both)
    kindling("fit", "--ckpt_path=version_0", "--trainer.max_epochs=5")  # and are taken from it where none are typed
    config = yaml.safe_load((RUN / "config.yaml").read_text())
    assert [c["class_path"] for c in config["trainer"]["callbacks"]] == ["lightning.pytorch.callbacks.EarlyStopping"]


def test_what_is_tested_is_what_was_announced(kindling: Kindling, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training under way may put another checkpoint in the place of the one that was read."""
    from kindling.cli.run import make_job
    from kindling.training.job import Job

    def replaced(*args: Any, **options: Any) -> Job:
        job = make_job(*args, **options)
        shutil.copy(run / "checkpoints/last.ckpt", BEST)
        return job

    monkeypatch.setattr("kindling.cli.run.make_job", replaced)
    before = kindling("validate", "--ckpt_path=best")
    assert "epoch 8" in before
    assert "val/loss 0.0226" in before
    assert '"epoch": 8' in (run / "validate.json").read_text()
