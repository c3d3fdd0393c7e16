"""Drawn at random: whatever the options and the step, a training that was interrupted ends as an unbroken one."""

import os
import random
import re
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import RUN, named, needs, rows
from lightning.pytorch import LightningModule
from test_interrupted import assert_same, next_second

import kindling.models
from kindling.callbacks.report.curves import Curves
from kindling.cli import main

SEEDS = range(25)
TABLE = ("--data=TabularCSV", "--data.path=table.csv", "--data.target=y", "--data.batch_size=8")
IMAGES = ("--data.val_size=50", "--data.batch_size=10")
LOSSES = [(), ("--loss=HuberLoss",)]
DATA = [  # networks, and data of 7 to 25 batches an epoch
    ("SimpleNet", ()),
    ("SimpleNet", ("--data.train_size=300", "--data.batch_size=20")),
    ("NeuralNetwork", (*TABLE, "--model.widths=[8]")),
    ("SimpleNet", TABLE),
    ("Net", (*IMAGES, "--model.dropout=0.2", "--data.flip=true")),
    ("TripletNet", (*IMAGES, "--model.margin=3")),
    ("TripletNet", (*IMAGES, "--model.margin=3")),
]
PRECISION = [(), (), (), ("64-true",), ("bf16-true",), ("bf16-mixed",), ("16-true",)]
OPTIMIZERS = [(), (), ("--optimizer=SGD", "--optimizer.lr=0.05", "--optimizer.momentum=0.9"), ("--optimizer=AdamW",)]
SCHEDULERS = [
    *((), ()),
    ("--lr_scheduler=StepLR", "--lr_scheduler.step_size=1"),
    ("--lr_scheduler=OneCycleLR", "--lr_scheduler.max_lr=0.1"),
    ("--lr_scheduler=CosineAnnealingLR",),
]
CALLBACKS = [
    *((), (), ()),
    ("EarlyStopping", "monitor=val/loss", "patience=1", "min_delta=0.05"),
    ("EarlyStopping", "monitor=train/loss", "patience=1", "min_delta=0.2"),
    ("GradientAccumulationScheduler", "scheduling={0: 1, 1: 3, 2: 2}"),
    ("EMAWeightAveraging", "decay=0.9"),
    ("StochasticWeightAveraging", "swa_lrs=0.05", "swa_epoch_start=2"),
    ("LearningRateMonitor",),
]
TRAINER = {  # how often
    ("accumulate_grad_batches=2", "accumulate_grad_batches=3"): 0.3,
    ("val_check_interval=0.3", "val_check_interval=4", "check_val_every_n_epoch=2", "limit_val_batches=1"): 0.5,
    ("gradient_clip_val=0.5",): 0.2,
    ("limit_train_batches=0.6", "limit_train_batches=5"): 0.2,
    ("max_steps=37",): 0.2,
    ("log_every_n_steps=3",): 0.2,
    ("min_epochs=3",): 0.2,
}


def draw(dice: random.Random) -> tuple[str, list[str]]:
    """A network, and options."""
    model, data = dice.choice(DATA)
    options = ["--trainer.max_epochs=4", *data]
    options += [f"--trainer.precision={name}" for name in dice.choice(PRECISION)]
    name, *arguments = dice.choice(CALLBACKS) or ("",)
    options += [f"--trainer.callbacks+={name}"] if name else []
    options += [f"--trainer.callbacks.{argument}" for argument in arguments]
    for choices, chance in TRAINER.items():
        taken, choice = dice.random() < chance, dice.choice(choices)
        if taken and not (name.startswith("Gradient") and choice.startswith("accumulate")):
            options.append(f"--trainer.{choice}")
    if dice.random() < 0.4:
        options.append(f"--checkpoint_every={dice.randint(2, 9)}")
    if model != "TripletNet":
        optimizer, scheduler, loss = (dice.choice(choices) for choices in (OPTIMIZERS, SCHEDULERS, LOSSES))
        options += [*optimizer, *(scheduler if optimizer else ())]
        options += loss if TABLE[0] in data else ()
    return model, options


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have a training end in the middle of a step, or for the step None at its end, in one of three ways."""

    def stop_at(how: str, step: int | None, model: type[LightningModule]) -> None:
        at, name = (Curves, "on_fit_end") if step is None else (model, "training_step")
        real = getattr(at, name)

        def end() -> None:
            monkeypatch.setattr(at, name, real)
            if how == "killed":
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGTERM)

        def training_step(self: LightningModule, batch: object) -> object:
            if self.global_step == step:
                end()
            return real(self, batch)

        monkeypatch.setattr(at, name, training_step if step is not None else lambda *_: end())

    return stop_at


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_an_interrupted_training_ends_as_an_unbroken_one(
    capsys: pytest.CaptureFixture[str], stop_at: Callable[..., None], fashion: Path, seed: int
) -> None:
    def run(*args: str) -> int | str | None:
        try:
            return main(list(args))
        except SystemExit as stop:
            return stop.code

    numbers = np.random.default_rng(seed).normal(size=(100, 3))
    Path("table.csv").write_text("a,b,y\n" + "".join(f"{a},{b},{a * b + c / 9}\n" for a, b, c in numbers))
    dice = random.Random(seed)
    model, options = draw(dice)
    fit = ("fit", f"--model={model}", *options)
    needs(*named(fit))
    if run(*fit) != 0:
        assert "kindling: error: the loss is nan" in capsys.readouterr().err, fit
        return  # which 16-true makes of Adam's smallest numbers
    unbroken, broken = RUN, RUN.with_name("version_1")
    steps = int(rows(unbroken / "metrics.csv")[-1]["step"])
    step = dice.choice([*[dice.randrange(steps)] * 4, None])
    how = "killed" if step is None else dice.choice(["SIGTERM", "SIGTERM", "killed"])
    with capsys.disabled():
        print("\n", seed, *fit, how, step)
    stop_at(how, step, getattr(kindling.models, model))
    code = run(*fit)
    assert code == (130 if how == "killed" else 143) or (code == 0 and how == "SIGTERM")  # at the end, it is too late
    if not broken.exists():
        return  # before anything was saved
    next_second()
    capsys.readouterr()
    code = code and run("fit", f"--ckpt_path={broken}")
    error = capsys.readouterr().err
    if code == 2:
        assert error.count("\n") == 1
        assert re.match("kindling: error: .*(StochasticWeightAveraging)", error), error
    else:
        assert code == 0
        assert_same(broken, unbroken)
