"""Lightning's own flags for several devices, on two CPU processes, each of which starts the script anew."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, RUN, rows

TWO = ("--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp")


def command(*args: str) -> str:
    line = [sys.executable, str(ROOT / "scripts/main.py"), *args]
    result = subprocess.run(line, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture
def two_process_run() -> str:
    return command("fit", "--model=SimpleNet", "--trainer.max_epochs=3", "--test_after_fit=true", *TWO)


def test_ddp_from_fit_to_test(two_process_run: str) -> None:
    lines = two_process_run.splitlines()
    assert [line.split("  ")[0] for line in lines if line.startswith("epoch")] == [
        "epoch 1/3",
        "epoch 2/3",
        "epoch 3/3",
    ]
    assert [f.name for f in Path("lightning_logs").iterdir()] == ["version_0"]
    assert [(row["epoch"], row["step"]) for row in rows(RUN / "metrics.csv")] == [("1", "13"), ("2", "26"), ("3", "39")]
    both = json.loads((RUN / "test.json").read_text())
    command("test", "--ckpt_path", "best")
    assert json.loads((RUN / "test.json").read_text()) == pytest.approx(both)


@pytest.mark.slow
def test_ddp_resumes_and_predicts_as_one_process_does(two_process_run: str) -> None:
    command("fit", "--ckpt_path=last", "--trainer.max_epochs=5")
    assert [row["epoch"] for row in rows(RUN / "metrics.csv")] == list("12345")
    command("fit", "--model=SimpleNet", "--trainer.max_epochs=5", *TWO)
    unbroken = rows(RUN.with_name("version_1") / "metrics.csv")
    for a, b in zip(rows(RUN / "metrics.csv"), unbroken, strict=True):
        assert a["val/loss"] == b["val/loss"]

    command("predict", "--ckpt_path=version_0", *TWO)
    two = (RUN / "predictions.csv").read_text()
    command("predict", "--ckpt_path=version_0")
    assert len(two.splitlines()) == 201
    assert two == (RUN / "predictions.csv").read_text()
