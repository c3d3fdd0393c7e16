import json

import pytest
import torch
from conftest import RUN, Kindling, rows

from kindling.models import triplet_net


def test_triplets_are_of_two_of_a_class_and_one_of_another() -> None:
    y = torch.tensor([0, 0, 1, 1, 1, 2])
    anchors, positives, negatives = triplet_net.draw(y)
    assert anchors.tolist() == [0, 1, 2, 3, 4]  # the last has no other of its class
    assert (anchors != positives).all()
    assert torch.equal(y[anchors], y[positives])
    assert (y[anchors] != y[negatives]).all()
    assert len(triplet_net.draw(torch.tensor([1, 1]))[0]) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("fashion")
def test_embeddings_by_triplets(kindling: Kindling) -> None:
    kindling("fit", "--model=TripletNet", "--data.val_size=40", "--data.batch_size=32", "--trainer.max_epochs=30")
    kindling("test", "--ckpt_path=best")
    assert json.loads((RUN / "test.json").read_text())["test/acc"] > 0.8
    kindling("predict", "--ckpt_path=best")
    table = rows(RUN / "predictions.csv")
    assert sum(row["prediction"] == row["label"] for row in table) / len(table) > 0.8
    assert sum(float(value) for key, value in table[0].items() if key.startswith("p(")) == pytest.approx(1, abs=1e-5)
