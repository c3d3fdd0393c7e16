from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from conftest import RUN, Kindling, equal, rows, weights
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from kindling.runs.folder import Run

Fit = Callable[..., Path]


def scalars(run: Path) -> EventAccumulator:
    events = EventAccumulator(str(run))
    events.Reload()
    return events


def test_the_first_command_trains_quietly_and_leaves_a_whole_run(kindling: Kindling) -> None:
    out = kindling("fit", "--model", "SimpleNet").splitlines()
    assert kindling.err == ""
    assert out[0] == f"SimpleNet, CrossEntropyLoss, 162 parameters, on SyntheticTabular, cpu, seed 42 -> {RUN}"
    assert [line[:11] for line in out[1:11]] == [f"epoch {n:2}/10" for n in range(1, 11)]
    assert out[11].startswith("Best epoch 8: val/loss 0.0")
    assert len(out) == 14
    assert max(map(len, out[1:11])) <= 80
    assert Run(RUN).options("loss")["class_path"] == "torch.nn.CrossEntropyLoss"
    assert {str(f.relative_to(RUN)) for f in RUN.rglob("*") if f.is_file() and "events" not in f.name} == {
        "config.yaml",
        "metrics.csv",
        "curves.png",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
    }
    table = rows(RUN / "metrics.csv")
    assert list(table[0]) == [
        *("epoch", "step", "lr", "epoch_time", "samples_per_second"),
        *("train/loss", "train/acc", "val/loss", "val/acc", "val/f1", "val/auroc"),
    ]
    assert [(row["epoch"], row["step"]) for row in table] == [(str(n), str(25 * n)) for n in range(1, 11)]
    assert float(table[0]["train/loss"]) > 0.4
    assert float(table[-1]["val/acc"]) > 0.97


def test_tensorboard_shows_losses_scores_speed_and_hyperparameters(run: Path) -> None:
    events = scalars(run)
    losses = events.Scalars("train/loss")
    assert [e.step for e in losses] == list(range(1, 251))
    table = rows(run / "metrics.csv")
    first_epoch = sum(e.value for e in losses[:25]) / 25
    assert first_epoch == pytest.approx(float(table[0]["train/loss"]), abs=1e-5)
    for tag, column in (
        *(("train/loss_epoch", "train/loss"), ("train/acc",) * 2, ("val/loss",) * 2, ("val/acc",) * 2),
        *((f"z_run/{name}", name) for name in ("lr", "epoch_time", "samples_per_second")),
    ):
        points = [(e.step, e.value) for e in events.Scalars(tag)]
        assert [s for s, _ in points] == [25 * n for n in range(1, 11)]
        assert [v for _, v in points] == pytest.approx([float(row[column]) for row in table], rel=1e-5)
    best = min(table, key=lambda row: float(row["val/loss"]))
    for name in ("loss", "acc"):
        assert events.Scalars(f"z_best/val_{name}")[0].value == pytest.approx(float(best[f"val/{name}"]))
    groups = dict.fromkeys(tag.partition("/")[0] for tag in sorted(events.Tags()["scalars"]))
    assert list(groups) == ["train", "val", "z_best", "z_run"]  # TensorBoard opens the first two
    layout = Layout.FromString(events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    assert {chart.title: list(chart.multiline.tag) for chart in layout.category[0].chart} == {
        "loss": ["^train/loss_epoch$", "^val/loss$"],
        "acc": ["^train/acc$", "^val/acc$"],
    }


def test_hparams_shows_what_matters_first_then_what_was_changed(fit: Fit) -> None:
    run = fit("--data.train_size=64", "--model.hidden=16", "--optimizer=SGD", "--optimizer.lr=0.1")
    about = scalars(run).summary_metadata
    experiment, session = (
        HParamsPluginData.FromString(about[f"_hparams_/{name}"].plugin_data.content)
        for name in ("experiment", "session_start_info")
    )
    columns = sorted(experiment.experiment.hparam_infos, key=lambda column: column.name)  # as TensorBoard does
    values = session.session_start_info.hparams
    shown = {c.display_name: values[c.name].string_value or values[c.name].number_value for c in columns[:7]}
    assert list(shown.items()) == [
        *(("model", "SimpleNet"), ("data", "SyntheticTabular"), ("lr", 0.1), ("batch size", 32), ("epochs", 2)),
        *(("seed", 42), ("changed options", "model.hidden=16 data.train_size=64")),
    ]
    assert [(score.display_name, score.name.tag) for score in experiment.experiment.metric_infos] == [
        (f"best val/{name}", f"z_best/val_{name}") for name in ("loss", "acc", "mae")
    ]


def test_config_yaml_trains_the_same_again(run: Path, kindling: Kindling) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["seed_everything"] == 42
    assert config["optimizer"]["init_args"]["lr"] == 0.01
    kindling("fit", "-c", str(run / "config.yaml"))
    again = run.with_name("version_1")
    assert equal(weights(run / "checkpoints/last.ckpt"), weights(again / "checkpoints/last.ckpt"))
    assert (again / "config.yaml").read_text().partition("\n")[2] == (run / "config.yaml").read_text().partition("\n")[
        2
    ]


def test_the_seed_decides_the_weights(fit: Fit) -> None:
    a, b, c = (fit("--seed_everything", seed) for seed in ("1", "1", "2"))
    last = [weights(run / "checkpoints/last.ckpt") for run in (a, b, c)]
    assert equal(last[0], last[1])
    assert not equal(last[0], last[2])


def test_seed_true_draws_one_says_it_and_saves_it(fit: Fit, kindling: Kindling) -> None:
    runs = [fit("--seed_everything", "true", epochs=1) for _ in range(2)]
    seeds = [yaml.safe_load((run / "config.yaml").read_text())["seed_everything"] for run in runs]
    assert len({*seeds, 0, 42}) == 4
    assert f"Drew seed {seeds[1]}" in kindling.out


def test_test_after_fit_scores_the_best_checkpoint(fit: Fit, kindling: Kindling) -> None:
    run = fit("--test_after_fit", "true")
    after_fit = (run / "test.json").read_text()
    kindling("test", "--ckpt_path", "best")
    assert (run / "test.json").read_text() == after_fit
    assert [e.step for e in scalars(run).Scalars("z_test/acc")] == [50, 50]


def test_best_is_the_epoch_of_lowest_validation_loss_and_last_the_newest(fit: Fit) -> None:
    run = fit("--optimizer", "SGD", "--optimizer.lr", "30", epochs=6)  # far too high: the loss jumps about
    losses = [float(row["val/loss"]) for row in rows(run / "metrics.csv")]
    best, last = (torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True) for name in ("best", "last"))
    assert best["epoch"] == 1 + losses.index(min(losses)) < 6
    assert last["epoch"] == 6


def test_a_checkpoint_holds_the_options_the_sizes_and_the_class_names(run: Path) -> None:
    checkpoint = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"] == {"in_features": 2, "hidden": 32, "num_outputs": 2}
    assert checkpoint["facts"]["class_names"] == ("not popular", "popular")
    assert checkpoint["config"] == yaml.safe_load((run / "config.yaml").read_text())


def test_fast_dev_run_keeps_nothing(kindling: Kindling, tmp_path: Path) -> None:
    assert "nowhere (fast_dev_run)" in kindling("fit", "--model", "SimpleNet", "--trainer.fast_dev_run", "true")
    assert list(tmp_path.iterdir()) == []


def test_without_checkpoints_bar_and_logger(fit: Fit, kindling: Kindling) -> None:
    run = fit(*(f"--trainer.{name}=false" for name in ("enable_checkpointing", "enable_progress_bar", "logger")))
    assert {f.name for f in run.iterdir()} == {"config.yaml", "metrics.csv", "curves.png"}
    assert "epoch " not in kindling.out


def test_runs_go_where_default_root_dir_says(fit: Fit, kindling: Kindling) -> None:
    assert fit("--trainer.default_root_dir", "else where") == "else where" / RUN
    kindling("test", "--ckpt_path", "best", "--trainer.default_root_dir", "else where")
    assert ("else where" / RUN / "test.json").is_file()


@pytest.mark.first_by_default
@pytest.mark.parametrize(
    ("options", "learning_rates"),
    [
        (("StepLR", "--lr_scheduler.step_size=1", "--lr_scheduler.gamma=0.5"), [0.01, 0.005, 0.0025]),
        (("null",), [0.01, 0.01, 0.01]),
        # one cycle over all 75 steps, as torch's own OneCycleLR says for steps 25, 50 and 75
        (("OneCycleLR", "--lr_scheduler.max_lr=0.1"), [0.09944, 0.04626, 4e-7]),
        (("OneCycleLR", "--lr_scheduler.max_lr=0.1", "--lr_scheduler.total_steps=75"), [0.09944, 0.04626, 4e-7]),
        (("ReduceLROnPlateau", "--lr_scheduler.monitor=val/loss", "--lr_scheduler.patience=9"), [0.01, 0.01, 0.01]),
    ],
)
def test_schedulers_step_at_their_own_pace(fit: Fit, options: tuple[str, ...], learning_rates: list[float]) -> None:
    run = fit("--lr_scheduler", *options, epochs=3)
    found = [float(row["lr"]) for row in rows(run / "metrics.csv")]
    assert found == pytest.approx(learning_rates, rel=0.01)


def test_an_optimizer_by_name_has_its_own_defaults(fit: Fit) -> None:
    run = fit("--optimizer", "SGD", "--optimizer.momentum", "0.9", epochs=1)
    optimizer = yaml.safe_load((run / "config.yaml").read_text())["optimizer"]
    assert optimizer["class_path"] == "torch.optim.SGD"
    assert (optimizer["init_args"]["lr"], optimizer["init_args"]["momentum"]) == (0.001, 0.9)


@pytest.mark.slow
def test_one_batch_can_be_learnt_by_heart(fit: Fit) -> None:
    run = fit("--trainer.limit_train_batches", "1", "--data.train_size", "32", epochs=100)
    assert float(rows(run / "metrics.csv")[-1]["train/loss"]) < 0.05


def test_the_best_checkpoint_where_files_have_one_name_each(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    linked = fit(epochs=3)
    assert (linked / "checkpoints/best.ckpt").stat().st_ino == (linked / "checkpoints/last.ckpt").stat().st_ino

    def refuse(*args: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    copied = fit(epochs=3)
    for name in ("best", "last"):
        assert equal(weights(linked / f"checkpoints/{name}.ckpt"), weights(copied / f"checkpoints/{name}.ckpt"))
    assert sorted(f.name for f in (copied / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
