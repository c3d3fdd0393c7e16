"""Several columns of a table to predict: numbers, or tags of which a row can have any."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import RUN, Kindling, rows

from kindling.data import TabularCSV
from kindling.data.split import rarest_tag, split_rows
from kindling.errors import DataError, UsageError

NUMBERS, TAGS = ["price", "rooms"], ["cheap", "large", "old"]


@pytest.fixture
def table() -> pd.DataFrame:
    """Two features, from which two numbers and three tags follow."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"area": random.normal(100, 20, 120).round(2), "age": random.integers(1, 99, 120)})
    frame["price"] = (1000 * frame["area"] - 10 * frame["age"]).round()
    frame["rooms"] = frame["area"] / 20
    tags = {"cheap": frame["price"] < 90_000, "large": frame["area"] > 110, "old": frame["age"] > 50}
    frame = frame.assign(**{name: tag.astype(int) for name, tag in tags.items()})
    frame.to_csv("table.csv", index=False)
    return frame


def made(target: list[str], **options: Any) -> TabularCSV:
    data = TabularCSV("table.csv", target, **{"features": ["area", "age"], **options})
    for stage in ("fit", "test"):
        data.setup(stage)
    return data


def test_several_numbers(table: pd.DataFrame) -> None:
    data = made(NUMBERS)
    assert data.title == "table.csv (price, rooms: 2 numbers)"
    facts, training = data.facts, table[NUMBERS].iloc[data.train_set.rows]
    assert (facts.kind, facts.targets, facts.class_names, facts.in_features) == (
        "regression",
        ("price", "rooms"),
        (),
        2,
    )
    assert facts.target_mean == pytest.approx(tuple(training.mean()))
    assert facts.target_std == pytest.approx(tuple(training.std(ddof=0)))
    assert facts.target_min == tuple(training.min())
    for part in (data.train_set, data.val_set, data.test_set):
        y = part.tensors[1]
        assert y.dtype == torch.float32
        assert y.tolist() == table[NUMBERS].iloc[part.rows].to_numpy(np.float32).tolist()


def test_one_target_in_a_list_is_one_target(table: pd.DataFrame) -> None:
    one, listed = TabularCSV("table.csv", "price"), TabularCSV("table.csv", ["price"])
    assert one.facts == listed.facts
    assert one.facts.targets == ()
    assert one.state_dict() == listed.state_dict()


@pytest.mark.parametrize("form", [(0, 1), (False, True), ("false", "true"), ("no", "yes"), ("No", "Yes"), (0.0, 1.0)])
def test_tags_in_any_form(table: pd.DataFrame, form: tuple[object, object]) -> None:
    table.assign(**{name: table[name].map(dict(enumerate(form))) for name in TAGS}).to_csv("table.csv", index=False)
    data = made(TAGS)
    assert data.title == "table.csv (3 tags)"
    assert (data.facts.kind, data.facts.class_names, data.facts.targets) == ("multilabel", tuple(TAGS), ())
    for part in (data.train_set, data.val_set, data.test_set):
        y = part.tensors[1]
        assert y.dtype == torch.int64
        assert y.tolist() == table[TAGS].iloc[part.rows].to_numpy().tolist()


@pytest.mark.parametrize(
    ("target", "task", "kind"),
    [
        (TAGS, "auto", "multilabel"),
        (TAGS, "classification", "multilabel"),
        (TAGS, "regression", "regression"),
        (["price", "old"], "auto", "regression"),  # 0 and 1 among numbers are numbers
        (["old", "word"], "auto", "word is no tag and word no number"),
        (["old", "price", "yes"], "auto", "price is no tag and yes no number"),
        (["old", "price"], "classification", "price is no tag: change --data.target or --data.task"),
        (["old", "word"], "auto", "several targets must be all numbers, or all tags (0 and 1, false and true"),
        (["price", "yes"], "regression", "line 2: 'no' in column yes is not a number"),
        (["old", "same"], "auto", "same is 5.0 in all usable rows, so nothing can be learned"),
        (["old", "old"], "auto", "--data.target old: that is the target, or named twice"),
        (["old", "Prise"], "auto", "has no column Prise, did you mean price?"),
        (["area", "price"], "auto", "--data.features area: that is the target"),
    ],
)
def test_what_several_targets_are(table: pd.DataFrame, target: list[str], task: Any, kind: str) -> None:
    words, yes = [f"{'uvw'[n % 3]}" for n in range(120)], ["no", "yes"] * 60
    table.assign(word=words, yes=yes, same=5).to_csv("table.csv", index=False)
    try:
        found = made(target, task=task).facts.kind
    except (DataError, UsageError) as error:
        assert kind in str(error)  # noqa: PT017
    else:
        assert found == kind


@pytest.mark.parametrize("target", [NUMBERS, TAGS])
def test_the_state_is_enough_for_other_rows(
    table: pd.DataFrame, target: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    state = made(target).state_dict()
    torch.save(state, "state.ckpt")
    later = table.iloc[::-1].reset_index(drop=True).astype(object)
    later.loc[:9, target[1]] = None
    later.to_csv("later.csv", index=False)
    table[["age", "area"]].to_csv("new.csv", index=False)
    Path("table.csv").unlink()
    options: dict[str, Any] = {"features": ["area", "age"], "test_path": "later.csv", "predict_path": "new.csv"}
    data = TabularCSV("table.csv", target, **options)
    data.load_state_dict(torch.load("state.ckpt", weights_only=True))
    for stage in ("test", "predict"):
        data.setup(stage)
    assert data.state_dict() == state
    assert data.test_set.rows.tolist() == list(range(10, 120))
    assert f"no {' or '.join(target)}: 10 of 120" in capsys.readouterr().out
    expected = table[target].iloc[::-1].to_numpy()[10:]
    np.testing.assert_array_equal(data.test_set.tensors[1], expected.astype(np.float32))
    assert len(data.predict_set.tensors) == 1
    with pytest.raises(UsageError, match="trained with"):
        TabularCSV("table.csv", [*reversed(target)], features=["area", "age"]).load_state_dict(state)


def test_a_cell_that_is_no_tag(table: pd.DataFrame) -> None:
    table.head(3).assign(old=["0", "maybe", "1"]).to_csv("later.csv", index=False)
    with pytest.raises(DataError, match=r"^later.csv, line 3: old is maybe, no tag: leave that row out$"):
        made(TAGS, test_path="later.csv")


@pytest.mark.parametrize("seed", range(20))
def test_every_tag_has_a_training_row(seed: int) -> None:
    random = np.random.default_rng(seed)
    tags = (random.random((60, 6)) < [0.5, 0.5, 0.2, 0.05, 0.02, 0.02]).astype(np.int64)
    tags[random.integers(60), 3:] = 1  # rare tags on one row
    tags[:, 1] |= tags[:, 2]  # a tag that is always beside a rarer one
    train, val, test = split_rows(rarest_tag(tags), (0.4, 0.3, 0.3), seed, "")
    assert tags[train].any(axis=0).all()
    assert sorted([*train, *val, *test]) == list(range(60))
    assert abs(len(test) - 18) <= 1


def test_classes_and_tags_without_a_test_row_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = pd.DataFrame({"x": range(100), "kind": ["a", "b"] * 49 + ["lone", "rare"]})
    kinds.to_csv("kinds.csv", index=False)
    TabularCSV("kinds.csv", "kind").setup("fit")
    said = "are trained on but never tested, as no test row has them, e.g."
    assert capsys.readouterr().out == f"kinds.csv: 2 of 4 classes {said} lone\n"
    kinds.head(98).to_csv("later.csv", index=False)
    TabularCSV("kinds.csv", "kind", test_path="later.csv").setup("fit")
    TabularCSV("later.csv", "kind").setup("fit")
    assert capsys.readouterr().out == ""
    tags = pd.DataFrame({"x": range(100), "often": [0, 1] * 50, "once": [0] * 99 + [1]})
    tags.to_csv("tags.csv", index=False)
    TabularCSV("tags.csv", ["often", "once"]).setup("fit")
    assert capsys.readouterr().out == f"tags.csv: 1 of 2 tags {said} once\n"


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_rows_are_described_in_the_order_asked_for(table: pd.DataFrame, form: str) -> None:
    if form == "parquet":
        table.to_parquet("table.parquet", row_group_size=7)
    data = TabularCSV(f"table.{form}", NUMBERS)
    data.setup("fit")
    order = [5, 0, 17, 5, 3]
    described = data.describe(data.train_set, order)
    assert [float(str(n)) for n in described["price"]] == data.train_set.tensors[1][order, 0].tolist()


def fit(target: list[str]) -> tuple[str, ...]:
    table = ("--data=TabularCSV", "--data.path=table.csv", f"--data.target=[{', '.join(target)}]")
    return "fit", "--model=SimpleNet", *table, "--data.features=[area, age]"


@pytest.mark.slow
@pytest.mark.parametrize("target", [NUMBERS, TAGS])
@pytest.mark.usefixtures("table")
def test_fit_test_predict_and_resume(kindling: Kindling, target: list[str]) -> None:
    out = kindling(*fit(target), "--trainer.max_epochs=12", "--test_after_fit=true")
    assert ("table.csv (3 tags)" if target is TAGS else "table.csv (price, rooms: 2 numbers)") in out
    assert kindling.err == ""
    kindling(*fit(target), "--trainer.max_epochs=3")
    kindling("fit", "--ckpt_path=version_1", "--trainer.max_epochs=12")
    unbroken, resumed = (rows(RUN.with_name(name) / "metrics.csv") for name in ("version_0", "version_1"))
    for a, b in zip(unbroken, resumed, strict=True):
        assert {k: v for k, v in a.items() if "/" in k} == {k: v for k, v in b.items() if "/" in k}
    assert float(unbroken[-1]["val/loss"]) < float(unbroken[0]["val/loss"])
    kindling("test", f"--ckpt_path={RUN}")
    assert kindling.err == ""
    Path("new.csv").write_text("age,area,id\n10,130,a\n95,60,b\n")
    kindling("predict", f"--ckpt_path={RUN}", "--data.predict_path=new.csv")
    predictions = rows(RUN / "predictions.csv")
    assert [row["id"] for row in predictions] == ["a", "b"]
    assert len(predictions[0]) > 3 + len(target) - 1
    for name in target:
        high, low = (float(next(v for k, v in row.items() if name in k and k != "prediction")) for row in predictions)
        assert (high > low) == (name in ("price", "rooms", "large"))
