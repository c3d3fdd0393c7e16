import json

import pytest
import torch
from conftest import RUN, Kindling

from kindling.models.neural_network import NeuralNetwork


@pytest.mark.parametrize("widths", [(), (7,), (512, 512), (5, 4, 3)])
def test_neural_network_has_the_widths_asked_for(widths: tuple[int, ...]) -> None:
    net = NeuralNetwork(in_features=12, widths=widths, num_outputs=3)
    assert [p.shape[0] for p in net.parameters() if p.ndim > 1] == [*widths, 3]
    assert net(torch.zeros(2, 3, 2, 2)).shape == (2, 3)


@pytest.mark.slow
@pytest.mark.usefixtures("real")
def test_defaults_on_the_real_images(kindling: Kindling) -> None:
    """One seed; the README gives the mean of five."""
    kindling("fit", "--model", "NeuralNetwork", "--test_after_fit", "true")
    assert json.loads((RUN / "test.json").read_text())["test/acc"] >= 0.875
