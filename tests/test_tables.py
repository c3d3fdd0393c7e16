"""One's own table, through the command line: from the file to predictions in its own labels and units."""

import json
import re
import shlex
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, RUN, Kindling, rows
from sklearn import datasets
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kindling.data import TabularCSV

HOUSES = ("--data=TabularCSV", f"--data.path={ROOT}/examples/houses.csv", "--data.target=Price")


def scores() -> dict[str, float]:
    found: dict[str, float] = json.loads((RUN / "test.json").read_text())
    return found


@pytest.mark.slow
def test_the_tutorials_houses(kindling: Kindling) -> None:
    out = kindling("fit", "--model=SimpleNet", *HOUSES, "--test_after_fit=true")
    assert out.startswith(
        "SimpleNet, MSELoss (standard units), 161 parameters, on houses.csv (Price: a number), cpu, seed 42"
    )
    assert kindling.err == ""
    assert {"test/loss", "test/mae", "test/rmse"} <= scores().keys()
    assert 0 < scores()["test/mae"] < 100_000
    Path("new.csv").write_text('\ufeffAlley,NumRooms,备注\nDirt,3,"a, b"\n,,ü\nPave,2,007\n', encoding="utf-8")
    kindling("predict", "--ckpt_path=best", "--data.predict_path=new.csv")
    table = rows(RUN / "predictions.csv")
    assert [{k: v for k, v in row.items() if k != "prediction"} for row in table] == [
        {"Alley": "Dirt", "NumRooms": "3", "备注": "a, b"},
        {"Alley": "", "NumRooms": "", "备注": "ü"},
        {"Alley": "Pave", "NumRooms": "2", "备注": "007"},
    ]
    assert all(50_000 < float(row["prediction"]) < 250_000 for row in table)


@pytest.fixture
def wine() -> pd.DataFrame:
    """178 wines of three kinds, as scikit-learn ships them, with names for classes and a category and gaps added."""
    frame = datasets.load_wine(as_frame=True).frame
    frame["target"] = np.array(["红", "wit", "rosé"])[frame["target"]]
    frame["strong"] = np.where(frame["alcohol"] > 13, "yes", "no")
    frame.loc[::9, "hue"] = np.nan
    frame.loc[::11, "strong"] = None
    frame.to_csv("wine.csv", index=False)
    return frame


WINE = ("fit", "--model=SimpleNet", "--data=TabularCSV", "--data.path=wine.csv", "--data.target=target")


def test_next_months_file(kindling: Kindling, wine: pd.DataFrame) -> None:
    out = kindling(*WINE, "--trainer.max_epochs=20", "--test_after_fit=true")
    assert "on wine.csv (target: 3 classes)" in out
    assert scores()["test/acc"] >= 0.85
    assert {"test/f1", "test/auroc"} <= scores().keys()
    Path("wine.csv").rename("moved.csv")  # the training file isn't needed any more
    new = wine.drop(columns="target").sample(frac=1, random_state=0).iloc[:, ::-1]
    new["strong"] = new["strong"].replace("no", "hardly")
    new.to_csv("new.csv", index=False)
    kindling("predict", "--ckpt_path=best", "--data.predict_path=new.csv")
    table = pd.read_csv(RUN / "predictions.csv")
    assert list(table.columns) == [*new.columns, "prediction", "p(rosé)", "p(wit)", "p(红)"]
    pd.testing.assert_frame_equal(table[new.columns], pd.read_csv("new.csv"))
    assert (table["prediction"].to_numpy() == wine["target"].loc[new.index].to_numpy()).mean() > 0.9
    for _, row in table.iterrows():
        assert row[[f"p({name})" for name in ("rosé", "wit", "红")]].astype(float).idxmax() == f"p({row['prediction']})"


@pytest.mark.slow
def test_a_messy_table_trains_at_the_second_attempt(kindling: Kindling) -> None:
    random = np.random.default_rng(0)
    km, day = random.integers(1000, 200_000, 200), pd.Timestamp("2024-01-01")
    table = pd.DataFrame(
        {
            "id": [f"C{n:04}" for n in range(200)],
            "Listed": [(day + pd.Timedelta(days=n)).strftime("%d.%m.%Y") for n in range(200)],
            "Mileage (km)": [f"{n:,} km".replace(",", " ") for n in km],
            "Brand": random.choice(["BMW", "bmw", "Kia"], 200),
            "Region": "EU",
            "free text": [f"number {n}, one owner" for n in range(200)],
            "Price": [f"${40_000 - 0.1 * n:,.0f}" for n in km],
        }
    )
    table.loc[::7, "Mileage (km)"] = None
    table.to_csv("cars.csv", index=False)
    fit = ("fit", "--model=SimpleNet", "--data=TabularCSV", "--data.path=cars.csv", "--data.target=Price")
    line = kindling.fails(*fit, "--data.ignore=Region", "--trainer.max_epochs=1")
    option = "--data.ignore 'Region,id,free text'"
    assert "2 columns can't be used: id has 140 different values in 140 training rows; free text has " in line
    assert line.endswith(f": leave them out with {option}\n")
    out = kindling(*fit, *shlex.split(option), "--trainer.max_epochs=1").splitlines()
    decided = [
        "3 columns: Listed, Mileage (km) numbers; Brand 3 categories; gaps filled: Mileage (km) 29; 140/30/30 rows to "
        "train, validate and test",
        "Read as dates, as days: Listed (DD.MM.YYYY with month and weekday); read as numbers: Mileage (km) "
        "(1,234.5 km), Price ($1,234.5); left out: id, Region, free text",
        "Brand has categories that differ only by case or spaces, each one of its own: 'BMW', 'bmw'",
    ]
    assert out[1:4] == decided
    kept = {row["column"]: row for row in rows(RUN / "columns.csv")}
    assert list(kept) == [
        *("Listed", "Mileage (km)", "Listed month", "Listed weekday", "Brand", "Price", "id", "Region", "free text")
    ]
    assert (kept["Mileage (km)"]["gaps"], kept["Mileage (km)"]["written"]) == ("29", "1,234.5 km")
    assert kept["Brand"]["categories"] == "BMW | Kia | bmw"
    assert kept["id"]["use"] == "left out"
    repeated = [f"--data.ignore={name}" for name in ("Region", "id", "free text")]
    kindling(*fit, *repeated, "--trainer.max_epochs=1")
    metrics = [rows(RUN.with_name(f"version_{n}") / "metrics.csv")[0]["val/loss"] for n in (0, 1)]
    assert metrics[0] == metrics[1]
    table.assign(Brand=["Lada", "Kia"] * 100).to_csv("new.csv", index=False)
    out = kindling("predict", "--ckpt_path=best", "--data.predict_path=new.csv").splitlines()
    assert "new.csv: cells whose category the training rows don't have: Brand 100 of 200 rows" in out
    header = next(line for line in out if line.startswith("id "))
    assert header.split("  ")[-2:] == ["Price", "prediction"] or header.split()[-2:] == ["Price", "prediction"]


def test_a_table_of_its_own_to_test_with(kindling: Kindling, wine: pd.DataFrame) -> None:
    wine[::2].to_csv("wine.csv", index=False)
    wine[1::2].to_csv("later.csv", index=False)
    kindling(*WINE, "--data.test_path=later.csv", "--trainer.max_epochs=20", "--test_after_fit=true")
    kindling("predict", "--ckpt_path=best")
    table = rows(RUN / "predictions.csv")
    assert len(table) == len(wine[1::2])
    right = sum(row["prediction"] == row["target"] for row in table) / len(table)
    assert right == pytest.approx(scores()["test/acc"])
    assert right > 0.85


@pytest.fixture
def visits() -> pd.DataFrame:
    """100 rows of 55 patients, too many for categories."""
    dose = np.random.default_rng(0).normal(size=100)
    frame = pd.DataFrame({"patient": [f"P{n % 55}" for n in range(100)], "dose": dose})
    frame["healthy"] = np.where(frame["dose"] > 0, "yes", "no")
    frame.to_csv("visits.csv", index=False)
    return frame


OF_VISITS = ("--data=TabularCSV", "--data.path=visits.csv", "--data.target=healthy", "--data.group=patient")
VISITS = ("fit", "--model=SimpleNet", *OF_VISITS)


def test_all_rows_of_a_patient_are_in_one_set(kindling: Kindling, visits: pd.DataFrame) -> None:
    out = kindling(*VISITS, "--trainer.max_epochs=1")
    assert re.search(r"; (\d+/){2}\d+ rows to train, validate and test; 55 groups of patient: (\d+/){2}\d+\n", out)
    kept = {row["column"]: row["use"] for row in rows(RUN / "columns.csv")}
    assert kept == {"dose": "number", "healthy": "target", "patient": "group"}
    kindling("predict", "--ckpt_path=best")
    tested = {row["patient"] for row in rows(RUN / "predictions.csv")}
    assert len(rows(RUN / "predictions.csv")) == visits["patient"].isin(tested).sum()


@pytest.mark.slow
def test_groups_in_later_commands(kindling: Kindling, visits: pd.DataFrame) -> None:
    visits[::3].to_csv("later.csv", index=False)
    for epochs in (1, 2):
        out = kindling(*VISITS, "--data.test_path=later.csv", f"--trainer.max_epochs={epochs}")
        assert "also among the training or validation rows: 34 of 34 (34 of 34 rows)\n" in out
    kindling("fit", "--ckpt_path=version_0", "--trainer.max_epochs=2")
    resumed, unbroken = (rows(RUN.with_name(name) / "metrics.csv") for name in ("version_0", "version_1"))
    assert [row["val/loss"] for row in resumed] == [row["val/loss"] for row in unbroken]
    assert "trained with ['patient']" in kindling.fails("test", "--ckpt_path=best", "--data.group=dose")
    Path("visits.csv").unlink()
    out = kindling("test", "--ckpt_path=best")
    assert "later.csv: which groups of patient were trained on can't be told without visits.csv as it was then\n" in out
    visits.drop(columns="patient").to_csv("later.csv", index=False)
    assert "patient" not in kindling("test", "--ckpt_path=best")
    kindling("predict", "--ckpt_path=best", "--data.predict_path=later.csv")
    assert len(rows(RUN.with_name("version_1") / "predictions.csv")) == 100


@pytest.mark.slow
def test_a_training_goes_on_with_the_rows_and_statistics_that_it_had(kindling: Kindling, wine: pd.DataFrame) -> None:
    kindling(*WINE, "--trainer.max_epochs=4")
    kindling(*WINE, "--trainer.max_epochs=2")
    kindling("fit", "--ckpt_path=version_1", "--trainer.max_epochs=4")
    unbroken, resumed = (rows(RUN.with_name(name) / "metrics.csv") for name in ("version_0", "version_1"))
    for a, b in zip(unbroken, resumed, strict=True):
        assert {k: v for k, v in a.items() if "/" in k} == {k: v for k, v in b.items() if "/" in k}
    wine.iloc[::-1].to_csv("wine.csv", index=False)
    for command in ("test", "validate"):
        kindling(command, "--ckpt_path=best", code=2)
        assert "wine.csv is not the file that the training saw" in kindling.err
    kindling("predict", "--ckpt_path=best", code=2)
    assert "name rows with --data.test_path or --data.predict_path, or train anew" in kindling.err
    line = kindling.fails("test", "--ckpt_path=best", "--data.seed=7")
    assert "the checkpoint was trained with 0: leave that option out, or train anew" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data.target=Pric",), "--data.target: "),
        (("--data.path=nowhere.csv",), "--data.path nowhere.csv does not exist: name the file of a table"),
        (("--data.ignore=Ally",), "has no column Ally, did you mean Alley?"),
        (("--data.gaps=zero",), "--data.gaps zero: should be 'mean', 'median', 'drop'"),
        (("--data.split=[1, 2]",), "--data.split [1, 2]: should be tuple with 3 elements"),
        (("--data.split=[1, 2, 3]",), "--data.split [1.0, 2.0, 3.0]: three shares that add up to 1"),
    ],
)
def test_a_mistake_is_one_line(kindling: Kindling, options: tuple[str, ...], message: str) -> None:
    assert message in kindling.fails("fit", "--model=SimpleNet", *HOUSES, *options)


def test_a_table_needs_its_path_and_target(kindling: Kindling) -> None:
    line = kindling.fails("fit", "--model=SimpleNet", "--data=TabularCSV")
    assert "--data TabularCSV needs --data.path, --data.target" in line
    assert "Net does not fit TabularCSV, which has no " in kindling.fails("fit", "--model=Net", *HOUSES)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "score"), [("breast_cancer", "test/acc"), ("diabetes", "test/r2")])
def test_beside_scikit_learns_network_of_the_same_size(kindling: Kindling, name: str, score: str) -> None:
    """The same training and test rows, standardised likewise; the mean of five splits."""
    loaded = getattr(datasets, f"load_{name}")(as_frame=True)
    frame = loaded.frame
    if score == "test/acc":
        frame["target"] = loaded.target_names[frame["target"]]
    frame.to_csv("table.csv", index=False)
    x, y = frame.drop(columns="target").to_numpy(), frame["target"].to_numpy()
    ours, theirs = [], []
    for seed in range(5):
        table = ("--data=TabularCSV", "--data.path=table.csv", "--data.target=target", f"--data.seed={seed}")
        run = f"--seed_everything={seed}", "--trainer.max_epochs=20", "--test_after_fit=true"
        kindling("fit", "--model=SimpleNet", *table, *run)
        ours.append(json.loads((RUN.with_name(f"version_{seed}") / "test.json").read_text())[score])
        data = TabularCSV("table.csv", "target", seed=seed)
        data.setup("fit")
        data.setup("test")
        size = {"hidden_layer_sizes": (32,), "random_state": seed, "max_iter": 1000}
        network = MLPClassifier(**size) if score == "test/acc" else MLPRegressor(**size)
        network = make_pipeline(StandardScaler(), network)
        if score == "test/r2":
            network = TransformedTargetRegressor(network, transformer=StandardScaler())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            network.fit(x[data.train_set.rows], y[data.train_set.rows])
        theirs.append(network.score(x[data.test_set.rows], y[data.test_set.rows]))
    assert np.mean(ours) >= np.mean(theirs), (ours, theirs)
