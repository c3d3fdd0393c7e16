"""Which weights are used, in a process that did not train them: the ones asked for, or none."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import RUN, Kindling, equal, weights

import kindling as package
from kindling.models import SimpleNet

Fit = Callable[..., Path]


def scores_of(run: Path = RUN) -> dict[str, float]:
    scores: dict[str, float] = json.loads((run / "test.json").read_text())
    return scores


def test_the_command_for_the_curves_works_with_and_without_make(kindling: Kindling) -> None:
    fit = ("fit", "--model", "SimpleNet", "--epochs", "1")
    assert kindling(*fit).endswith("  |  tensorboard --logdir lightning_logs\n")
    Path("Makefile").touch()
    assert kindling(*fit).endswith("  |  make tensorboard\n")
    assert kindling(*fit, "--trainer.default_root_dir", "a").endswith("  |  tensorboard --logdir a/lightning_logs\n")


def test_runs_are_named_and_the_newest_says_that_it_is(fit: Fit, kindling: Kindling) -> None:
    logs = Path("lightning_logs")
    assert [fit(*name, epochs=1).name for name in (("--name=cars",), (), ("--name", "cars"))] == [
        "cars_0",
        "version_1",
        "cars_2",
    ]
    others = "This is the newest run; for another one, type e.g. --ckpt_path version_1\n"
    out = kindling("validate", "--ckpt_path", "best")
    assert out.startswith(f"Validating {logs}/cars_2/checkpoints/best.ckpt (SimpleNet, epoch 1)\n{others}")
    assert others not in kindling("validate", "--ckpt_path", "cars_0")
    assert (logs / "cars_0/validate.json").is_file()
    line = kindling.fails("fit", "--ckpt_path", "last", "--name", "dogs", "--epochs", "2")
    assert f"--name dogs: training resumes in {logs}/cars_2, which has its name already" in line
    assert "--name a/b: it is of letters" in kindling.fails("fit", "--model", "SimpleNet", "--name", "a/b")
    out = kindling("fit", "--model", "SimpleNet", "--ckpt_path", "auto", "--name", "cars", "--epochs", "2")
    assert f"Resuming from {logs}/cars_2/checkpoints/last.ckpt (SimpleNet, epoch 1)\n{others}" in out


@pytest.mark.parametrize(
    ("which", "file"),
    [
        ("best", "best"),
        ("last", "last"),
        ("version_0", "best"),
        (str(RUN), "best"),
        (f"{RUN}/checkpoints/last.ckpt", "last"),
    ],
)
def test_ckpt_path_names_a_checkpoint_in_five_ways(run: Path, kindling: Kindling, which: str, file: str) -> None:
    out = kindling("test", "--ckpt_path", which)
    assert f"checkpoints/{file}.ckpt (SimpleNet, epoch {8 if file == 'best' else 10})" in out
    assert kindling.err == ""
    assert scores_of()["epoch"] == (8 if file == "best" else 10)
    assert scores_of()["test/acc"] > 0.97
    assert [f.name for f in Path("lightning_logs").iterdir()] == ["version_0"]


@pytest.mark.parametrize(("name", "folder"), [("model", "model.run"), ("v1.2.ckpt", "v1.2")])
def test_a_checkpoint_without_a_run_gets_a_folder(run: Path, kindling: Kindling, name: str, folder: str) -> None:
    Path("kept").mkdir()
    (run / "checkpoints/best.ckpt").rename(f"kept/{name}")
    for command in ("test", "predict"):
        kindling(command, "--ckpt_path", f"kept/{name}")
    assert {"test.json", "predictions.csv"} < {f.name for f in Path("kept", folder).iterdir()}


def test_test_scores_the_weights_in_the_file(run: Path, kindling: Kindling) -> None:
    model, data = package.load(run)
    data.setup("test")
    x, y = data.test_set.tensors
    accuracy = (model(data.normalize(x)).argmax(dim=1) == y).float().mean().item()
    kindling("test", "--ckpt_path", "best")
    assert scores_of()["test/acc"] == pytest.approx(accuracy)


def test_validate_repeats_the_score_of_training(run: Path, kindling: Kindling) -> None:
    out = kindling("validate", "--ckpt_path", "best")
    assert "val/loss 0.0226  val/acc 1.0000" in out
    assert json.loads((run / "validate.json").read_text())["val/acc"] == 1


def test_the_datas_and_the_networks_options_come_back(fit: Fit, kindling: Kindling) -> None:
    run = fit("--model.hidden", "7", "--data.test_size", "33", "--data.seed", "5", "--data.standardize", "false")
    out = kindling("predict", "--ckpt_path", "best")
    assert "in the checkpoint's run" not in out
    assert len((run / "predictions.csv").read_text().splitlines()) == 1 + 33


@pytest.mark.slow
def test_best_is_of_the_newest_run_of_the_network_named(fit: Fit, kindling: Kindling, fashion: Path) -> None:
    fit(), fit()
    kindling("fit", "--model", "NeuralNetwork", "--data.val_size=50", "--trainer.max_epochs=1")
    assert "version_2/checkpoints/best.ckpt (NeuralNetwork" in kindling("test", "--ckpt_path", "best")
    out = kindling("test", "--model", "SimpleNet", "--ckpt_path", "best")
    assert "version_1/checkpoints/best.ckpt (SimpleNet" in out
    assert "no training run of Net with a best.ckpt" in kindling.fails("test", "--model=Net", "--ckpt_path=best")
    assert "holds NeuralNetwork, not Net" in kindling.fails("test", "--model=Net", "--ckpt_path=version_2")


@pytest.mark.slow
def test_a_config_file_before_or_after_changes_nothing(run: Path, kindling: Kindling) -> None:
    config = str(run / "config.yaml")
    Path("null.yaml").write_text("ckpt_path: null\n")
    for options in (
        ("--ckpt_path", "best", "-c", config),
        ("-c", config, "--ckpt_path", "best"),
        ("--ckpt_path", "best", "-c", "null.yaml"),
    ):
        assert "best.ckpt (SimpleNet, epoch 8)" in kindling("test", *options)
    Path("named.yaml").write_text("ckpt_path: last\n")
    assert "last.ckpt (SimpleNet, epoch 10)" in kindling("test", "-c", "named.yaml")
    assert "best.ckpt (SimpleNet, epoch 8)" in kindling("test", "-c", "named.yaml", "--ckpt_path", "best")


def test_typed_options_win_and_each_difference_is_a_line(run: Path, kindling: Kindling) -> None:
    out = kindling("test", "--ckpt_path", "best", "--data.test_size", "1000", "--data.batch_size", "100").splitlines()
    assert out[:2] == [
        "--data.test_size 1000 (in the checkpoint's run: 200)",
        "--data.batch_size 100 (in the checkpoint's run: 32)",
    ]
    kindling("test", "--ckpt_path", "best", "--data.test_size", "1")
    assert scores_of()["test/acc"] in (0, 1)


def test_other_data_can_be_tested_when_it_fits(run: Path, kindling: Kindling, fashion: Path) -> None:
    assert "shape torch.Size([32, 2]) from checkpoint, the shape in current model is torch.Size([32, 784])" in _error(
        kindling, "test", "--ckpt_path", "best", "--data", "FashionMNIST"
    )


def test_another_width_does_not_fit_the_weights(run: Path, kindling: Kindling) -> None:
    error = _error(kindling, "test", "--ckpt_path", "best", "--model.hidden", "64")
    assert "best.ckpt does not fit SimpleNet: size mismatch for net.1.weight: copying a param" in error


def _error(kindling: Kindling, *args: str) -> str:
    kindling(*args, code=2)
    return kindling.err


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_nothing_is_done_with_random_weights(kindling: Kindling, command: str) -> None:
    assert "needs a trained network: add --ckpt_path best" in kindling.fails(command, "--model", "SimpleNet")
    for which in ("best", "last"):
        error = kindling.fails(command, "--ckpt_path", which)
        assert f"no training run with a {which}.ckpt under lightning_logs: train one first" in error
    assert "no such file or run" in kindling.fails(command, "--ckpt_path", "nowhere.ckpt")


def test_a_run_without_a_best_checkpoint_is_not_replaced_by_another(run: Path, kindling: Kindling) -> None:
    (run / "checkpoints/best.ckpt").unlink()
    assert "there is no lightning_logs/version_0/checkpoints/best.ckpt" in kindling.fails(
        "test", "--ckpt_path", "version_0"
    )


def test_a_damaged_checkpoint_is_one_line(run: Path, kindling: Kindling) -> None:
    (run / "checkpoints/best.ckpt").write_bytes(b"not a checkpoint")
    assert "best.ckpt is no checkpoint, or a damaged one" in kindling.fails("test", "--ckpt_path", "best")


def test_a_checkpoint_file_stands_for_itself(run: Path, kindling: Kindling) -> None:
    shutil.copy(run / "checkpoints/best.ckpt", "mine.ckpt")
    shutil.rmtree("lightning_logs")
    kindling("test", "--ckpt_path", str(Path("mine.ckpt").absolute()))
    assert scores_of(Path("mine"))["test/acc"] > 0.97
    assert not Path("lightning_logs").exists()


def test_python_reads_a_run_back(run: Path) -> None:
    model, data = package.load(run)
    assert (type(model).__name__, model.class_names) == ("SimpleNet", ("not popular", "popular"))
    assert not model.training
    assert model(data.normalize(torch.tensor([[7.5, 3.0], [2.0, 2.0]]))).argmax(dim=1).tolist() == [1, 0]

    same = SimpleNet.load_from_checkpoint(run / "checkpoints/best.ckpt", weights_only=True)
    assert equal(dict(model.state_dict()), dict(same.state_dict()))
    last, _ = package.load(run, which="last")
    assert equal(dict(last.state_dict()), weights(run / "checkpoints/last.ckpt"))
