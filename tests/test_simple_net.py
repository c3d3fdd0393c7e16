import json

import pytest
from conftest import ROOT, RUN, Kindling, needs, rows

from kindling.models.simple_net import SimpleNet

pytestmark = pytest.mark.usefixtures("shipped")


def test_simple_net_is_the_tutorials() -> None:
    assert [tuple(p.shape) for p in SimpleNet().parameters()] == [(32, 2), (32,), (2, 32), (2,)]


@pytest.mark.slow
def test_defaults_reach_97_percent_in_the_mean_of_five_seeds(kindling: Kindling) -> None:
    scores = []
    for seed in range(1, 6):
        kindling("fit", "--model=SimpleNet", f"--seed_everything={seed}", "--test_after_fit=true")
        scores.append(json.loads((RUN.with_name(f"version_{seed - 1}") / "test.json").read_text())["test/acc"])
        out = kindling("predict", "--ckpt_path", "best", "--data.samples", "[[7.5, 3.0]]")
        assert out.splitlines()[-2].split()[:3] == ["7.5", "3", "popular"]
    assert sum(scores) / 5 >= 0.97


def test_the_tutorials_recipe_gives_what_the_tutorial_reports(kindling: Kindling) -> None:
    needs("SyntheticTabular")
    kindling("fit", "-c", str(ROOT / "configs/tutorial_products.yaml"), "--test_after_fit", "true")
    scores = json.loads((RUN / "test.json").read_text())
    assert scores["test/acc"] == pytest.approx(0.815, abs=0.03)
    losses = [float(row["train/loss"]) for row in rows(RUN / "metrics.csv")]
    assert losses[0] > 0.6
    assert 0.4 < losses[-1] < 0.5
