from typing import Any

import pytest
import torch

from kindling.data import synthetic_tabular
from kindling.data.synthetic_tabular import SyntheticTabular
from kindling.errors import DataError


def test_the_products_follow_the_rule() -> None:
    data = SyntheticTabular()
    data.setup("fit")
    sets = data.train_set, data.val_set, data.test_set
    assert [len(s) for s in sets] == [800, 200, 200]
    for x, y in (s.tensors for s in sets):
        assert torch.equal(y, (x[:, 0] + x[:, 1] > 10).long())
        assert x.amin(dim=0).tolist() == pytest.approx([1, 1], abs=0.2)
        assert x.amax(dim=0).tolist() == pytest.approx([10, 5], abs=0.2)
    every = torch.cat([s.tensors[0] for s in sets])
    assert len(every.unique(dim=0)) == 1200
    assert data.facts.class_names == ("not popular", "popular")


def test_the_products_constants_are_those_of_the_distributions() -> None:
    data = SyntheticTabular(train_size=1_000_000)
    data.setup("fit")
    x = data.train_set.tensors[0]
    assert x.mean(dim=0).tolist() == pytest.approx(synthetic_tabular.MEAN, abs=0.01)
    assert x.std(dim=0).tolist() == pytest.approx(synthetic_tabular.STD, abs=0.01)
    z = data.normalize(x)
    assert z.mean(dim=0).tolist() == pytest.approx([0, 0], abs=0.01)


def test_the_seed_decides_the_products() -> None:
    def first(seed: int) -> list[float]:
        data = SyntheticTabular(seed=seed)
        data.setup("fit")
        features: list[float] = data.train_set.tensors[0][0].tolist()
        return features

    assert first(1) == first(1) != first(2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_size": 0}, "--data.train_size 0: at least 1 sample is needed"),
        (
            {"test_size": 10**13},
            "at least 1 sample is needed, and at most 1,000,000,000,000 samples",
        ),
        ({"samples": []}, r"--data.samples \[\]: holds no product"),
        ({"samples": [[1.0]]}, r"--data.samples: \[1.0\] is not one price and one rating"),
        ({"samples": [[1.0, float("nan")]]}, "should be two numbers"),
    ],
)
def test_what_can_not_be_drawn_or_predicted(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        SyntheticTabular(**options)
