"""Cross-validation: ``--data.folds`` shares rows and images out, and ``fit`` trains a run for each fold."""

import itertools
import json
import os
import signal
import statistics
from collections import Counter
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import processes
import pytest
import torch
from conftest import RUN, Kindling, equal, rows, weights
from PIL import Image
from test_interrupted import assert_same, next_second

import kindling as package
from kindling.callbacks.report.predictions import PredictionWriter
from kindling.callbacks.resume.checkpoints import BestAndLast
from kindling.data import ImageFolder, TabularCSV
from kindling.errors import DataError, UsageError
from kindling.models import SimpleNet

FIT = ("fit", "--model=SimpleNet", "--data=TabularCSV", "--data.path=table.csv", "--data.target=kind")


@pytest.fixture(autouse=True)
def table() -> pd.DataFrame:
    """Written to table.csv; a has a gap, fold and patient are whole numbers."""
    random = np.random.default_rng(0)
    a = random.normal(size=103)
    columns = {"a": a, "b": random.choice(["u", "v"], 103), "price": a + random.normal(size=103)}
    columns |= {"kind": random.choice(["x", "y", "z"], 103, p=[0.6, 0.3, 0.1])}
    columns |= {"wet": random.integers(0, 2, 103), "red": random.integers(0, 5, 103) // 4, "any": np.arange(103) % 2}
    frame = pd.DataFrame(columns | {"patient": random.integers(0, 30, 103), "fold": np.arange(103)})
    frame.loc[::9, "a"] = np.nan
    frame.to_csv("table.csv", index=False)
    return frame


def split(**options: Any) -> list[list[int]]:
    """Rows for training, validation and test."""
    data = TabularCSV("table.csv", **options)
    data.setup("fit")
    data.setup("test")
    return [part.rows.tolist() for part in (data.train_set, data.val_set, data.test_set)]


@pytest.mark.first_by_default
@pytest.mark.parametrize(
    "options",
    [
        {"target": "kind", "group": "patient", "ignore": "fold"},
        {"target": "kind"},
        {"target": "price", "split": (0.5, 0.2, 0.3)},
        {"target": ["wet", "red", "any"]},
        {"target": "kind", "seed": 1, "test_path": "table.csv"},
    ],
    ids=str,
)
def test_each_row_beside_those_to_test_with_is_validated_once(table: pd.DataFrame, options: dict[str, Any]) -> None:
    train, val, test = split(**options)
    seen = []
    for fold in range(4):
        part = split(**options, folds=4, fold=fold)
        assert part[2] == test
        assert sorted(part[0] + part[1]) == sorted(train + val)
        seen += part[1]
        if "group" in options:
            assert not {*table["patient"][part[0]]} & {*table["patient"][part[1]]}
        elif options["target"] == "kind":
            for kind, count in table["kind"][train + val].value_counts().items():
                assert (table["kind"][part[1]] == kind).sum() in (count // 4, count // 4 + 1)
        assert len(part[1]) in (
            range(15, 30) if "group" in options else (len(train + val) // 4, len(train + val) // 4 + 1)
        )
    assert sorted(seen) == sorted(train + val)
    assert split(**options, folds=4, fold=3)[1] == part[1]  # not by chance


def test_means_are_of_the_training_rows_of_a_fold(table: pd.DataFrame) -> None:
    for fold in range(2):
        data = TabularCSV("table.csv", "kind", folds=2, fold=fold)
        data.setup("fit")
        known = table["a"][data.train_set.rows].dropna()
        assert data.learned.numeric["a"][1:] == pytest.approx([known.mean(), known.std(ddof=0)])


def test_a_class_in_one_fold_alone_is_named(table: pd.DataFrame) -> None:
    table.assign(kind=["rare", *["x", "y"] * 51]).to_csv("table.csv", index=False)
    with pytest.raises(DataError, match=r"table.csv: all rows with rare beside those to test with are in one fold"):
        split(target="kind", folds=4, fold=0)


def test_a_checkpoint_remembers_its_fold(table: pd.DataFrame) -> None:
    state = {}
    for fold in (None, 1):
        data = TabularCSV("table.csv", "kind", folds=fold and 3, fold=fold)
        data.setup("fit")
        state[fold] = data.state_dict()
    with pytest.raises(UsageError, match=r"--data.folds 4: the checkpoint was trained with 3: leave that option out"):
        TabularCSV("table.csv", "kind", folds=4, fold=1).load_state_dict(state[1])
    with pytest.raises(UsageError, match=r"--data.fold 2: the checkpoint was trained with 1"):
        TabularCSV("table.csv", "kind", folds=3, fold=2).load_state_dict(state[1])
    for name in ("folds", "fold"):  # as in a checkpoint from before there were any
        del state[None]["options"][name]
    before = TabularCSV("table.csv", "kind")
    before.load_state_dict(state[None])
    before.setup("fit")
    assert before.val_set.rows.tolist() == split(target="kind")[1]


def photos(*counts: int, folder: str = "photos") -> None:
    for name, count in zip("ab", counts, strict=True):
        Path(folder, name).mkdir(parents=True)
        for n in range(count):
            Image.new("L", (28, 28), 20 * n).save(f"{folder}/{name}/{n}.png")


def images(**options: Any) -> list[list[str]]:
    learned = ImageFolder("photos", **options).learned
    return [learned.paths(name) if name in learned.files else [] for name in ("train", "val", "test")]


@pytest.mark.first_by_default
@pytest.mark.parametrize("parts", [["train", "val", "test"], [""], ["train", "test"]], ids="-".join)
def test_images_are_shared_out_likewise(parts: list[str]) -> None:
    for part in parts:
        photos(12, 8, folder=f"photos/{part}")
    train, val, test = images()
    seen = []
    for fold in range(4):
        found = images(folds=4, fold=fold)
        assert found[2] == test
        assert sorted(found[0] + found[1]) == sorted(train + val)
        if "" not in parts:
            total = len(parts) - ("test" in parts)
            assert Counter(Path(path).parent.name for path in found[1]) == {"a": 3 * total, "b": 2 * total}
        seen += found[1]
    assert sorted(seen) == sorted(train + val)
    state = ImageFolder("photos", folds=4, fold=0).state_dict()
    with pytest.raises(UsageError, match=r"--data.fold 2: the checkpoint was trained with 0"):
        ImageFolder("photos", folds=4, fold=2).load_state_dict(state)


def test_in_python_a_fold_is_named() -> None:
    with pytest.raises(UsageError, match=r"--data.folds 5: only .*: name one with --data.fold, from 0 to 4"):
        package.fit(SimpleNet, partial(TabularCSV, "table.csv", "kind", folds=5))


def test_fit_trains_all_folds(kindling: Kindling) -> None:
    out = kindling(*FIT, "--data.folds=2", "--trainer.max_epochs=1", "--name=cross")
    folder = RUN.with_name("cross_0")
    assert [line for line in out.splitlines() if line.startswith("Fold")] == ["Fold 0, of 0 to 1", "Fold 1, of 0 to 1"]
    assert {file.name for file in folder.iterdir()} == {
        *("fold_0", "fold_1", "config.yaml", "folds.csv", "best.txt", "predictions.csv")
    }
    *of_folds, mean, std = rows(folder / "folds.csv")
    assert [row["fold"] for row in (*of_folds, mean, std)] == ["0", "1", "mean", "std"]
    for score in ("val/loss", "val/acc"):
        values = [float(rows(folder / f"fold_{n}/metrics.csv")[0][score]) for n in range(2)]
        assert [float(row[score]) for row in of_folds] == values
        assert float(mean[score]) == pytest.approx(statistics.mean(values))
        assert float(std[score]) == pytest.approx(statistics.stdev(values))
        assert f"{statistics.mean(values):.4f}" in out
    predicted = rows(folder / "predictions.csv")
    val = [split(target="kind", folds=2, fold=fold)[1] for fold in range(2)]
    assert [(int(row["fold (data)"]), row["fold"]) for row in predicted] == sorted(
        (row, str(fold)) for fold in range(2) for row in val[fold]
    )

    best = (folder / "best.txt").read_text().strip()
    assert best == f"fold_{min(range(2), key=lambda n: float(of_folds[n]['val/loss']))}"
    which = "there are several runs in lightning_logs/cross_0: name one of them, such as the best, --ckpt_path cross_0/"
    for command in ("test", "predict", "export"):
        assert which + best in kindling.fails(command, "--ckpt_path=cross_0")
    with pytest.raises(UsageError, match="there are several runs in lightning_logs/cross_0: name one of them"):
        package.fit(SimpleNet, partial(TabularCSV, "table.csv", "kind"), resume="cross_0")


@pytest.mark.slow
def test_each_fold_is_a_run_and_predicts_what_it_was_validated_with(kindling: Kindling, table: pd.DataFrame) -> None:
    fit = (*FIT, "--data.folds=2", "--trainer.max_epochs=2", "--test_after_fit=true")
    out = kindling(*fit)
    assert "Next: python scripts/main.py test --ckpt_path best" in out
    tested = [json.loads((RUN / f"fold_{n}/test.json").read_text())["test/acc"] for n in range(2)]
    *_, mean, _ = rows(RUN / "folds.csv")
    assert float(mean["test/acc"]) == pytest.approx(statistics.mean(tested))
    best = (RUN / "best.txt").read_text().strip()
    out = kindling("test", "--ckpt_path=best")
    assert f"Testing {RUN}/{best}/checkpoints/best.ckpt" in out
    assert "This is the best fold of the newest run; for another one, type e.g. --ckpt_path version_0/fold_" in out

    for option in ("limit_val_batches=0", "enable_checkpointing=false"):
        assert f"--trainer.{option.replace('=', ' ')} leaves no scores" in kindling.fails(
            *fit[:-1], f"--trainer.{option}"
        )
    assert "has had its 2 epochs: for more, add" in kindling.fails("fit", "--ckpt_path=version_0")
    assert "version_0 has all folds: leave it out" in kindling.fails("fit", "--ckpt_path=version_0", "--data.fold=1")
    kindling(*FIT, "--data.folds=2", "--data.fold=1", "--trainer.max_epochs=2")
    alone, together = RUN.with_name("version_1") / "checkpoints/best.ckpt", RUN / "fold_1/checkpoints/best.ckpt"
    assert equal(weights(alone), weights(together))

    expected: dict[int, dict[str, str]] = {}
    for fold in range(2):
        kindling("predict", f"--ckpt_path=version_0/fold_{fold}", "--data.predict_path=table.csv")
        by_hand = rows(RUN / f"fold_{fold}/predictions.csv")
        expected |= {n: by_hand[n] for n in split(target="kind", folds=2, fold=fold)[1]}
    predicted = rows(RUN / "predictions.csv")
    assert list(predicted[0]) == [*list(table)[:-1], "fold (data)", "fold", "prediction", "p(x)", "p(y)", "p(z)"]
    for row, n in zip(predicted, sorted(expected), strict=True):
        assert (row["a"], row["prediction"]) == (expected[n]["a"], expected[n]["prediction"])
        assert float(row["p(x)"]) == pytest.approx(float(expected[n]["p(x)"]), abs=1e-6)  # of another batch


def ending_at(call: int, function: Callable[..., Any], number: int) -> Callable[..., Any]:
    """Sends this process a signal when it is called for that time."""
    calls = itertools.count(1)

    @wraps(function)  # Lightning looks at a step's arguments
    def counted(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            os.kill(os.getpid(), number)
        return function(*args, **kwargs)

    return counted


def kill_at(call: int, owner: Any, name: str) -> None:
    setattr(owner, name, ending_at(call, getattr(owner, name), signal.SIGKILL))


@pytest.mark.slow
def test_whatever_ends_it_the_folds_go_on(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = (*FIT, "--data.folds=2", "--trainer.max_epochs=2", "--data.batch_size=8")
    kindling(*fit)
    broken = RUN.with_name("version_1")
    killed = processes.start(*fit, first=partial(kill_at, 2, BestAndLast, "on_train_start"))
    assert processes.finish(killed) == [-signal.SIGKILL]
    assert not list(broken.glob("fold_1/checkpoints/*"))
    with monkeypatch.context() as patch:
        patch.setattr(SimpleNet, "training_step", ending_at(4, SimpleNet.training_step, signal.SIGTERM))
        kindling("fit", "--ckpt_path=last", code=143)
    assert "Fold 0, of 0 to 1, has ended: lightning_logs/version_1/fold_0\nFold 1, of 0 to 1\n" in kindling.out
    assert "Interrupted: python scripts/main.py fit --ckpt_path last  resumes after step 4 of fold_1\n" in kindling.out
    next_second()
    killed = processes.start(
        "fit", "--ckpt_path=version_1", first=partial(kill_at, 2, PredictionWriter, "on_predict_start")
    )
    assert processes.finish(killed) == [-signal.SIGKILL]
    assert f"Resuming from {broken}/fold_1/checkpoints/last.ckpt" in Path("output.txt").read_text()
    assert (broken / "unfinished").is_file()
    out = kindling("fit", "--ckpt_path=last")
    assert out.count("has ended") == 2
    names = {file.name for file in RUN.iterdir()}
    assert {file.name for file in broken.iterdir()} == names
    for fold in ("fold_0", "fold_1"):
        assert_same(broken / fold, RUN / fold)
    for name in ("folds.csv", "predictions.csv", "best.txt"):
        assert (broken / name).read_text() == (RUN / name).read_text()
    out = kindling("fit", "--ckpt_path=version_1", "--trainer.max_epochs=3")
    assert out.count("Resuming from") == 2
    assert not (broken / "unfinished").exists()


@pytest.mark.slow
def test_folds_of_images(kindling: Kindling) -> None:
    photos(12, 9)
    options = ("--data=ImageFolder", "--data.root=photos", "--data.folds=3", "--trainer.max_epochs=1")
    kindling("fit", "--model=Net", *options, "--trainer.default_root_dir=logs")
    together = Path("logs") / RUN
    predicted = rows(together / "predictions.csv")
    val = [path for fold in range(3) for path in images(folds=3, fold=fold)[1]]
    assert [row["image"] for row in predicted] == [f"photos/{path}" for path in sorted(val)]
    for fold in range(3):
        found = [row for row in predicted if row["fold"] == str(fold)]
        right = sum(row["label"] == row["prediction"] for row in found) / len(found)
        assert float(rows(together / "folds.csv")[fold]["val/acc"]) == pytest.approx(right, abs=1e-6)


@pytest.mark.slow
def test_a_run_from_before_there_were_folds_resumes_within_an_epoch(
    kindling: Kindling, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = (*FIT, "--trainer.max_epochs=2", "--data.batch_size=8", "--checkpoint_every=1")
    kindling(*fit)
    with monkeypatch.context() as patch:
        patch.setattr(SimpleNet, "training_step", ending_at(3, SimpleNet.training_step, signal.SIGTERM))
        kindling(*fit, code=143)
    last = RUN.with_name("version_1") / "checkpoints/last.ckpt"
    content = torch.load(last, weights_only=True)
    for options in (content["config"]["data"]["init_args"], content["TabularCSV"]["options"]):
        del options["folds"], options["fold"]
    torch.save(content, last)
    out = kindling("fit", "--ckpt_path=last")
    assert "--data" not in out
    assert equal(weights(last), weights(RUN / "checkpoints/last.ckpt"))
