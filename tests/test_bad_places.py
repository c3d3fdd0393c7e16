"""Places: disks that are full or closed, folders that go away, and several processes that want the same one."""

import ctypes
import resource
import shutil
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import errors_page
import processes
import pytest
from conftest import RUN, Kindling, equal, rows, weights
from errors_page import Case

from kindling.models import SimpleNet

FIT = ("fit", "--model", "SimpleNet", "--trainer.max_epochs", "2")


def closed(folder: Path) -> None:
    """Take the rights to write away."""
    folder.chmod(0o500)
    _powerless()


def unreadable(file: Path) -> None:
    file.touch(0o000)
    _powerless()


def _powerless() -> None:
    """Take from root the power to do what there is no right to."""
    header, none = struct.pack("Ii", 0x20080522, 0), bytes(24)  # version 3, this process; no capability
    assert ctypes.CDLL(None).capset(header, none) == 0


def full_beyond(size: int) -> None:
    """Let no file grow beyond so many bytes, as where the disk is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


LIMITED = [  # case, what the process does first, whether there is a finished run
    (Case("no right to read a -c file", ("fit", "-c", "my.yaml"), "Permission denied"),
     partial(unreadable, Path("my.yaml")), False),
    (Case("no right to write in this folder", FIT, "(Permission denied): give"), partial(closed, Path()), False),
    (Case("no right to write in a run's folder, test", ("test", "--ckpt_path", "best"), "make it writable"),
     partial(closed, RUN), True),
    (Case("the same, predict", ("predict", "--ckpt_path", "best"), "make it writable"), partial(closed, RUN), True),
    (Case("the same, export", ("export", "--ckpt_path", "best"), "make it writable"), partial(closed, RUN), True),
    (Case("the same, training on", ("fit", "--ckpt_path", "last", "--trainer.max_epochs", "11"), "make it writable"),
     partial(closed, RUN), True),
    (Case("a full disk, writing config.yaml", FIT, "make room"), partial(full_beyond, 1_000), False),
    (Case("a full disk, writing a checkpoint", FIT, "make room"), partial(full_beyond, 8_000), False),
    (Case("a full disk, training on", ("fit", "--ckpt_path", "last", "--trainer.max_epochs", "11"), "make room"),
     partial(full_beyond, 12_000), True),
    (Case("a full disk, writing predictions", ("predict", "--ckpt_path", "best"), "make room"),
     partial(full_beyond, 4_000), True),
    (Case("a full disk, writing a test's pictures", ("test", "--ckpt_path", "best"), "make room"),
     partial(full_beyond, 4_000), True),
    (Case("a full disk, writing an export", ("export", "--ckpt_path", "best"), "make room"),
     partial(full_beyond, 500), True),
]  # fmt: skip
CASES = [
    Case("runs kept in a file", (*FIT, "--trainer.default_root_dir", "notes"), "give --trainer.default_root_dir",
         lambda: Path("notes").touch()),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_bad_places(kindling: Kindling, case: Case) -> None:
    kindling.answers("Places", case)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "first", "trained"), LIMITED, ids=lambda value: getattr(value, "what", ""))
def test_closed_and_full_places(trained_once: Path, case: Case, first: Callable[[], None], trained: bool) -> None:
    if trained:
        shutil.copytree(trained_once, RUN)
    before = {f: f.read_bytes() for f in RUN.rglob("*") if f.is_file()}
    process = processes.start(*case.args, first=first)
    codes = processes.finish(process)
    for folder in (Path(), *Path().glob("lightning_logs/version_0")):
        folder.chmod(0o700)
    out = Path("output.txt").read_text()
    lines = [line for line in out.splitlines() if line.startswith("kindling: error: ")]
    assert (codes, len(lines)) == ([2], 1), out
    assert "Traceback" not in out
    assert "Warning" not in out
    errors_page.check("Places", case, lines[0].removeprefix("kindling: error: "))
    after = {f: f.read_bytes() for f in RUN.rglob("*") if f.is_file()}
    assert not [f for f in after if f.suffix == ".part"]
    grown = {
        RUN / name for name in (".lock", "config.yaml", "metrics.csv")
    }  # a row more, as its checkpoint comes after
    assert all(after[f] == before[f] for f in before.keys() - grown)


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_the_run_to_go_on_with(kindling: Kindling) -> None:
    fit = ("fit", "--model=SimpleNet", "--trainer.max_epochs=4")
    process = processes.start(*fit, "--checkpoint_every=10", first=partial(full_beyond, 15_000))
    assert processes.finish(process) == [2]  # a checkpoint from within an epoch is larger than that
    out = Path("output.txt").read_text()
    assert "checkpoints/new.ckpt can't be written (File too large): make room; " in out
    assert "fit --ckpt_path last resumes after step 10" in out
    kindling("fit", "--ckpt_path=last")
    assert len(rows(RUN / "metrics.csv")) == 4


def test_a_run_folder_deleted_while_it_is_trained_in(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    training_step = SimpleNet.training_step

    def deleting(self: SimpleNet, batch: tuple) -> object:
        if self.global_step == 30:
            shutil.rmtree(RUN)
        return training_step(self, batch)

    monkeypatch.setattr(SimpleNet, "training_step", deleting)
    kindling(*FIT, code=2)
    assert f"{RUN}/" in kindling.err
    assert "is not there: check its name, and whether it was moved or deleted" in kindling.err
    assert kindling.err.count("\n") == 1
    assert not RUN.exists()


@pytest.mark.slow
def test_runs_started_in_the_same_second_get_a_folder_each() -> None:
    both = [processes.start(*FIT, output=f"output{n}.txt") for n in range(3)]
    assert processes.finish(*both) == [0, 0, 0]
    runs = sorted(Path("lightning_logs").iterdir())
    assert [run.name for run in runs] == ["version_0", "version_1", "version_2"]
    first, *others = (weights(run / "checkpoints/last.ckpt") for run in runs)
    assert all(equal(first, other) for other in others)


@pytest.mark.slow
def test_no_home_folder() -> None:
    environment = {"HOME": "/nowhere", "XDG_CACHE_HOME": "/nowhere", "XDG_CONFIG_HOME": "/nowhere"}
    process = processes.start(*FIT, "--test_after_fit=true", environment=environment)
    assert processes.finish(process) == [0]
    out = Path("output.txt").read_text()
    assert out.splitlines()[0].startswith("SimpleNet, CrossEntropyLoss")
    assert "nowhere" not in out


@pytest.mark.slow
def test_spaces_and_letters_of_any_script(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path("我的 模型 ü")
    folder.mkdir()
    monkeypatch.chdir(folder)
    kindling(*FIT, "--trainer.default_root_dir", "日志 1", "--test_after_fit=true")
    run = Path("日志 1") / RUN
    kindling("fit", "--ckpt_path", str(run), "--trainer.max_epochs=3")
    for command in ("test", "predict"):
        kindling(command, "--ckpt_path", str(run))
    kindling("fit", "-c", str(run / "config.yaml"))
    assert len(rows(run / "metrics.csv")) == 3
