import pytest
import torch

from kindling.errors import DataError
from kindling.models import MODELS, Net, NeuralNetwork, SimpleNet


def test_simple_net_is_the_tutorials() -> None:
    assert [tuple(p.shape) for p in SimpleNet().parameters()] == [(32, 2), (32,), (2, 32), (2,)]


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (1, 32), (3, 32), (3, 28)])
def test_net_is_lenet_for_both_sizes_and_any_channels(channels: int, size: int) -> None:
    net = Net(in_channels=channels, image_size=size, num_outputs=10)
    assert [tuple(p.shape) for p in net.parameters() if p.ndim > 1] == [
        *((6, channels, 5, 5), (16, 6, 5, 5)),
        *((120, 400), (84, 120), (10, 84)),
    ]
    assert net(torch.zeros(4, channels, size, size)).shape == (4, 10)


def test_net_refuses_other_sizes() -> None:
    with pytest.raises(DataError, match="28x28 or 32x32 pixels, not 64x64"):
        Net(image_size=64)


@pytest.mark.parametrize("widths", [(), (7,), (512, 512), (5, 4, 3)])
def test_neural_network_has_the_widths_asked_for(widths: tuple[int, ...]) -> None:
    net = NeuralNetwork(in_features=12, widths=widths, num_outputs=3)
    assert [p.shape[0] for p in net.parameters() if p.ndim > 1] == [*widths, 3]
    assert net(torch.zeros(2, 3, 2, 2)).shape == (2, 3)


def test_probabilities_sum_to_one() -> None:
    predicted = SimpleNet().predict_step((torch.randn(5, 2),))
    assert predicted.sum(dim=1).tolist() == pytest.approx([1] * 5)


def test_only_what_is_named_is_there() -> None:
    import kindling.models

    assert set(MODELS) == {"SimpleNet", "Net", "NeuralNetwork"}
    with pytest.raises(AttributeError, match="has no attribute 'Nets'"):
        _ = kindling.models.Nets
