"""Whatever ends a training, ``fit --ckpt_path last`` ends as one that was never stopped, bit for bit."""

import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import processes
import pytest
import torch
from conftest import RUN, Kindling, needs, rows, weights
from lightning.pytorch import LightningModule
from test_fit import scalars

from kindling import models
from kindling.callbacks.report.curves import Curves
from kindling.callbacks.report.predictions import PredictionWriter
from kindling.callbacks.report.test_report import TestReport
from kindling.data import SyntheticTabular
from kindling.errors import ENDING_SIGNALS as SIGNALS
from kindling.export import check
from kindling.models import SimpleNet
from kindling.runs.folder import locked

SEEDS = range(12)
TIMES = ("z_run/epoch_time", "z_run/samples_per_second")  # all else has to be the same
SIMPLE = ("fit", "--model=SimpleNet", "--trainer.max_epochs=40", "--checkpoint_every=7")


def next_second() -> None:
    """TensorBoard reads the files of a run in the order of the seconds at which they were begun."""
    time.sleep(1.01 - time.time() % 1)


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = scalars(run)
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]
            if tag not in TIMES}  # fmt: skip


def same(a: object, b: object) -> bool:
    """Whether parts of two checkpoints agree to the last bit."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def assert_same(broken: Path, unbroken: Path) -> None:
    names = {f.name for f in (unbroken / "checkpoints").iterdir()}
    assert {f.name for f in (broken / "checkpoints").iterdir()} == names <= {"best.ckpt", "last.ckpt"}
    for name in names:
        a, b = (torch.load(run / "checkpoints" / name, weights_only=True) for run in (broken, unbroken))
        for part in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers"):
            assert same(a[part], b[part]), f"{part} of {name}"
    tables = [[{k: v for k, v in row.items() if f"z_run/{k}" not in TIMES} for row in rows(run / "metrics.csv")]
              for run in (broken, unbroken)]  # fmt: skip
    assert tables[0] == tables[1]
    assert curves(broken) == curves(unbroken)


@pytest.fixture
def signal_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have a signal sent in the middle of an optimizer step, counted from 0."""

    def signal_at(step: int, *numbers: int, model: type[LightningModule] = SimpleNet) -> None:
        training_step = model.training_step

        def signalled(self: LightningModule, batch: tuple) -> object:
            if self.global_step == step:
                monkeypatch.setattr(model, "training_step", training_step)
                for number in numbers:
                    os.kill(os.getpid(), number)
            return training_step(self, batch)

        monkeypatch.setattr(model, "training_step", signalled)

    return signal_at


@pytest.mark.slow
@pytest.mark.parametrize(  # in the first epoch, in another, in the last step of one
    ("number", "step"), [(signal.SIGINT, 3), (signal.SIGTERM, 60), (signal.SIGUSR1, 49)]
)
def test_a_signal_lets_the_step_finish(
    kindling: Kindling, signal_at: Callable[..., None], number: int, step: int
) -> None:
    fit = ("fit", "--model=SimpleNet", "--trainer.max_epochs=4")
    handler = signal.getsignal(number)
    signal_at(step, number)
    kindling(*fit, code=128 + number)
    assert f"Interrupted: python scripts/main.py fit --ckpt_path last  resumes after step {step + 1}\n" in kindling.out
    assert signal.getsignal(number) == handler
    next_second()
    kindling("fit", "--ckpt_path=last")
    kindling(*fit)
    assert_same(RUN, RUN.with_name("version_1"))


def test_ctrl_c_twice_stops_at_once(kindling: Kindling, signal_at: Callable[..., None]) -> None:
    signal_at(60, signal.SIGINT, signal.SIGINT)
    kindling("fit", "--model=SimpleNet", "--checkpoint_every=8", code=130)
    assert "resumes after step 58\n" in kindling.out
    assert "Ctrl-C: saving after this step; press again to stop at once" in kindling.err


def test_within_an_epoch_the_data_can_not_change(kindling: Kindling, signal_at: Callable[..., None]) -> None:
    signal_at(60, signal.SIGTERM)
    kindling("fit", "--model=SimpleNet", code=143)
    before = (RUN / "config.yaml").read_text()
    for option in ("--data.batch_size=50", "--data.train_size=400"):
        assert "--data: the checkpoint is from within an epoch" in kindling.fails("fit", "--ckpt_path=last", option)
    assert (RUN / "config.yaml").read_text() == before


def test_without_checkpoints_the_numbers_are_kept(kindling: Kindling, signal_at: Callable[..., None]) -> None:
    signal_at(60, signal.SIGTERM)
    kindling("fit", "--model=SimpleNet", "--trainer.enable_checkpointing=false", code=143)
    assert "Interrupted: before anything was saved" in kindling.out
    assert len(rows(RUN / "metrics.csv")) == 2


@pytest.mark.parametrize("command", ["test", "predict"])
def test_ctrl_c_ends_other_commands(
    kindling: Kindling, run: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def interrupted(self: SimpleNet, batch: tuple) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(SimpleNet, f"{command}_step", interrupted)
    kindling(command, "--ckpt_path=best", code=130)
    assert "Traceback" not in kindling.err
    assert not list(RUN.glob(f"{command}*"))


def told(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, number: int = signal.SIGTERM) -> None:
    """Have a signal sent when a function is called for the first time."""
    function = getattr(owner, name)

    def signalled(*args: object, **kwargs: object) -> object:
        monkeypatch.setattr(owner, name, function)
        os.kill(os.getpid(), number)
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, signalled)


def files() -> set[Path]:
    return {f for f in Path().rglob("*") if f.name != ".lock"}


@pytest.mark.parametrize(
    ("command", "owner", "name"),
    [
        (("test", "--ckpt_path=best"), SimpleNet, "test_step"),
        (("validate", "--ckpt_path=best"), SimpleNet, "validation_step"),
        (("predict", "--ckpt_path=best"), SimpleNet, "predict_step"),
        (("test", "--ckpt_path=best"), SyntheticTabular, "setup"),
        (("predict", "--ckpt_path=best"), SimpleNet, "__init__"),
        (("export", "--ckpt_path=best"), SyntheticTabular, "setup"),
        (("export", "--ckpt_path=best"), check, "largest_difference"),
        (("export", "--ckpt_path=best", "--format=pt2"), torch.export, "export"),
        (("lr_find", "--model=SimpleNet"), SimpleNet, "training_step"),
        (("fit", "--model=SimpleNet"), SimpleNet, "__init__"),
        (("fit", "--model=SimpleNet"), Curves, "__init__"),
        (("fit", "--model=SimpleNet"), SyntheticTabular, "setup"),
        (("fit", "--model=SimpleNet"), SimpleNet, "validation_step"),
    ],
)
def test_sigterm_ends_any_command_and_leaves_nothing(
    kindling: Kindling, run: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], owner: object, name: str
) -> None:
    before, handlers = files(), [signal.getsignal(number) for number in SIGNALS]
    told(monkeypatch, owner, name)
    kindling(*command, code=143)
    assert kindling.err in ("kindling: stopped by SIGTERM\n", "")
    assert bool(kindling.err) != ("Interrupted: before anything was saved" in kindling.out)
    assert files() == before
    assert [signal.getsignal(number) for number in SIGNALS] == handlers


def test_sigterm_where_it_becomes_another_error(kindling: Kindling, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: SimpleNet, trainer: object) -> None:
        raise ValueError("a hook that was not asked to run now")

    told(monkeypatch, SimpleNet, "predict_step", signal.SIGUSR1)
    monkeypatch.setattr(PredictionWriter, "on_exception", lambda *args: broken(*args[:2]))
    kindling("predict", "--ckpt_path=best", code=138)
    assert kindling.err == "kindling: stopped by SIGUSR1\n"


@pytest.mark.slow
@pytest.mark.parametrize("owner", [Curves, TestReport])
def test_sigterm_at_the_end_of_fit_costs_its_end_alone(
    kindling: Kindling, monkeypatch: pytest.MonkeyPatch, owner: type
) -> None:
    name = "on_fit_end" if owner is Curves else "on_test_end"
    with monkeypatch.context() as patch:
        told(patch, owner, name)
        kindling("fit", "--model=SimpleNet", "--trainer.max_epochs=2", "--test_after_fit=true", code=143)
    assert (RUN / "curves.png").is_file() == (owner is TestReport)
    assert not (RUN / "confusion.png").exists()
    next_second()
    kindling("fit", "--ckpt_path=auto", "--model=SimpleNet", "--test_after_fit=true")
    assert (RUN / "curves.png").is_file()
    assert (RUN / "confusion.png").is_file()
    assert [f.name for f in Path("lightning_logs").iterdir()] == ["version_0"]
    kindling("fit", "--model=SimpleNet", "--trainer.max_epochs=2", "--test_after_fit=true")
    assert_same(RUN, RUN.with_name("version_1"))


def test_what_killed_commands_left_goes_when_the_run_is_trained_on(kindling: Kindling, run: Path) -> None:
    old = [RUN / "predictions.csv.0123abcd.part"]
    own = [RUN / "checkpoints/previous.ckpt.part", RUN / "checkpoints/new.ckpt.0123abcd.part"]
    own += [RUN / "metrics.csv.0123abcd.part"]
    used = [RUN / "predictions.csv.ffffffff.part"]
    for file in (*old, *own, *used):
        file.touch()
    for file in old:
        os.utime(file, (0, 0))
    kindling("fit", "--ckpt_path=last", "--trainer.max_epochs=11")
    kindling("predict", "--ckpt_path=best")
    assert not [file for file in (*old, *own) if file.exists()]
    assert all(file.exists() for file in used)


@pytest.mark.first_by_default
@pytest.mark.parametrize(
    "options",
    [
        ("--trainer.max_steps=90", "--trainer.max_epochs=-1"),
        ("--trainer.accumulate_grad_batches=2",),
        ("--trainer.val_check_interval=0.3",),
        ("--trainer.check_val_every_n_epoch=2",),
        ("--lr_scheduler=OneCycleLR", "--lr_scheduler.max_lr=0.1"),
        ("--trainer.precision=64-true",),
        ("--trainer.callbacks+=GradientAccumulationScheduler", "--trainer.callbacks.scheduling={0: 1, 1: 3}"),
        ("--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay=0.9"),
        ("--trainer.callbacks+=LearningRateMonitor", "--checkpoint_every=4"),
    ],
)
def test_within_an_epoch_whatever_the_options(
    kindling: Kindling, signal_at: Callable[..., None], options: tuple[str, ...]
) -> None:
    fit = ("fit", "--model=SimpleNet", "--trainer.max_epochs=4", *options)
    for step in (31, 50):  # the second time in the run that goes on
        signal_at(step, signal.SIGTERM)
        next_second()
        kindling(*(fit if step == 31 else ("fit", "--ckpt_path=last")), code=143)
    next_second()
    kindling("fit", "--ckpt_path=last")
    kindling(*fit)
    assert_same(RUN, RUN.with_name("version_1"))


@pytest.mark.slow
def test_dropout_and_augmentation_go_on(kindling: Kindling, signal_at: Callable[..., None], fashion: Path) -> None:
    data = ("--data.val_size=50", "--data.batch_size=10", "--data.flip=true", "--data.shift=2")  # 15 steps an epoch
    fit = ("fit", "--model=Net", "--model.dropout=0.2", *data, "--trainer.max_epochs=3")
    needs("Net", "FashionMNIST")
    signal_at(20, signal.SIGTERM, model=models.Net)
    kindling(*fit, code=143)
    next_second()
    kindling("fit", "--ckpt_path=last")
    kindling(*fit)
    assert_same(RUN, RUN.with_name("version_1"))


@pytest.mark.slow
def test_a_module_of_its_own_kind_goes_on(kindling: Kindling, signal_at: Callable[..., None], fashion: Path) -> None:
    fit = ("fit", "--model=TripletNet", "--model.margin=3", "--data.val_size=50", "--data.batch_size=10",
           "--trainer.max_epochs=2")  # fmt: skip
    needs("TripletNet", "FashionMNIST")
    signal_at(5, signal.SIGTERM, model=models.TripletNet)
    kindling(*fit, code=143)
    next_second()
    kindling("fit", "--ckpt_path=last")
    kindling(*fit)
    assert_same(RUN, RUN.with_name("version_1"))
    trained = rows(RUN / "metrics.csv")[-1]
    kindling("validate", f"--ckpt_path={RUN}/checkpoints/last.ckpt")
    validated = json.loads((RUN / "validate.json").read_text())
    assert validated["val/acc"] == pytest.approx(float(trained["val/acc"]))
    assert validated["val/acc"] > 0.2  # of ten classes


OWN = """
import torch
from torchmetrics import MeanMetric
from kindling.models import SimpleNet
from kindling.runs.folder import locked

class Own(SimpleNet):
    def __init__(self, in_features: int, num_outputs: int):
        super().__init__(in_features=in_features, num_outputs=num_outputs)
        self.mean = MeanMetric()
        self.seen = torch.nn.Parameter(torch.zeros(1), requires_grad=False)

    def training_step(self, batch):
        loss = super().training_step(batch)
        self.mean(loss)
        self.log("train/mean", self.mean, on_step=True, on_epoch=True)
        self.log("train/step", loss)
        for fx in ("sum", "max"):
            self.log(f"train/{fx}", loss, on_step=False, on_epoch=True, reduce_fx=fx)
        return loss

    def on_train_batch_end(self, *_):
        self.seen += 1
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["asked", "killed"])
def test_what_a_network_logs_itself_goes_on(
    kindling: Kindling, signal_at: Callable[..., None], monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    Path("own.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    own = importlib.import_module("own")
    fit = ("fit", "--model=own.Own", "--data=SyntheticTabular", "--trainer.max_epochs=3", "--checkpoint_every=7")
    signal_at(36, *[signal.SIGTERM] if end == "asked" else [signal.SIGINT] * 2, model=own.Own)
    kindling(*fit, code=143 if end == "asked" else 130)
    next_second()
    kindling("fit", f"--ckpt_path={RUN}", "--model=own.Own")
    kindling(*fit)
    assert_same(RUN, RUN.with_name("version_1"))
    assert float(weights(RUN / "checkpoints/last.ckpt")["seen"]) == 75
    monkeypatch.delitem(sys.modules, "own")


EARLY = ("fit", "--model=SimpleNet", "--trainer.max_epochs=9", "--trainer.callbacks+=EarlyStopping",
         "--trainer.callbacks.monitor=val/loss", "--trainer.callbacks.patience=2",
         "--trainer.callbacks.min_delta=0.05")  # fmt: skip


@pytest.mark.slow
def test_early_stopping_ends_a_run(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Curves, "on_fit_end", killed)
        kindling(*EARLY, code=130)  # after its last step
    next_second()
    kindling("fit", "--ckpt_path=last")
    kindling(*EARLY)
    unbroken = RUN.with_name("version_1")
    assert_same(RUN, unbroken)
    epochs = len(rows(RUN / "metrics.csv"))
    assert epochs < 9
    for which in ("last", "version_1", f"{unbroken}/checkpoints/last.ckpt"):
        error = kindling.fails("fit", f"--ckpt_path={which}")
        assert f"was ended by EarlyStopping after {epochs} epochs: for more, add e.g. --trainer.min_epochs" in error
    assert "-> lightning_logs/version_2\n" in kindling(*EARLY, "--ckpt_path=auto")  # as after any other finished run
    kindling("fit", "--ckpt_path=version_1", f"--trainer.min_epochs={epochs + 2}")
    assert len(rows(unbroken / "metrics.csv")) == epochs + 2
    kindling("fit", "--ckpt_path=version_0", "--trainer.max_epochs=20")
    assert len(rows(RUN / "metrics.csv")) > epochs


@pytest.mark.slow
def test_min_epochs_outlast_early_stopping(kindling: Kindling, signal_at: Callable[..., None]) -> None:
    fit = (*EARLY, "--trainer.min_epochs=8")
    signal_at(160, signal.SIGTERM)  # when it has asked for the end
    kindling(*fit, code=143)
    next_second()
    kindling("fit", "--ckpt_path=last")
    kindling(*fit)
    assert_same(RUN, RUN.with_name("version_1"))
    assert len(rows(RUN / "metrics.csv")) == 8


AVERAGED = ("fit", "--model=SimpleNet", "--trainer.max_epochs=4", "--trainer.callbacks+=StochasticWeightAveraging",
            "--trainer.callbacks.swa_lrs=0.05", "--trainer.callbacks.swa_epoch_start=3")  # fmt: skip


@pytest.mark.slow
def test_averaged_weights_have_their_own_scores(kindling: Kindling, signal_at: Callable[..., None]) -> None:
    kindling(*AVERAGED)
    assert kindling.err == ""
    signal_at(30, signal.SIGTERM)  # before it has begun
    kindling(*AVERAGED, code=143)
    next_second()
    kindling("fit", "--ckpt_path=last")
    assert_same(RUN.with_name("version_1"), RUN)

    table = rows(RUN / "metrics.csv")
    assert len(table) == 5  # the averaged weights are validated in an epoch of their own
    for which, row in (("best", min(table, key=lambda row: float(row["val/loss"]))), ("last", table[-1])):
        kindling("validate", f"--ckpt_path={RUN}/checkpoints/{which}.ckpt")
        validated = json.loads((RUN / "validate.json").read_text())
        assert validated["val/loss"] == pytest.approx(float(row["val/loss"]), rel=1e-6)
    error = kindling.fails("fit", f"--ckpt_path={RUN}", "--trainer.max_epochs=8")
    assert "StochasticWeightAveraging has begun in this checkpoint" in error


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("unbroken"))
        assert processes.finish(processes.start(*SIMPLE)) == [0]
        return Path.cwd() / RUN


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_kill_at_a_random_moment(unbroken: Path, seed: int) -> None:
    started = (unbroken / "config.yaml").stat().st_mtime
    seconds = (unbroken / "checkpoints/last.ckpt").stat().st_mtime - started
    moment = random.Random(seed).uniform(0, seconds)
    while True:
        process = processes.start(*SIMPLE)
        processes.wait_for((RUN / "checkpoints/last.ckpt").is_file, process)
        time.sleep(moment)
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            break
        shutil.rmtree("lightning_logs")  # too late
        moment /= 2
    next_second()
    assert processes.finish(processes.start("fit", "--ckpt_path=last")) == [0]
    print(Path("output.txt").read_text().splitlines()[0])
    assert_same(RUN, unbroken)


def die_at(write: int) -> None:
    """Have this process killed as it is about to do its so many-th thing to a file that has to be there whole."""
    done = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object) -> object:
            nonlocal done
            done += 1
            if done == write:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)

        return call

    os.fsync = counted(os.fsync)  # type: ignore[assignment]
    Path.replace = counted(Path.replace)  # type: ignore[assignment,method-assign]
    Path.hardlink_to = counted(Path.hardlink_to)  # type: ignore[assignment,method-assign]


def die_at_the_end() -> None:
    def end(*args: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    Curves.on_fit_end = end  # type: ignore[method-assign,assignment]


@pytest.mark.slow
def test_kill_after_the_last_step(unbroken: Path) -> None:
    assert processes.finish(processes.start(*SIMPLE, first=die_at_the_end)) == [-signal.SIGKILL]
    assert len(rows(RUN / "metrics.csv")) == 40
    next_second()
    assert processes.finish(processes.start("fit", "--ckpt_path=last")) == [0]
    assert_same(RUN, unbroken)
    assert processes.finish(processes.start("fit", "--ckpt_path=last")) == [2]
    assert "has had its 40 epochs" in Path("output.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("write", range(13, 53, 2))
def test_kill_while_files_are_written(unbroken: Path, write: int) -> None:
    process = processes.start(*SIMPLE, first=partial(die_at, write))
    assert processes.finish(process) == [-signal.SIGKILL]
    next_second()
    assert processes.finish(processes.start("fit", "--ckpt_path=last")) == [0]
    assert_same(RUN, unbroken)


@pytest.mark.first_by_default
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_the_checkpoint_before_stands_in_for_a_damaged_one(
    kindling: Kindling, signal_at: Callable[..., None], damage: str
) -> None:
    fit = ("fit", "--model=SimpleNet", "--trainer.max_epochs=4", "--checkpoint_every=10")
    signal_at(60, signal.SIGTERM)
    kindling(*fit, code=143)
    last = RUN / "checkpoints/last.ckpt"
    content = bytearray(last.read_bytes())
    content[content.index(weights(last)["net.1.weight"].numpy().tobytes()) + 2] ^= 1
    if damage == "gone":
        last.unlink()
    else:
        last.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    assert "last.ckpt" in kindling.fails("test", "--ckpt_path=last")  # other weights than asked for are not tested
    next_second()
    out = kindling("fit", "--ckpt_path=last")
    assert f"Resuming from {RUN}/checkpoints/previous.ckpt (SimpleNet, epoch 2)" in out
    assert (damage == "gone") != (f"{last} can't be read: set aside as damaged.ckpt, resuming from the one" in out)
    (RUN / "checkpoints/damaged.ckpt").unlink(missing_ok=True)
    kindling(*fit)
    assert_same(RUN, RUN.with_name("version_1"))


@pytest.mark.slow
def test_one_training_at_a_time_in_a_folder(kindling: Kindling) -> None:
    process = processes.start(*SIMPLE, "--trainer.max_epochs=4000")
    processes.wait_for((RUN / "checkpoints/previous.ckpt").is_file, process)
    try:
        kindling("fit", "--ckpt_path=last", code=2)
        assert f"{RUN} is being trained by another process: wait for it, or stop it" in kindling.err
    finally:
        process.kill()
        process.join()


def test_what_another_process_trains_stays_even_before_its_first_metrics(kindling: Kindling) -> None:
    kindling("fit", "--model=SimpleNet", "--trainer.max_epochs=1")
    (RUN / "metrics.csv").unlink()  # which is written after the first checkpoint
    before = sorted(RUN.rglob("*"))
    with locked(RUN):
        kindling("fit", "--ckpt_path=last", "--trainer.max_epochs=2", code=2)
        assert f"{RUN} is being trained by another process: wait for it, or stop it" in kindling.err
        assert sorted(file for file in RUN.rglob("*") if file.name != ".lock") == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_training(
    kindling: Kindling, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    setup = SyntheticTabular.setup

    def spoilt(self: SyntheticTabular, stage: str) -> None:
        setup(self, stage)
        self.train_set.tensors[0][123] = value

    fit = ("fit", "--model=SimpleNet", "--trainer.max_epochs=3", "--optimizer.lr=0.02")
    kindling(*fit)
    kept = {name: (RUN / f"checkpoints/{name}.ckpt").read_bytes() for name in ("best", "last")}
    monkeypatch.setattr(SyntheticTabular, "setup", spoilt)
    kindling("fit", "--ckpt_path=last", "--trainer.max_epochs=5", code=2)
    order = list(torch.randperm(800, generator=torch.Generator().manual_seed(42 + 3)))
    step, start = order.index(123) // 32, order.index(123) // 32 * 32
    samples = ", ".join(str(int(n)) for n in order[start : start + 32])
    where = f"at step {75 + step + 1} (epoch 4, learning rate 0.02), training samples {samples}: see whether"
    assert f"kindling: error: the loss is nan {where}" in kindling.err
    assert kindling.err.count("\n") == 1
    assert kept == {name: (RUN / f"checkpoints/{name}.ckpt").read_bytes() for name in ("best", "last")}
