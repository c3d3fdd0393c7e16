"""Every optimizer and every scheduler of torch.optim by its name."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import RUN, Kindling, rows

from kindling import registry

Fit = Callable[..., Path]
PICKY = {"SparseAdam", "Muon"}  # test_optimizers_that_... has them


@pytest.mark.first_by_default
@pytest.mark.parametrize("name", [name for name in registry.optimizers() if name not in PICKY])
def test_an_optimizer_learns(fit: Fit, kindling: Kindling, name: str) -> None:
    steps = {"SGD": 0.1, "ASGD": 0.1, "Adagrad": 0.1, "Adadelta": 1.0, "LBFGS": 1.0, "Rprop": 0.001}
    run = fit("--optimizer", name, "--optimizer.lr", str(steps.get(name, 0.01)), epochs=4)
    table = rows(run / "metrics.csv")
    assert float(table[-1]["train/loss"]) < 0.75 * float(table[0]["train/loss"]) or float(table[0]["train/loss"]) < 0.1
    assert float(table[-1]["val/acc"]) > 0.85
    assert kindling.err == ""
    assert yaml.safe_load((run / "config.yaml").read_text())["optimizer"]["class_path"] == f"torch.optim.{name}"


def test_the_catalogue_is_torchs() -> None:
    assert {"SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "NAdam", "RAdam", "ASGD", "LBFGS"} <= {
        *registry.optimizers()
    }
    assert {"SparseAdam", "Adafactor", "Muon"} <= {*registry.optimizers()}


def test_optimizers_that_not_every_network_is_for(kindling: Kindling) -> None:
    fit = ("fit", "--model=SimpleNet", "--trainer.max_epochs=1")
    line = kindling.fails(*fit, "--optimizer=SparseAdam")
    assert "--optimizer: SparseAdam does not support dense gradients, please consider Adam instead" in line
    assert "--optimizer Muon: Muon only supports 2D parameters" in kindling.fails(*fit, "--optimizer=Muon")


SCHEDULERS = {
    "LambdaLR": (("lr_lambda=ours.halve",), [0.1, 0.05, 0.025, 0.0125]),
    "MultiplicativeLR": (("lr_lambda=ours.half",), [0.1, 0.05, 0.025, 0.0125]),
    "StepLR": (("step_size=2",), [0.1, 0.1, 0.01, 0.01]),
    "MultiStepLR": (("milestones=[1, 3]", "gamma=0.5"), [0.1, 0.05, 0.05, 0.025]),
    "ConstantLR": (("factor=0.5", "total_iters=2"), [0.05, 0.05, 0.1, 0.1]),
    "LinearLR": (("start_factor=0.5", "total_iters=2"), [0.05, 0.075, 0.1, 0.1]),
    "ExponentialLR": (("gamma=0.5",), [0.1, 0.05, 0.025, 0.0125]),
    "CosineAnnealingLR": ((), [0.1, 0.08536, 0.05, 0.01464]),  # T_max is the four epochs
    "PolynomialLR": ((), [0.1, 0.075, 0.05, 0.025]),  # so is total_iters
    "CosineAnnealingWarmRestarts": (("T_0=2",), [0.1, 0.05, 0.1, 0.05]),
    "ReduceLROnPlateau": (("threshold=1e9", "patience=0"), [0.1, 0.01, 0.001, 1e-4]),  # nothing is an improvement
    # by steps of 25 an epoch: the last step of each is told
    "CyclicLR": (("base_lr=0", "max_lr=1", "step_size_up=50", "cycle_momentum=false"), [0.48, 0.98, 0.52, 0.02]),
    "OneCycleLR": (("max_lr=1", "anneal_strategy=linear"), [0.8345, 0.7143, 0.3571, 4e-6]),
}


def test_no_scheduler_is_left_out() -> None:
    assert set(SCHEDULERS) | {"SequentialLR", "ChainedScheduler"} == set(registry.lr_schedulers())


@pytest.mark.first_by_default
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedulers_pace(fit: Fit, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("ours.py").write_text("def halve(epoch):\n    return 0.5**epoch\ndef half(epoch):\n    return 0.5\n")
    monkeypatch.syspath_prepend(".")
    options, rates = SCHEDULERS[name]
    typed = [f"--lr_scheduler.{option}" for option in options]
    run = fit("--optimizer=SGD", "--optimizer.lr=0.1", "--lr_scheduler", name, *typed, epochs=4)
    assert [float(row["lr"]) for row in rows(run / "metrics.csv")] == pytest.approx(rates, rel=0.01)


@pytest.mark.parametrize("name", ["SequentialLR", "ChainedScheduler"])
def test_schedulers_of_schedulers(kindling: Kindling, name: str) -> None:
    line = kindling.fails("fit", "--model=SimpleNet", f"--lr_scheduler={name}")
    assert f"--lr_scheduler {name} takes more than options can describe: write a network that makes its own" in line


@pytest.mark.parametrize("name", ["CosineAnnealingLR", "PolynomialLR"])
def test_a_schedule_over_the_whole_run_is_not_made_longer(fit: Fit, kindling: Kindling, name: str) -> None:
    fit("--optimizer=SGD", "--lr_scheduler", name)
    line = kindling.fails("fit", "--ckpt_path=version_0", "--trainer.max_epochs=3")
    assert f"{name} spans its run from end to end" in line


def test_the_learning_rate_finder(kindling: Kindling) -> None:
    out = kindling("lr_find", "--model", "SimpleNet").splitlines()
    assert out[-2].endswith(" -> lightning_logs/lr_find.png")
    found = float(out[-2].split()[2].rstrip(","))
    assert 1e-3 <= found <= 0.3
    assert [str(f) for f in Path().rglob("*")] == ["lightning_logs", "lightning_logs/lr_find.png"]
    assert out[-1] == f"Next: python scripts/main.py fit --model SimpleNet --optimizer.lr {found:.2g}"
    kindling(*out[-1].split()[3:], "--trainer.max_epochs=3")
    assert float(rows(RUN / "metrics.csv")[-1]["val/acc"]) > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--min_lr=1", "--max_lr=0.1"), "the first has to be above 0 and below the second"),
        (("--num_training=5",), "--num_training 5: at least 20 steps are needed"),
        (("--ckpt_path=best",), "lr_find starts from new weights: leave out --ckpt_path"),
    ],
)
def test_what_the_finder_can_not_search(kindling: Kindling, options: tuple[str, ...], message: str) -> None:
    assert message in kindling.fails("lr_find", "--model=SimpleNet", *options)
