import json

import pytest
from conftest import ROOT, RUN, Kindling, needs, rows

from kindling.models.simple_nn import SimpleNN


def test_simple_nn_is_the_tutorials() -> None:
    assert [tuple(p.shape) for p in SimpleNN().parameters()] == [(2, 2), (2,), (1, 2), (1,)]


@pytest.mark.slow
def test_it_learns_with_one_output(kindling: Kindling) -> None:
    kindling("fit", "--model", "SimpleNN", "--trainer.max_epochs=40", "--seed_everything=1", "--test_after_fit=true")
    assert "SimpleNN, MSELoss, " in kindling.out
    assert json.loads((RUN / "test.json").read_text())["test/acc"] > 0.9


@pytest.mark.slow
@pytest.mark.usefixtures("shipped")
def test_a_recipe_of_fifty_steps(kindling: Kindling) -> None:
    needs("SyntheticTabular")
    kindling("fit", "-c", str(ROOT / "configs/tutorial_simple_nn.yaml"))
    table = rows(RUN / "metrics.csv")
    assert (len(table), table[-1]["step"]) == (50, "50")
    assert float(table[-1]["train/loss"]) < float(table[0]["train/loss"])
