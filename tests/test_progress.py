"""On a terminal there is a bar; a pseudo-terminal shows what a person would see."""

import os
import pty
import subprocess
import sys
import termios
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from conftest import SCRIPT, Kindling

from kindling.callbacks.report import predictions, progress
from kindling.callbacks.report.progress import Progress


@pytest.mark.slow
def test_the_bar_shows_loss_accuracy_speed_and_time_left() -> None:
    script = str(SCRIPT)
    options = ["--data.train_size=40000", "--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
    parent, child = pty.openpty()
    termios.tcsetwinsize(parent, (24, 120))
    command = [sys.executable, script, "fit", "--model=SimpleNet", *options]
    environment = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=child, text=True, env=environment) as process:
        os.close(child)
        shown = b""
        while True:
            try:
                shown += os.read(parent, 10_000)
            except OSError:  # the other end is closed
                break
        assert process.stdout
        out = process.stdout.read()
    assert shown.startswith(b"Importing torch and Lightning ...\r" + b" " * 33 + b"\r")
    assert b"Drawing curves.png ...\r" + b" " * 22 + b"\r" in shown
    drawn = shown.decode().split("\r")
    last = [line for line in drawn if "loss=" in line][-1]
    for part in ("epoch 1/1:", "/1250 [", "<", "batch/s", "loss=0.", "acc=0."):
        assert part in last
    assert 5 < len(drawn) < 625  # far from one a step, also where the machine is busy
    assert "epoch 1/1  train loss" in out
    assert "\r" not in out


def test_in_a_notebook_short_epochs_have_no_bar(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    monkeypatch.setattr(progress, "tqdm", partial(progress.tqdm, disable=False))
    for delay, shows in ((60.0, False), (0.0, True)):
        monkeypatch.setattr(progress, "DELAY", delay)
        kindling("fit", "--model=SimpleNet", "--epochs=1")
        assert ("epoch 1/1:   0%" in kindling.err) == shows
        assert shows or kindling.err == ""


def test_the_bar_is_gone_before_predictions_are_shown(
    kindling: Kindling, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(Progress, "_close", lambda bar: seen.append("closed"))
    monkeypatch.setattr(predictions, "as_table", lambda columns: seen.append("table"))
    kindling("predict", "--ckpt_path=best")
    assert seen == ["closed", "closed", "table"]  # the first before it opens
