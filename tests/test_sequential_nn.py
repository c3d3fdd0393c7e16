import json

import pytest
from conftest import RUN, Kindling
from sklearn import datasets

from kindling.models.sequential_nn import SequentialNN


def test_sequential_nn_is_the_tutorials() -> None:
    assert [tuple(p.shape) for p in SequentialNN().parameters()] == [(5, 10), (5,), (1, 5), (1,)]


@pytest.mark.slow
def test_it_learns_with_one_output(kindling: Kindling) -> None:
    options = ("--trainer.max_epochs=40", "--seed_everything=1", "--test_after_fit=true")
    kindling("fit", "--model", "SequentialNN", *options)
    assert "SequentialNN, BCELoss, " in kindling.out
    assert json.loads((RUN / "test.json").read_text())["test/acc"] > 0.9


@pytest.mark.slow
def test_the_ten_columns_of_the_sequential_network(kindling: Kindling) -> None:
    loaded = datasets.load_diabetes(as_frame=True)
    high = (loaded.target > loaded.target.median()).map({True: "high", False: "low"})
    loaded.data.assign(progress=high).to_csv("diabetes.csv", index=False)
    table = ("--data=TabularCSV", "--data.path=diabetes.csv", "--data.target=progress")
    for loss in ("BCELoss", "MSELoss"):
        kindling("fit", "--model=SequentialNN", *table, f"--loss={loss}", "--trainer.max_epochs=30")
        assert f"SequentialNN, {loss}, 61 parameters, on diabetes.csv (progress: 2 classes)" in kindling.out
        kindling("test", "--ckpt_path=best")
    for run in ("version_0", "version_1"):
        assert json.loads((RUN.with_name(run) / "test.json").read_text())["test/acc"] > 0.65
