"""``--trainer.logger``: TensorBoard, another logger in its place, or others beside it."""

import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from conftest import RUN, Kindling, rows
from test_fit import scalars
from test_interrupted import next_second, signal_at

__all__ = ["signal_at"]  # a fixture
FIT = ("fit", "--model=SimpleNet", "--trainer.max_epochs=3", "--data.train_size=64")  # two steps per epoch
CSV = ("--trainer.logger=CSVLogger", "--trainer.logger.save_dir=csv")
BESIDE = ("--trainer.logger+=CSVLogger", "--trainer.logger.save_dir=csv")
TIMES = ("run/epoch_time", "run/samples_per_second")


def logged(run: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if v and k not in TIMES} for row in rows(run / "csv/metrics.csv")]


def last_lines(kindling: Kindling) -> tuple[str, str]:
    written, following = kindling.out.splitlines()[-2:]
    return written.partition(": ")[2], following


def test_one_logger_takes_the_place_of_tensorboard(kindling: Kindling) -> None:
    kindling(*FIT, *CSV)
    assert kindling.err == ""
    assert last_lines(kindling)[0] == "config.yaml, metrics.csv, curves.png, checkpoints/, CSVLogger"
    assert "tensorboard" not in last_lines(kindling)[1]
    assert not list(Path().rglob("events.out.*"))
    assert not Path("csv").exists()  # a relative folder is one in the run's
    steps = [(row["step"], row["train/loss"]) for row in logged(RUN) if "train/loss" in row]
    assert [step for step, _ in steps] == list("123456")
    found = min(rows(RUN / "metrics.csv"), key=lambda row: float(row["val/loss"]))
    best = [(row["best/val_loss"], row["best/val_acc"]) for row in logged(RUN) if "best/val_loss" in row]
    assert best == [(found["val/loss"], found["val/acc"])]
    assert "run/lr" in logged(RUN)[-2]  # TensorBoard alone has names that are sorted last
    options = yaml.safe_load((RUN / "csv/hparams.yaml").read_text())
    assert (options["data.train_size"], options["trainer.max_epochs"]) == (64, 3)


def test_a_list_of_loggers_is_added_to_tensorboard(kindling: Kindling) -> None:
    kindling(*FIT, *BESIDE)
    assert last_lines(kindling)[0].endswith("checkpoints/, TensorBoard events, CSVLogger")
    events = [(e.step, round(e.value, 5)) for e in scalars(RUN).Scalars("train/loss")]
    ours = [(int(row["step"]), round(float(row["train/loss"]), 5)) for row in logged(RUN) if "train/loss" in row]
    assert events == ours
    kindling("fit", "-c", f"{RUN}/config.yaml")
    assert logged(RUN.with_name("version_1")) == logged(RUN)


def test_without_a_logger_nothing_is_said_of_tensorboard(kindling: Kindling) -> None:
    kindling(*FIT, "--trainer.logger=false")
    assert last_lines(kindling)[0] == "config.yaml, metrics.csv, curves.png, checkpoints/"
    assert "tensorboard" not in last_lines(kindling)[1]


def test_lightnings_own_tensorboard_writes_into_the_run(kindling: Kindling) -> None:
    kindling(*FIT, "--trainer.logger=TensorBoardLogger", "--trainer.logger.save_dir=elsewhere")
    assert len(list(RUN.glob("events.out.*"))) == 1
    assert not Path("elsewhere").exists()
    assert [e.step for e in scalars(RUN).Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]


def test_a_resumed_run_and_its_test_go_on_in_the_same_file(kindling: Kindling, signal_at: Callable[..., None]) -> None:
    signal_at(4, signal.SIGINT, signal.SIGINT)  # at once: step 4 was logged and will be done again
    kindling(*FIT, *CSV, code=130)
    error = kindling.fails("fit", "--ckpt_path=last")
    assert "CSVLogger for --trainer.logger" in error
    kindling("fit", "--ckpt_path=last", *CSV)
    kindling(*FIT, *CSV)
    unbroken = logged(RUN.with_name("version_1"))
    assert logged(RUN) == unbroken
    option = f"-c {RUN}/config.yaml"
    line = f"Left out: CSVLogger, which the training had: for these scores there too, add {option}"
    assert line in kindling("test", "--ckpt_path=version_0").splitlines()
    assert logged(RUN) == unbroken
    assert "Left out" not in kindling("test", "--ckpt_path=version_0", *option.split())
    assert kindling.err == ""
    *before, tested = logged(RUN)
    assert before == unbroken
    scores = {f"{kind}/{name}" for kind in ("test", "baseline") for name in ("acc", "f1", "auroc")}
    assert tested.keys() == {"step", "test/loss", *scores}


def test_a_tracker_that_can_not_begin_stops_the_command(kindling: Kindling, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    logger = ("--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path}/taken")
    assert "--trainer.logger CSVLogger: " in kindling.fails(*FIT, *logger)


@pytest.mark.slow
def test_weights_and_biases(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = ("--trainer.logger=WandbLogger", "--trainer.logger.log_model=true")
    kindling(*FIT, *logger)
    name = torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)["trackers"]["WandbLogger"]
    assert last_lines(kindling)[0].endswith(f"checkpoints/, WandbLogger {name}")
    next_second()  # the name of a folder of W&B has the second in it
    kindling("fit", "--ckpt_path=last", "--trainer.max_epochs=4", *logger)
    next_second()
    kindling("test", "--ckpt_path=last", *logger)
    kindling(*FIT, *logger)  # another run of the same program
    assert torch.load(RUN.with_name("version_1") / "checkpoints/last.ckpt", weights_only=True)["trackers"] != {
        "WandbLogger": name
    }
    parts = sorted((RUN / "wandb").glob("offline-run-*"))
    assert [part.name.rpartition("-")[2] for part in parts] == [name] * 3
    assert not Path("wandb").exists()
    contents = [b"".join(file.read_bytes() for file in part.glob("*.wandb")) for part in parts]
    for part, texts in enumerate([("train/loss", "val/auroc", "data.train_size", "run/curves", "model.ckpt"),
                                  ("train/loss", "val/auroc"), ("test/auroc", "test/mistakes")]):  # fmt: skip
        for text in texts:
            assert text.encode() in contents[part], f"{text} in {part}"
    assert b"test/auroc" not in contents[0] + contents[1]


@pytest.mark.slow
def test_mlflow_on_sqlite(kindling: Kindling) -> None:
    uri = "--trainer.logger.tracking_uri=sqlite:///mlflow.db"
    logger = ("--trainer.logger=MLFlowLogger", uri, "--trainer.logger.log_model=true")
    kindling(*FIT, *logger)
    kindling("fit", "--ckpt_path=last", "--trainer.max_epochs=4", "--optimizer=Adam", "--optimizer.lr=0.02", *logger)
    kindling("test", "--ckpt_path=best", *logger)
    with sqlite3.connect("mlflow.db") as store:
        ((status,),) = store.execute("select status from runs").fetchall()
        points = store.execute("select key, step, value from metrics order by step").fetchall()
        options = dict(store.execute("select key, value from params").fetchall())
    assert status == "FINISHED"
    assert [step for key, step, _ in points if key == "train/loss"] == [1, 2, 3, 4, 5, 6, 7, 8]
    table = rows(RUN / "metrics.csv")
    assert [value for key, _, value in points if key == "val/auroc"] == [float(row["val/auroc"]) for row in table]
    assert [key for key, *_ in points if key.startswith("test/")]
    assert options["data.train_size"] == "64"
    files = {str(file.relative_to(Path("mlruns"))).split("/artifacts/")[1] for file in Path("mlruns").rglob("*.*")}
    assert {"best/best.ckpt", "last/last.ckpt", "curves.png", "mistakes.png"} <= files
