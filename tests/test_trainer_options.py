"""Lightning's own flags do what they do in Lightning."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Kindling, rows
from lightning.pytorch import Trainer, seed_everything

from kindling.data import SyntheticTabular
from kindling.models import SimpleNet

Fit = Callable[..., Path]


def steps(run: Path) -> list[int]:
    return [int(row["step"]) for row in rows(run / "metrics.csv")]


def newest(name: str) -> Path:
    return max(Path().rglob(name), key=lambda file: file.stat().st_mtime_ns)


@pytest.mark.first_by_default
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--trainer.precision=bf16-mixed",), [25, 50]),
        (("--trainer.accumulate_grad_batches=2",), [13, 26]),
        (("--trainer.gradient_clip_val=0.5",), [25, 50]),
        (("--trainer.limit_train_batches=7",), [7, 14]),
        (("--trainer.val_check_interval=0.5",), [25, 50]),
        (("--trainer.max_steps=30",), [25, 30]),
        (("--trainer.max_time=00:01:00:00",), [25, 50]),
    ],
)
def test_flags_of_the_trainer(fit: Fit, kindling: Kindling, options: tuple[str, ...], expected: list[int]) -> None:
    assert steps(fit(*options)) == expected
    assert kindling.err == ""


@pytest.mark.first_by_default
@pytest.mark.parametrize("in_a_file", [False, True])
def test_1_is_one_batch_and_1_point_0_all_of_them(fit: Fit, kindling: Kindling, in_a_file: bool) -> None:
    def limit(stage: str, value: str) -> tuple[str, ...]:
        Path("limit.yaml").write_text(f"trainer: {{limit_{stage}_batches: {value}}}")
        return ("-c", "limit.yaml") if in_a_file else (f"--trainer.limit_{stage}_batches={value}",)

    for value, trained, predicted in (("1", 1, 128), ("1.0", 25, 200)):
        assert steps(fit(*limit("train", value), epochs=1)) == [trained]
        kindling("predict", "--ckpt_path=best", *limit("predict", value))
        assert len(rows(newest("predictions.csv"))) == predicted
        for stage in ("val", "test"):
            out = kindling("fit", "--model=SimpleNet", *limit(stage, value), "--print_config")
            assert f" limit_{stage}_batches: {value}\n" in out


def test_max_steps_alone_sets_no_limit_of_epochs(kindling: Kindling) -> None:
    kindling("fit", "--model", "SimpleNet", "--trainer.max_steps", "300")
    assert steps(Path("lightning_logs/version_0"))[-1] == 300


@pytest.mark.slow
def test_options_typed_as_one_count_as_typed(kindling: Kindling, run: Path) -> None:
    out = kindling("fit", "--model=SimpleNet", "--trainer", "{max_steps: 300, default_root_dir: here}")
    assert steps(Path("here/lightning_logs/version_0"))[-1] == 300
    out = kindling("test", "--ckpt_path=best", "--trainer", "default_root_dir: here")
    assert "Testing here/lightning_logs/version_0" in out
    out = kindling("fit", "--ckpt_path=last", "--trainer={max_epochs: 11}", "--trainer.max_epochs=12")
    assert steps(run)[-1] == 300
    parts: tuple[str, ...] = (
        "--model={class_path: SimpleNet, init_args: {hidden: 8}}",
        "--loss={class_path: NLLLoss}",
    )
    parts += ("--optimizer={class_path: LBFGS, init_args: {lr: 1e-1, line_search_fn: null}}",)
    parts += ("--data={class_path: SyntheticTabular, init_args: {samples: [[1, 2.5]]}}",)
    out = kindling("fit", *parts, "--print_config")
    for line in ("hidden: 8", "class_path: torch.nn.NLLLoss", "lr: 0.1", "line_search_fn: null", "- 2.5"):
        assert f" {line}\n" in out


def test_validation_now_and_then_or_never(fit: Fit, kindling: Kindling) -> None:
    table = rows(fit("--trainer.check_val_every_n_epoch=2", epochs=5) / "metrics.csv")
    assert [bool(row["val/loss"]) for row in table] == [False, True, False, True, False]
    assert "Best epoch 4" in kindling.out
    run = fit("--trainer.limit_val_batches=0")
    assert "val/loss" not in rows(run / "metrics.csv")[0]
    assert "No best.ckpt: val/loss was never logged" in kindling.out
    assert (run / "checkpoints/last.ckpt").is_file()


def test_a_callback_of_lightnings_own(fit: Fit, kindling: Kindling) -> None:
    stop = ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss")
    run = fit(*stop, "--trainer.callbacks.stopping_threshold=0.1", epochs=50)
    table = rows(run / "metrics.csv")
    assert len(table) < 10
    assert float(table[-1]["val/loss"]) < 0.1 < float(table[-2]["val/loss"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--trainer.profiler=simple",), "FIT Profiler Report"),
        (("--trainer.enable_model_summary=true",), "162       Total params"),
        (("--trainer.callbacks+=Timer", "--trainer.callbacks.duration=00:00:00:00"), "Time limit reached"),
        (("--trainer.max_time=00:00:00:01", "--trainer.max_epochs=-1"), "Time limit reached"),
    ],
)
def test_what_lightning_logs_of_what_was_asked_for(
    fit: Fit, kindling: Kindling, options: tuple[str, ...], says: str
) -> None:
    fit(*options)
    assert says in kindling.out
    assert kindling.err == ""


def test_another_progress_bar(fit: Fit, kindling: Kindling) -> None:
    fit("--trainer.callbacks+=TQDMProgressBar", epochs=3)
    assert "epoch 3/3  train loss 0." in kindling.out


def test_a_network_whose_backbone_is_trained_later(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("backbone.py").write_text(
        "from torch import nn, optim\n"
        "from kindling.models.base import SupervisedModule\n"
        "class Two(SupervisedModule):\n"
        "    def __init__(self, in_features: int, num_outputs: int) -> None:\n"
        "        super().__init__()\n"
        "        self.backbone, self.head = nn.Linear(in_features, 8), nn.Linear(8, num_outputs)\n"
        "    def forward(self, x):\n"
        "        return self.head(self.backbone(x).relu())\n"
        "    def configure_optimizers(self):\n"
        "        return optim.Adam(self.head.parameters(), lr=0.01)\n"
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    later = ("--trainer.callbacks+=BackboneFinetuning", "--trainer.callbacks.unfreeze_backbone_at_epoch=1")
    options = ("--model=backbone.Two", "--data=SyntheticTabular", *later, "--trainer.callbacks.verbose=true")
    assert "Backbone lr: " in kindling("fit", *options, "--trainer.max_epochs=2")


@pytest.mark.filterwarnings("ignore")  # Lightning's advice, which our command line has reasons to leave out
def test_the_networks_and_the_data_serve_a_plain_trainer() -> None:
    seed_everything(1, verbose=False)
    model, data = SimpleNet(), SyntheticTabular()
    trainer = Trainer(max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.fit(model, data)
    trainer.test(model, data)
    assert trainer.callback_metrics["test/acc"] > 0.9
    assert model.class_names == ("not popular", "popular")


@pytest.mark.parametrize("has", [False, True])
def test_a_cpu_that_has_to_emulate_bf16_is_said(kindling: Kindling, monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    kindling("fit", "--model=SimpleNet", "--trainer.precision=bf16-mixed", "--trainer.fast_dev_run=true")
    line = "--trainer.precision bf16-mixed: this CPU has no instructions for it; 32-true may be several times faster"
    assert (line in kindling.out.splitlines()) != has


@pytest.mark.first_by_default
@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_a_number_in_any_precision(kindling: Kindling, precision: str) -> None:
    Path("t.csv").write_text("a,b,y\n" + "".join(f"{n},{n % 7},{300 + 20 * n}.5\n" for n in range(120)))
    table = ("--data=TabularCSV", "--data.path=t.csv", "--data.target=y", "--trainer.max_epochs=20")
    kindling("fit", "--model=SimpleNet", *table, f"--trainer.precision={precision}", "--test_after_fit=true")
    assert json.loads(Path("lightning_logs/version_0/test.json").read_text())["test/r2"] > 0.9
