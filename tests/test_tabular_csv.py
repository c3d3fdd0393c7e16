import gzip
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from torch import Tensor

from kindling.data import TabularCSV
from kindling.data.split import split_groups, split_rows
from kindling.data.table.learned import TableRows
from kindling.errors import DataError, KindlingError, UsageError

HOUSES = ROOT / "examples/houses.csv"


def write(text: str, name: str = "table.csv") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def wide(text: str) -> str:
    """In letters as wide as a Chinese one, as Chinese keyboards write them."""
    return "".join({" ": "\u3000", "¥": "\uffe5"}.get(letter, chr(ord(letter) + 0xFEE0)) for letter in text)


def frame(rows: int = 100) -> pd.DataFrame:
    """Numbers and texts with gaps, a code, and three kinds of target."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "area": random.normal(100, 20, rows).round(2),
            "面积": random.integers(1, 9, rows).astype(float),
            "alley": random.choice(["Pave", "Grvl"], rows).astype(object),
            "zone": random.choice([10, 20, 30], rows),
            "price": random.normal(2e5, 3e4, rows).round(),
            "sold": random.choice([True, False], rows),
            "kind": random.choice(["猫", "dog", "ζῷον"], rows, p=[0.6, 0.3, 0.1]),
        }
    )
    table.loc[::7, "面积"] = np.nan
    table.loc[::5, "alley"] = None
    return table


def made(data: TabularCSV, *stages: str) -> TabularCSV:
    for stage in stages or ("fit", "test"):
        data.setup(stage)
    return data


def sets(data: TabularCSV) -> list[TableRows]:
    return [data.train_set, data.val_set, data.test_set]


def reloaded(data: TabularCSV, **options: Any) -> TabularCSV:
    """As a command does with a checkpoint: made again from the same options, then given the state."""
    torch.save(data.state_dict(), "state.ckpt")
    again = TabularCSV(**{**data.hparams, **options})
    again.load_state_dict(torch.load("state.ckpt", weights_only=True))
    return again


def by_pandas(table: pd.DataFrame, train: np.ndarray, numeric: list[str], texts: list[str], gaps: str) -> np.ndarray:
    """The tutorial's steps by hand, with statistics of some rows."""
    numbers = table[numeric]
    mean, std = numbers.iloc[train].mean(), numbers.iloc[train].std(ddof=0)
    fill = numbers.iloc[train].median() if gaps == "median" else mean
    hot = [pd.get_dummies(table[c], dummy_na=True, dtype=float).to_numpy() for c in texts]
    return np.hstack([((numbers.fillna(fill) - mean) / std).to_numpy(), *hot])


def test_the_tutorials_houses_are_what_pandas_makes_of_them_by_hand() -> None:
    data = made(TabularCSV(str(HOUSES), "Price"))
    table = pd.read_csv(HOUSES)
    assert sorted(n for s in sets(data) for n in s.rows) == [0, 1, 2, 3]
    expected = by_pandas(table.assign(NumRooms=table.NumRooms), data.train_set.rows, ["NumRooms"], ["Alley"], "mean")
    # one present value in the training rows has no deviation, and is divided by 1
    expected[:, 0] = table.NumRooms.fillna(4.0) - 4.0
    for part in sets(data):
        x, y = part.tensors
        assert data.normalize(x).tolist() == expected[part.rows].tolist()
        assert y.dtype == torch.float32
        assert y.tolist() == table.Price.iloc[part.rows].tolist()
    facts = data.facts
    assert (facts.in_features, facts.feature_names, facts.kind) == (3, ("NumRooms", "Alley"), "regression")
    prices = table.Price.iloc[data.train_set.rows]
    assert (facts.target, facts.target_mean, facts.target_min) == ("Price", prices.mean(), prices.min())
    assert facts.target_std == prices.std(ddof=0)


@pytest.mark.parametrize("gaps", ["mean", "median"])
def test_what_the_network_sees_is_what_pandas_makes(gaps: Any) -> None:
    table = frame()
    table.to_csv("table.csv", index=False)
    numeric, texts = ["area", "面积"], ["alley", "zone", "sold"]
    data = made(TabularCSV("table.csv", "price", ignore="kind", categorical="zone", gaps=gaps))
    expected = by_pandas(table, data.train_set.rows, numeric, texts, gaps)
    for part in sets(data):
        seen = data.normalize(part.tensors[0])
        assert seen.dtype == torch.float32
        assert seen.shape == (len(part), data.facts.in_features)
        np.testing.assert_allclose(seen, expected[part.rows], rtol=1e-5, atol=1e-5)
    z = data.normalize(data.train_set.tensors[0])[:, 0].double()
    assert [z.mean().item(), z.std(correction=0).item()] == pytest.approx([0, 1], abs=1e-5)


def test_statistics_come_from_the_training_rows_alone() -> None:
    table = frame()
    table.to_csv("table.csv", index=False)
    data = made(TabularCSV("table.csv", "price"))
    others = np.concatenate([data.val_set.rows, data.test_set.rows])
    table.loc[others, ["area", "面积"]] *= 1000
    table.loc[others, "price"] *= 1000
    table.loc[others, "alley"] = "unheard of"
    table.to_csv("table.csv", index=False)
    changed = made(TabularCSV("table.csv", "price"))
    assert {**changed.state_dict(), "sha256": ""} == {**data.state_dict(), "sha256": ""}
    column = changed.facts.feature_names.index("alley")
    assert changed.val_set.tensors[0][:, column].unique().tolist() == [-1]


@pytest.mark.parametrize("form", ["csv.gz", "tsv", "tsv.gz", "parquet", "semicolons", "bom", "crlf"])
def test_every_form_of_the_file_gives_the_same_tensors(form: str) -> None:
    table = frame()
    table.to_csv("table.csv", index=False)
    name = {"semicolons": "other.csv", "bom": "other.csv", "crlf": "OTHER.CSV"}.get(form, f"other.{form}")
    if form == "parquet":
        table.to_parquet(name)
    else:
        text = table.to_csv(index=False, sep={"semicolons": ";", "tsv": "\t", "tsv.gz": "\t"}.get(form, ","))
        text = text.replace("\n", "\r\n") if form == "crlf" else text
        content = text.encode("utf-8-sig" if form == "bom" else "utf-8")
        Path(name).write_bytes(gzip.compress(content) if form.endswith(".gz") else content)
    for target in ("price", "kind", "sold"):
        expected, data = (made(TabularCSV(path, target, categorical=["zone"])) for path in ("table.csv", name))
        assert data.facts == expected.facts
        for part, same in zip(sets(data), sets(expected), strict=True):
            for a, b in zip(part.tensors, same.tensors, strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def test_rows_to_predict_have_columns_in_any_order_new_categories_and_new_gaps() -> None:
    table = frame()
    table.to_csv("table.csv", index=False)
    few = table.loc[:2, ["zone", "alley", "面积", "area", "sold"]].astype({"zone": object, "area": object})
    few.loc[0, "alley"], few.loc[0, "zone"] = "Mud", 10.0  # pandas writes 10.0 where a column has gaps
    few.loc[1, ["area", "zone"]] = None
    few.assign(note="?").to_csv("few.csv", index=False)
    data = TabularCSV("table.csv", "price", ignore="kind", categorical="zone", predict_path="few.csv")
    data = made(data, "fit", "predict")
    (x,) = data.predict_set.tensors
    seen = dict(zip(data.facts.feature_names, x.T.tolist(), strict=True))
    assert list(seen) == ["area", "面积", "alley", "zone", "sold"]
    assert seen["alley"][0] == -1
    assert seen["zone"][:2] == [0, 3]
    z = data.normalize(x)
    assert z.isfinite().all()
    assert z[1, 0] == 0  # the mean
    assert z[0, 2:5].tolist() == [0, 0, 0]  # neither Grvl nor Pave nor a gap
    assert torch.equal(data.encode(pd.read_csv("few.csv")).nan_to_num(9), x.nan_to_num(9))
    assert torch.equal(data.encode(few).nan_to_num(9), x.nan_to_num(9))


@pytest.mark.parametrize("seed", range(4))
def test_the_split_is_disjoint_exact_and_stratified(seed: int) -> None:
    classes = np.random.default_rng(seed).choice(5, 400, p=[0.5, 0.3, 0.1, 0.08, 0.02]).astype(float)
    shares = (0.7, 0.15, 0.15)
    parts = split_rows(classes, shares, seed, "")
    assert [len(p) for p in parts] == [280, 60, 60]
    assert sorted(np.concatenate(parts)) == list(range(400))
    for part, share in zip(parts, shares, strict=True):
        assert (np.diff(part) > 0).all()
        for c in range(5):
            assert abs((classes[part] == c).sum() - share * (classes == c).sum()) < 2
    again, other = split_rows(classes, shares, seed, ""), split_rows(classes, shares, seed + 1, "")
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    assert not np.array_equal(parts[0], other[0])


def test_small_splits_leave_no_set_empty_and_no_class_untrained() -> None:
    for count in range(3, 40):
        for kinds in range(1, count - 1):
            classes = np.arange(count, dtype=float) % kinds
            train, val, test = split_rows(classes, (0.4, 0.3, 0.3), 0, "")
            assert len(val) > 0 < len(test)
            assert set(classes[train]) == set(classes)
            assert len(train) + len(val) + len(test) == count


def test_whole_groups_are_split_as_near_to_the_shares_as_they_allow() -> None:
    random, shares = np.random.default_rng(0), (0.7, 0.15, 0.15)
    table = frame(600).assign(patient=random.choice([f"P{n}" for n in range(90)], 600, p=random.dirichlet([1] * 90)))
    table.assign(patient=table["patient"] + random.choice(["", " "], 600)).to_csv("table.csv", index=False)
    splits = [
        [part.rows for part in sets(made(TabularCSV("table.csv", "kind", group="patient", seed=s)))] for s in (0, 1)
    ]
    assert splits[0][2].tolist() != splits[1][2].tolist()
    for parts in splits:
        assert sorted(np.concatenate(parts)) == list(range(600))
        assert [len(part) for part in parts] == pytest.approx([420, 90, 90], abs=3)
        patients = [set(table["patient"].iloc[part]) for part in parts]
        assert len(set.union(*patients)) == sum(map(len, patients))
        for part, share in zip(parts, shares, strict=True):
            counts = table["kind"].iloc[part].value_counts() - share * table["kind"].value_counts()
            assert counts.abs().max() <= 5


def test_few_groups_leave_no_set_empty_and_no_class_untrained() -> None:
    for count in range(3, 30):
        groups = np.arange(3 * count) % count
        for classes in (groups * 0, np.arange(3 * count) % 5 % 2, np.maximum(groups - (count + 1) // 2, 0)):
            parts = split_groups(groups, classes, (0.8, 0.1, 0.1), 0, "")
            assert all(len(part) for part in parts)
            assert {*classes[parts[0]]} == {*classes}
            assert sum(len(np.unique(groups[part])) for part in parts) == count


def test_groups_are_kept_in_the_checkpoint_and_an_older_one_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    table = frame().assign(patient=[f"P{n % 17}" for n in range(100)])
    table.to_csv("table.csv", index=False)
    data = made(TabularCSV("table.csv", "price", group="patient"))
    assert "patient" not in data.facts.feature_names
    again = made(reloaded(data))
    assert [part.rows.tolist() for part in sets(again)] == [part.rows.tolist() for part in sets(data)]
    known, new = data.val_set.rows[:1], data.test_set.rows
    table.iloc[[*known, *new]].to_csv("few.csv", index=False)
    made(reloaded(data, test_path="few.csv"), "test")
    counts = f"1 of {1 + table['patient'].iloc[new].nunique()} (1 of {1 + len(new)} rows)"
    says = f"few.csv: groups of patient that are also among the training or validation rows: {counts}\n"
    assert capsys.readouterr().out == says
    old = made(TabularCSV("table.csv", "price"))
    state = old.state_dict()
    del state["options"]["group"]
    again = TabularCSV("table.csv", "price")
    again.load_state_dict(state)
    made(again).load_state_dict(state)  # as Lightning does once more, after setup
    assert [part.rows.tolist() for part in sets(again)] == [part.rows.tolist() for part in sets(old)]


def test_with_a_table_of_test_rows_the_others_are_for_training_and_validation() -> None:
    frame().to_csv("table.csv", index=False)
    frame().head(9).drop(columns="sold").assign(kind=["dog", "", "猫"] * 3).to_csv("test.csv", index=False)
    data = made(TabularCSV("table.csv", "kind", ignore="sold", split=(0.6, 0.2, 0.2), test_path="test.csv"))
    assert [len(s) for s in sets(data)] == [75, 25, 6]
    assert data.facts.class_names == ("dog", "ζῷον", "猫")
    assert data.test_set.tensors[1].tolist() == [0, 2] * 3
    assert data.test_set.rows.tolist() == [0, 2, 3, 5, 6, 8]


def test_a_split_without_test_rows() -> None:
    frame().to_csv("table.csv", index=False)
    assert TabularCSV("table.csv", "price").predict_needs == ""
    data = made(TabularCSV("table.csv", "price", split=(0.8, 0.2, 0.0)), "fit")
    assert data.predict_needs == "--data.predict_path FILE"
    assert (len(data.train_set), len(data.val_set)) == (80, 20)
    for stage in ("test", "predict"):
        with pytest.raises(DataError, match=f"no test rows: name some with --data.{stage}_path"):
            data.setup(stage)


@pytest.mark.parametrize(
    ("values", "task", "names"),
    [
        (["yes", "no"], "auto", ("no", "yes")),
        (["True", "False"], "auto", ("False", "True")),
        (["true", "false"], "auto", ("False", "True")),
        (["true", "false", "maybe"], "auto", ("False", "True", "maybe")),
        ([3, 20, 100], "auto", ("3", "20", "100")),
        (["3.0", "20", "100"], "auto", ("3", "20", "100")),
        ([0.5, 1.5], "auto", ()),
        (range(12), "auto", ()),
        (range(12), "classification", tuple(str(n) for n in range(12))),
        ([1.5, 0.5], "classification", ("0.5", "1.5")),
        ([12345678, 12345679], "classification", ("12345678", "12345679")),
        ([0, 1], "regression", ()),
        (["007", "B"], "auto", ("7", "B")),
    ],
)
def test_the_target_is_a_class_or_a_number(values: Any, task: Any, names: tuple[str, ...]) -> None:
    pd.DataFrame({"x": range(48), "y": (list(values) * 48)[:48]}).to_csv("table.csv", index=False)
    data = made(TabularCSV("table.csv", "y", task=task))
    assert data.facts.class_names == names
    assert data.facts.kind == {0: "regression", 2: "binary"}.get(len(names), "multiclass")
    for part in sets(data):
        y = part.tensors[1]
        assert y.dtype == (torch.int64 if names else torch.float32)
        expected = [(list(values) * 48)[n] for n in part.rows]
        if names:
            assert [names[n] for n in y] == [data_label(v) for v in expected]
        else:
            assert y.tolist() == expected


def data_label(value: object) -> str:
    return {"3.0": "3", "007": "7", "true": "True", "false": "False"}.get(str(value), str(value))


def test_rows_without_a_target_or_with_a_gap_are_left_out_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    table = frame()
    table.loc[:9, "price"] = np.nan
    table.to_csv("table.csv", index=False)
    table.to_csv("few.csv", index=False)
    whole = [n for n in range(10, 100) if n % 7]
    options: dict[str, Any] = {"gaps": "drop", "test_path": "few.csv", "predict_path": "few.csv"}
    data = made(TabularCSV("table.csv", "price", ignore="kind", **options), "fit", "test", "predict")
    assert sorted([*data.train_set.rows, *data.val_set.rows]) == whole
    assert data.test_set.rows.tolist() == whole
    assert len(data.predict_set) == 100
    assert data.normalize(data.predict_set.tensors[0]).isfinite().all()
    expected = [
        f"{file}: rows left out as they have {what} of 100"
        for file in ("table.csv", "few.csv")
        for what in ("no price: 10", f"a gap: {90 - len(whole)}")
    ]
    assert capsys.readouterr().out.splitlines() == expected


def test_all_that_a_checkpoint_keeps_is_enough_without_the_training_file() -> None:
    frame().to_csv("table.csv", index=False)
    frame().head(20).to_csv("few.csv", index=False)
    data = made(TabularCSV("table.csv", "kind", categorical="zone", predict_path="few.csv", test_path="few.csv"))
    data.setup("predict")
    again = reloaded(data)
    Path("table.csv").unlink()
    assert again.facts == data.facts
    assert again.state_dict() == data.state_dict()
    made(again, "test", "predict")
    for part, same in ((again.test_set, data.test_set), (again.predict_set, data.predict_set)):
        assert torch.equal(again.normalize(part.tensors[0]), data.normalize(same.tensors[0]))
    again.load_state_dict(data.state_dict())  # as Lightning does once more, after setup
    assert torch.equal(again.test_set.tensors[1], data.test_set.tensors[1])


def test_a_loaded_state_splits_the_same_file_the_same_way_wherever_it_lies() -> None:
    frame().to_csv("table.csv", index=False)
    data = made(TabularCSV("table.csv", "price"))
    Path("table.csv").rename("moved.csv")
    again = made(reloaded(data, path="moved.csv"))
    for part, same in zip(sets(again), sets(data), strict=True):
        assert part.rows.tolist() == same.rows.tolist()
        assert torch.equal(part.tensors[1], same.tensors[1])


@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict"])
def test_another_file_than_the_one_trained_on_is_refused(stage: str) -> None:
    frame().to_csv("table.csv", index=False)
    again = reloaded(made(TabularCSV("table.csv", "price")))
    frame(101).to_csv("table.csv", index=False)
    with pytest.raises(DataError, match=r"^table.csv is not the file that the training saw, .*, or train anew$"):
        again.setup(stage)


def test_numbers_below_many_gaps_are_numbers_to_a_loaded_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kindling.data.table.file.HEAD", 5)
    table = frame()
    table.loc[:9, "area"] = np.nan
    table.to_csv("table.csv", index=False)
    data = made(TabularCSV("table.csv", "price", gaps="drop"))
    again = made(reloaded(data))
    assert min(data.train_set.rows) > 9
    for part, same in zip(sets(again), sets(data), strict=True):
        assert part.rows.tolist() == same.rows.tolist()
        assert torch.equal(part.tensors[0], same.tensors[0])


def test_a_state_that_comes_after_another_file_was_read_is_refused() -> None:
    frame().to_csv("table.csv", index=False)
    state = TabularCSV("table.csv", "price").state_dict()
    frame(101).to_csv("table.csv", index=False)
    data = made(TabularCSV("table.csv", "price"))
    with pytest.raises(DataError, match="is not what the checkpoint was trained on"):
        data.load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "kind"}, "--data.target ['kind']: the checkpoint was trained with ['price']"),
        ({"seed": 1}, "--data.seed 1: the checkpoint was trained with 0: leave that option out, or train anew"),
        ({"split": (0.5, 0.25, 0.25)}, "--data.split [0.5, 0.25, 0.25]: the checkpoint was trained with [0.7, 0.15"),
        ({"ignore": "zone"}, "--data.ignore ['zone']: the checkpoint was trained with []"),
        ({"features": "zone"}, "--data.features ['zone']: the checkpoint was trained with []"),
        ({"group": "zone"}, "--data.group ['zone']: the checkpoint was trained with []"),
        ({"gaps": "median"}, "--data.gaps median: the checkpoint was trained with mean: leave that option out"),
    ],
)
def test_an_option_that_contradicts_the_checkpoint(options: dict[str, Any], message: str) -> None:
    frame().to_csv("table.csv", index=False)
    data = TabularCSV("table.csv", "price")
    with pytest.raises(UsageError, match=re.escape(message)):
        reloaded(data, **options)


TABLE = "a,b,y\n" + "".join(f"{n},{'uvw'[n % 3]},{n / 7}\n" for n in range(30))
CLASSES = "a,y\n" + "".join(f"{n},{'uv'[n % 2]}\n" for n in range(30))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, {}, "--data.path table.csv does not exist: name the file of a table"),
        (None, {"path": "."}, "--data.path . is not a file: name the file of a table"),
        (
            TABLE,
            {"path": "table.xlsx"},
            "--data.path table.xlsx: save the table as one of .csv, .csv.gz, .tsv, .tsv.gz",
        ),
        ("", {}, "table.csv is empty: the first line of a table names its columns"),
        ("\n\n", {}, "table.csv is empty"),
        ("a,b,y\n", {}, "table.csv has column names but no rows"),
        (TABLE + "1,u\n", {}, "table.csv, line 32: the number of cells is 2, but that of columns 3: mend that line"),
        ('a,y\n"1\n2",3\n1,2,3\n', {}, "table.csv, line 4: the number of cells is 3"),
        (TABLE + '1,"u,2\n', {}, "table.csv, line 32: unexpected end of data: see whether its quotes come in pairs"),
        (
            TABLE.encode() + "1,é,2\n".encode("latin-1"),
            {},
            "table.csv, line 32: not UTF-8 text: save the table as UTF-8, in Excel as CSV UTF-8",
        ),
        (TABLE.encode("utf-16"), {}, "table.csv, line 1: not UTF-8 text"),
        ("a,a,y\n1,2,3\n", {}, "table.csv has several columns called a: give each its own name"),
        (TABLE, {"target": "why"}, "--data.target: table.csv has no column why, but a, b, y"),
        (CLASSES.replace("y", "price"), {"target": "Prise"}, "has no column Prise, did you mean price?"),
        (TABLE, {"features": ["a", "c"]}, "--data.features: table.csv has no column c"),
        (TABLE, {"ignore": "c"}, "--data.ignore: table.csv has no column c"),
        (TABLE, {"categorical": "c"}, "--data.categorical: table.csv has no column c"),
        (TABLE, {"features": "y"}, "--data.features y: that is the target, or named twice"),
        (TABLE, {"ignore": ["a", "b"]}, "--data.features: no column of table.csv is left to predict y from"),
        (TABLE.replace(",u,", ",,").replace(",v,", ",,").replace(",w,", ",NA,"), {}, "b has no value in the training"),
        (
            "a,y\n" + ",1\n" * 9 + "2,1.5\n",
            {"seed": 1},
            "table.csv: column a has no value in the training rows: leave it out",
        ),
        (
            TABLE + "?,u,1\n",
            {},
            "table.csv, line 32: '?' in column a is not a number: write it like 1234.5, without commas, ",
        ),
        (TABLE + "?,u,1\n", {}, ", or take the column for texts with --data.categorical a"),
        (
            TABLE + "1,u,?\n",
            {},
            "line 32: '?' in column y is not a number: write it like 1234.5, without commas, currency ",
        ),
        (TABLE + "1,u,?\n", {}, ", or take the column for texts with --data.task classification"),
        (CLASSES, {"task": "regression"}, "table.csv, line 2: 'u' in column y is not a number"),
        (TABLE + "1,u,inf\n", {}, "line 32: inf in column y is too large, beyond 1.8e+19: leave that cell empty"),
        (TABLE + "-1e60,u,1\n", {}, "table.csv, line 32: -1e+60 in column a is too large"),
        (
            "a,y\n" + "".join(f"id{n},{n % 2}\n" for n in range(60)),
            {},
            "table.csv: column a has 42 different values in 42 training rows, too many for categories: leave it out "
            "with --data.ignore a",
        ),
        ("a,y\n" + "".join(f"{n},id{n}\n" for n in range(60)), {}, "y has 60 different texts in 60 rows, too many"),
        ("a,y\n1,\n2,\n3,NA\n", {}, "table.csv: usable rows 0, but at least 3 are needed"),
        ("a,y\n1,5\n2,5\n3,5\n", {}, "table.csv: y is 5.0 in all usable rows, so nothing can be learned"),
        ("a,y\n1,u\n2,u\n3,u\n", {}, "table.csv: y is u in all usable rows"),
        ("a,y\n1,5\n2,6\n3,\n", {}, "table.csv: usable rows 2, but at least 3 are needed"),
        ("a,y\n1,u\n2,v\n3,w\n", {}, "table.csv: 3 rows of 3 classes are too few to train and to validate with"),
        (TABLE, {"gaps": "zero"}, "--data.gaps zero: one of mean, median, drop"),
        (TABLE, {"task": "ranking"}, "--data.task ranking: one of auto, classification, regression"),
        (TABLE, {"split": (0.7, 0.2, 0.2)}, "--data.split [0.7, 0.2, 0.2]: three shares that add up to 1"),
        (TABLE, {"split": (0.8, 0.0, 0.2)}, "only that of test can be 0"),
        (TABLE, {"seed": -1}, "--data.seed -1: a seed is at least 0"),
        (TABLE, {"target": []}, "--data.target: name a column to predict"),
        (TABLE, {"batch_size": 0}, "--data.batch_size 0: should be from 1 to 2,147,483,648"),
    ],
)
def test_what_is_wrong_with_the_training_table_is_said_in_one_line(
    content: str | bytes | None, options: dict[str, Any], message: str
) -> None:
    path = Path(options.get("path", "table.csv"))
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(KindlingError, match=re.escape(message)) as error:
        made(TabularCSV(**{"path": "table.csv", "target": "y", **options}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--data.{stage}_path other.csv does not exist"),
        ("a,y\n1,2\n", "other.csv has no column b, which the training table had: add it"),
        ("a,B,y\n1,2,3\n", "add it, did you mean B?"),
        ("a,b,y\n1,u,2\n\nx,u,2\n", "other.csv, line 4: 'x' in column a is not a number: write it like 1234.5"),
        ("a,b,y\n1,u,2\ninf,u,2\n", "other.csv, line 3: inf in column a is too large"),
    ],
)
@pytest.mark.parametrize("stage", ["test", "predict"])
def test_what_is_wrong_with_another_table(content: str | None, message: str, stage: str) -> None:
    write(TABLE)
    if content is not None:
        write(content, "other.csv")
    other: dict[str, Any] = {f"{stage}_path": "other.csv"}
    data = TabularCSV("table.csv", "y", **other)
    with pytest.raises(DataError, match=re.escape(message.format(stage=stage))):
        data.setup("fit" if stage == "test" else stage)  # before a training whose test would then fail


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\n1\n", "other.csv has no column y, which the training table had"),
        ("a,y\n1,u\n1,w\n", "other.csv, line 3: y is w, a class that the training rows don't have: leave that row out"),
        ("a,y\n1,\n", "other.csv has no row to test with"),
    ],
)
def test_what_is_wrong_with_the_targets_of_test_rows(content: str, message: str) -> None:
    write(CLASSES)
    write(content, "other.csv")
    with pytest.raises(DataError, match=re.escape(message)):
        TabularCSV("table.csv", "y", test_path="other.csv").setup("fit")


def test_a_text_far_down_among_numbers_is_found() -> None:
    lines = [f"{n},{n % 7}" for n in range(25_000)]
    lines[21_234] = "oops,1"
    write("a,y\n" + "\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"table.csv, line 21236: 'oops' in column a is not a number.*categorical a"):
        TabularCSV("table.csv", "y").setup("fit")


def test_numbers_that_are_nearly_alike_for_float32_stay_finite() -> None:
    write("tiny,alike,y\n" + "".join(f"{n}e-50,{1 + n * 1e-12},{n}e-45\n" for n in range(30)))
    data = made(TabularCSV("table.csv", "y"))
    for part in sets(data):
        assert data.normalize(part.tensors[0]).tolist() == [[0, 0]] * len(part)
    assert data.facts.target_std == 1


def test_a_number_beyond_all_those_of_the_training_is_refused_before_it_overflows() -> None:
    write("a,y\n" + "".join(f"{n}e-30,{n}\n" for n in range(30)))
    write("a\n1e-15\n1e4\n", "other.csv")
    data = TabularCSV("table.csv", "y", predict_path="other.csv")
    with pytest.raises(DataError, match=r"other\.csv, line 3: 10000 in column a is too large"):
        data.setup("predict")


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["12%", "5 %", "-1.5%"], {"a": [12, 5, -1.5]}),
        (["$1,200", "$950", "-$7.25"], {"a": [1200, 950, -7.25]}),
        (["12.500 €", "850 €", "1.234,56 €"], {"a": [12500, 850, 1234.56]}),
        (["1.234,56", "5,1", "7"], {"a": [1234.56, 5.1, 7]}),
        (["120 000 km", "5 km", "1\u00a0234,5 km"], {"a": [120000, 5, 1234.5]}),
        (
            ["31.12.1970", "01.02.1971", "3.2.1971"],
            {"a": [364, 396, 398], "a month": [12, 2, 2], "a weekday": [3, 0, 2]},
        ),
        (["01/02/1970", "01/03/1970", "01/04/1970"], {"a": [31, 59, 90], "a month": [2, 3, 4], "a weekday": [6, 6, 2]}),
        (["02/01/1970", "03/01/1970", "04/01/1970"], {"a": [31, 59, 90], "a month": [2, 3, 4], "a weekday": [6, 6, 2]}),
        (["1970-01-02 12:00", "1970-01-03T18:00:00Z", "1970-01-04"], {"a": [1.5, 2.75, 3], "a weekday": [4, 5, 6]}),
        (["May 1970", "Jun 1970", "May 1970"], {"a": [120, 151, 120], "a month": [5, 6, 5], "a weekday": [4, 0, 4]}),
        (
            ["1970年12月31日", "1971年2月1日", "1971年02月03日"],
            {"a": [364, 396, 398], "a month": [12, 2, 2], "a weekday": [3, 0, 2]},
        ),
        (["1970年5月", "1970年6月", "1970年5月"], {"a": [120, 151, 120], "a month": [5, 6, 5], "a weekday": [4, 0, 4]}),
        ([wide("1970-01-02 12:00"), wide("1970-01-03"), "1970-01-04"], {"a": [1.5, 2, 3], "a weekday": [4, 5, 6]}),
        ([wide("¥1,200"), "¥950", wide("-¥") + "7.25"], {"a": [1200, 950, -7.25]}),
        ([wide("12%"), "5" + wide("%"), "-1.5 %"], {"a": [12, 5, -1.5]}),
        ([wide("12"), wide("5.5"), "1,200"], {"a": [12, 5.5, 1200]}),
        (["89.5㎡", "47 ㎡", wide("118") + "㎡"], {"a": [89.5, 47, 118]}),
        (["120平方米", wide("1,200.5") + "平方米", "47平方米"], {"a": [120, 1200.5, 47]}),
        (["36.5℃", "-4℃", "0℃"], {"a": [36.5, -4, 0]}),
        (["1" + wide("km"), "2" + wide("km"), "3" + wide("km")], {"a": [1, 2, 3]}),
        (["1 owner", "2 owners", "3 owners"], None),
        (["1,200", "1.300", "7"], None),
        (["10-20", "20-30", "5+"], None),
    ],
)
def test_dates_and_numbers_as_people_write_them(cells: list[str], numbers: dict[str, list[float]] | None) -> None:
    table = pd.DataFrame({"a": ([*cells, None] * 30)[:100], "y": range(100)})
    table.to_csv("table.csv", index=False)
    if numbers is None and cells[0] == "1,200":
        with pytest.raises(DataError, match=r"'1,200' in column a is not a number.* --data\.ignore a$"):
            made(TabularCSV("table.csv", "y"))
        return
    data = made(TabularCSV("table.csv", "y"))
    if numbers is None:
        assert data.learned.forms == {}
        assert list(data.learned.categorical) == ["a"]
        return
    assert data.facts.feature_names == tuple(numbers)
    for part in sets(data):
        expected = np.array([[*values, np.nan] * 30 for values in numbers.values()], np.float32)[:, part.rows].T
        np.testing.assert_array_equal(part.tensors[0], expected)
    frame = pd.read_csv("table.csv")
    np.testing.assert_array_equal(data.encode(frame)[data.val_set.rows], data.val_set.tensors[0])
    state = reloaded(data)
    frame.drop(columns="y").iloc[::-1].to_csv("new.csv", index=False)
    again = made(reloaded(data, predict_path="new.csv"), "predict")
    np.testing.assert_array_equal(again.predict_set.tensors[0].flip(0), data.encode(frame))
    assert state.facts == data.facts
    Path("new.csv").write_text(f"a\n{chr(34)}{cells[0]}{chr(34)}\nsoon\n")
    with pytest.raises(DataError, match=r"^new\.csv, line 3: 'soon' in column a is not written like "):
        made(reloaded(data, predict_path="new.csv"), "predict")
    texts = made(TabularCSV("table.csv", "y", categorical="a"))
    assert list(texts.learned.categorical) == ["a"]


def test_categories_keep_their_wide_letters() -> None:
    cells = ["12%", wide("12%"), "½"]
    pd.DataFrame({"a": cells * 20, "y": range(60)}).to_csv("table.csv", index=False)
    data = made(TabularCSV("table.csv", "y", categorical="a"))
    assert data.learned.categorical == {"a": ["12%", "½", wide("12%")]}
    assert data.encode(pd.DataFrame({"a": cells})).flatten().tolist() == [0, 2, 1]


def test_a_wide_number_among_plain_ones_is_read_whether_training_had_one_or_not() -> None:
    frame = pd.DataFrame({"a": [*range(39), wide("39")], "y": [*map(str, range(59, 20, -1)), wide("20.5")]})
    frame.to_csv("table.csv", index=False)
    data = made(TabularCSV("table.csv", "y"))
    assert data.learned.forms == {name: [name, ".", ""] for name in "ay"}
    assert (data.facts.class_names, data.learned.statistics[0][2]) == ((), pytest.approx(20.5, abs=9))
    frame[:-1].to_csv("table.csv", index=False)
    data = made(TabularCSV("table.csv", "y"))
    assert data.learned.forms == {}
    assert data.encode(pd.DataFrame({"a": [wide("-39.5"), "3"]})).flatten().tolist() == [-39.5, 3]


def test_a_unit_may_have_wide_marks() -> None:
    unit = "元" + wide(",") + "含税"
    pd.DataFrame({"a": [f"{n}{unit}" for n in range(40)], "y": range(40)}).to_csv("table.csv", index=False)
    data = made(TabularCSV("table.csv", "y"))
    assert data.learned.forms == {"a": ["a", ".", unit]}
    assert data.encode(pd.DataFrame({"a": [f"7{unit}"]})).flatten().tolist() == [7]


def test_a_checkpoint_from_before_dates_were_read_as_such() -> None:
    frame().to_csv("table.csv", index=False)
    data = made(TabularCSV("table.csv", "price"))
    state = data.state_dict()
    del state["forms"]
    again = TabularCSV("table.csv", "price")
    again.load_state_dict(state)
    assert again.facts == data.facts


def test_separators_within_quoted_names_part_no_columns() -> None:
    write('"a, in m, or so";y\n' + "".join(f"{n};{n / 7}\n" for n in range(30)))
    assert made(TabularCSV("table.csv", "y")).facts.feature_names == ("a, in m, or so",)


def test_numbers_with_commas_may_be_texts() -> None:
    write("a;y\n" + "".join(f"{n % 3},5;{n}\n" for n in range(30)))
    assert made(TabularCSV("table.csv", "y")).learned.forms == {"a": ["a", ",", ""]}
    data = made(TabularCSV("table.csv", "y", categorical="a"))
    assert data.learned.categorical == {"a": ["0,5", "1,5", "2,5"]}


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(TABLE.encode())[:-30]])
def test_a_damaged_archive(content: bytes) -> None:
    Path("table.csv.gz").write_bytes(content)
    with pytest.raises(
        DataError, match=r"^table.csv.gz can't be read \(.*\): make it readable, or save the table anew$"
    ):
        TabularCSV("table.csv.gz", "y").setup("fit")


def test_a_parquet_file_needs_pyarrow_and_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("table.parquet").write_bytes(b"no parquet")
    with pytest.raises(
        DataError, match=r"^table.parquet can't be read \(.*\): make it readable, or save the table anew$"
    ):
        TabularCSV("table.parquet", "y").setup("fit")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"needs pyarrow: pip install -e '\.\[parquet\]'"):
        TabularCSV("table.parquet", "y").setup("fit")


def test_parquet_keeps_its_types() -> None:
    table = pd.DataFrame(
        {"a.b": pd.array([1, None] * 20, dtype="Int64"), "day": pd.Timestamp("2020-01-01"), "y": range(40)}
    )
    table.to_parquet("table.parquet")
    data = made(TabularCSV("table.parquet", "y"))
    assert data.facts.feature_names == ("a.b", "day")
    assert set(data.test_set.table.texts("day")) == {"2020-01-01"}  # as a .csv of the same groups would have it
    described = data.describe(data.test_set, range(len(data.test_set)))
    assert set(described["a.b"]) == {1, None}
    assert described["y"] == data.test_set.rows.tolist()


def test_rows_are_described_by_their_own_cells() -> None:
    rows = [f'{n:03},1.50,"猫, ""Mimi""",NA,{n}' for n in range(40)]
    write("编号,x,name,gap,y\n" + "\n\n".join(rows) + "\n")
    data = made(TabularCSV("table.csv", "y", ignore=["gap", "name"]))
    described = data.describe(data.val_set, range(len(data.val_set)))
    assert list(described) == ["编号", "x", "name", "gap", "y"]
    assert described["编号"] == [f"{n:03}" for n in data.val_set.rows]
    assert described["y"] == [str(int(y)) for y in data.val_set.tensors[1]]
    assert [set(described[c]) for c in ("x", "name", "gap")] == [{"1.50"}, {'猫, "Mimi"'}, {"NA"}]


def test_an_index_that_pandas_saved_is_no_feature_but_described() -> None:
    frame().to_csv("table.csv")
    data = made(TabularCSV("table.csv", "price"))
    assert "Unnamed: 0" not in data.facts.feature_names
    assert data.describe(data.test_set, range(len(data.test_set)))["Unnamed: 0"] == [str(n) for n in data.test_set.rows]


def test_the_file_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    write(TABLE)
    data = TabularCSV("table.csv", "y")
    facts = data.facts
    Path("table.csv").unlink()
    made(data, "fit", "validate", "test", "predict")
    assert data.facts == facts
    assert data.predict_set is data.test_set


def test_a_frame_is_encoded_from_python() -> None:
    write(TABLE)
    data = TabularCSV("table.csv", "y")
    x = data.encode(pd.DataFrame({"b": ["w", None, "z"], "more": 1, "a": [1, None, "2.5"]}))
    assert x.nan_to_num(9).tolist() == [[1, 2], [9, 3], [2.5, -1]]
    with pytest.raises(DataError, match="row 1: 'x' in column a is not a number"):
        data.encode(pd.DataFrame({"b": ["w", "w"], "a": [1, "x"]}))
    with pytest.raises(DataError, match="the frame has no column a"):
        data.encode(pd.DataFrame({"b": ["w"]}))


@pytest.mark.parametrize("features", [None, "area", ["alley", "zone"]])
def test_normalize_can_be_exported_with_a_free_batch_size(features: Any) -> None:
    frame().to_csv("table.csv", index=False)
    data = made(TabularCSV("table.csv", "price", features=features, categorical="zone"))

    class Normalize(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return data.normalize(x)

    x, other = data.train_set.tensors[0], data.test_set.tensors[0]
    program = torch.export.export(Normalize(), (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert torch.equal(program.module()(other), data.normalize(other))
    assert torch.equal(program.module()(other[:1]), data.normalize(other[:1]))


@pytest.mark.slow
def test_a_million_rows_take_less_than_four_times_the_files_size() -> None:
    random, rows = np.random.default_rng(0), 1_000_000
    columns: dict[str, Any] = {f"n{n}": random.normal(size=rows) for n in range(16)}
    columns |= {f"c{n}": random.choice(["aa", "bb", "cc"], rows) for n in range(4)}
    pd.DataFrame(columns).to_csv("big.csv", index=False, float_format="%.7g")
    script = (
        "import re, pandas, pyarrow, torch\n"
        "from kindling.data import TabularCSV, tabular_csv\n"
        # not getrusage, whose maximum is inherited from the process that started this one
        "peak = lambda: 1024 * int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "before = peak()\n"
        "data = TabularCSV('big.csv', 'n0'); data.setup('fit'); data.setup('test')\n"
        "print(peak() - before)"
    )
    try:
        out = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
        assert int(out) < 4 * os.path.getsize("big.csv")  # noqa: PTH202
    finally:
        Path("big.csv").unlink()
