"""Training that was stopped and goes on is, bit for bit, training that was never stopped."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import RUN, Kindling, equal, rows, weights
from test_fit import scalars

from kindling.models import SimpleNet

Fit = Callable[..., Path]
SCHEDULES = [
    (),  # the default: a plateau
    ("--lr_scheduler=StepLR", "--lr_scheduler.step_size=1", "--lr_scheduler.gamma=0.7"),
    ("--lr_scheduler=OneCycleLR", "--lr_scheduler.max_lr=0.1"),
]


def same_numbers(a: Path, b: Path) -> bool:
    """Whether two runs' tables agree in all but the times."""
    timeless = [[{k: v for k, v in row.items() if k not in ("epoch_time", "samples_per_second")} for row in rows(t)]
                for t in (a / "metrics.csv", b / "metrics.csv")]  # fmt: skip
    return timeless[0] == timeless[1]


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have Ctrl-C pressed before an optimizer step."""

    def stop_at(step: int) -> None:
        training_step = SimpleNet.training_step

        def interrupted(self: SimpleNet, batch: object) -> object:
            if self.global_step == step:
                monkeypatch.setattr(SimpleNet, "training_step", training_step)
                raise KeyboardInterrupt
            return training_step(self, batch)

        monkeypatch.setattr(SimpleNet, "training_step", interrupted)

    return stop_at


@pytest.mark.first_by_default
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_interrupted_run_goes_on_in_its_own_folder(
    fit: Fit, kindling: Kindling, stop_at: Callable[[int], None], schedule: tuple[str, ...]
) -> None:
    unbroken = fit(*schedule, epochs=4)
    stop_at(60)  # in the third epoch of 25 steps
    kindling("fit", "--model", "SimpleNet", *schedule, "--trainer.max_epochs", "4", code=130)
    assert "fit --ckpt_path last" in kindling.out
    broken = unbroken.with_name("version_1")
    assert [row["epoch"] for row in rows(broken / "metrics.csv")] == ["1", "2"]

    out = kindling("fit", "--ckpt_path", "last")
    assert out.startswith(f"Resuming from {broken}/checkpoints/last.ckpt (SimpleNet, epoch 2)\nepoch 3/4")
    assert not broken.with_name("version_2").exists()
    for name in ("best", "last"):
        assert equal(weights(unbroken / f"checkpoints/{name}.ckpt"), weights(broken / f"checkpoints/{name}.ckpt"))
    assert same_numbers(unbroken, broken)
    for tag in ("train/loss", "val/loss", "z_run/lr"):
        a, b = ([(e.step, e.value) for e in scalars(run).Scalars(tag)] for run in (unbroken, broken))
        assert a == b


def test_a_finished_run_goes_on_with_more_epochs(fit: Fit, kindling: Kindling) -> None:
    unbroken, short = fit(epochs=4), fit(epochs=2)
    out = kindling("fit", "--ckpt_path", str(short), "--trainer.max_epochs", "4")
    assert "--trainer.max_epochs 4 (in the checkpoint's run: 2)" in out
    assert equal(weights(unbroken / "checkpoints/last.ckpt"), weights(short / "checkpoints/last.ckpt"))
    assert same_numbers(unbroken, short)


def test_a_finished_run_without_more_to_do_says_so(fit: Fit, kindling: Kindling) -> None:
    fit()
    for which in ("last", "version_0", "best", f"{RUN}/checkpoints/best.ckpt"):
        error = kindling.fails("fit", "--ckpt_path", which)
        assert "has had its 2 epochs: for more, add e.g. --trainer.max_epochs 4" in error
    error = kindling.fails("fit", "--ckpt_path", "version_0", "--trainer.max_epochs=9", "--trainer.max_steps=50")
    assert "has had its 50 steps: for more, add e.g. --trainer.max_steps 100" in error


def test_last_is_the_newest_run_that_has_epochs_to_go(
    fit: Fit, kindling: Kindling, stop_at: Callable[[int], None]
) -> None:
    stop_at(30)
    kindling("fit", "--model", "SimpleNet", "--trainer.max_epochs", "3", code=130)
    fit()
    assert f"Resuming from {RUN}/checkpoints/last.ckpt" in kindling("fit", "--ckpt_path", "last")
    assert len(rows(RUN / "metrics.csv")) == 3


def test_one_cycle_can_not_be_made_longer(fit: Fit, kindling: Kindling) -> None:
    fit(*SCHEDULES[-1])
    kindling("fit", "--ckpt_path", "last", "--trainer.max_epochs", "4", code=2)
    assert "--trainer.max_epochs: OneCycleLR spans its run from end to end" in kindling.err


def test_a_run_folder_can_be_moved(fit: Fit, kindling: Kindling) -> None:
    moved = shutil.move(fit(), "moved")
    out = kindling("fit", "--ckpt_path", moved, "--trainer.max_epochs", "3")
    assert kindling.err == ""
    assert "Best epoch 3" in out
    assert len(rows(Path("moved/metrics.csv"))) == 3


def test_training_on_from_the_best_checkpoint_makes_a_run_of_its_own(fit: Fit, kindling: Kindling) -> None:
    first = fit()
    before = (first / "metrics.csv").read_text()
    kindling("fit", "--ckpt_path", "best", "--trainer.max_epochs", "4")
    assert (first / "metrics.csv").read_text() == before
    assert [row["epoch"] for row in rows(first.with_name("version_1") / "metrics.csv")] == ["3", "4"]


def test_a_typed_option_wins_over_the_run_and_is_named(fit: Fit, kindling: Kindling) -> None:
    fit()
    out = kindling("fit", "--ckpt_path=last", "--trainer.max_epochs=3", "--data.batch_size=50", "--optimizer.lr=0.002")
    assert "--data.batch_size 50 (in the checkpoint's run: 32)" in out
    assert "--optimizer.lr 0.002 (in the checkpoint's run: 0.01)" in out
    table = rows(RUN / "metrics.csv")
    assert int(table[2]["step"]) - int(table[1]["step"]) == 800 // 50
    assert [float(row["lr"]) for row in table] == [0.01, 0.01, 0.002]


@pytest.mark.parametrize(
    ("option", "what"), [("--optimizer=SGD", "optimizer"), ("--lr_scheduler=ConstantLR", "lr_scheduler")]
)
def test_another_optimizer_or_scheduler_can_not_take_over(fit: Fit, kindling: Kindling, option: str, what: str) -> None:
    fit()
    kindling("fit", "--ckpt_path=last", "--trainer.max_epochs=3", option, code=2)
    assert f"--{what}: its state is in the checkpoint" in kindling.err


def test_a_run_that_never_began_leaves_no_folder(kindling: Kindling) -> None:
    assert "FashionMNIST is not in data/FashionMNIST/raw" in kindling.fails("fit", "--model", "Net")


def test_an_interrupt_before_the_first_epoch_ended_keeps_nothing(
    kindling: Kindling, stop_at: Callable[[int], None]
) -> None:
    stop_at(3)
    assert "Interrupted: before anything was saved" in kindling("fit", "--model", "SimpleNet", code=130)
    assert not RUN.exists()
