import json

import pytest
import torch
from conftest import RUN, Kindling

from kindling.errors import DataError, UsageError
from kindling.models.net import Net


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


def test_nets_options_change_what_they_name() -> None:
    net = Net(channels=(8, 24), widths=(50,), activation="SiLU", norm=True, dropout=0.5, num_outputs=3)
    kinds = [type(layer).__name__ for layer in net.net]
    convolution = ["Conv2d", "BatchNorm2d", "SiLU", "MaxPool2d"]
    assert kinds == [*convolution * 2, "Flatten", "Dropout", "Linear", "BatchNorm1d", "SiLU", "Dropout", "Linear"]
    assert [tuple(p.shape) for p in net.parameters() if p.ndim > 1] == [
        *((8, 1, 5, 5), (24, 8, 5, 5)),
        *((50, 600), (3, 50)),
    ]
    assert [type(layer).__name__ for layer in Net(widths=()).net][-2:] == ["Flatten", "Linear"]


def test_a_net_with_a_mirror_sees_both_sides_alike_when_it_is_trained() -> None:
    torch.manual_seed(0)
    plain, x = Net(), torch.randn(5, 1, 28, 28)
    mirrored = Net(mirror=True)
    mirrored.load_state_dict(plain.state_dict())
    assert torch.equal(mirrored(x), plain(x))  # while it is being trained
    mirrored.eval()
    assert torch.allclose(mirrored(x), (plain(x) + plain(x.flip(3))) / 2)
    assert torch.allclose(mirrored(x), mirrored(x.flip(3)), atol=1e-6)
    assert not torch.allclose(plain(x), plain(x.flip(3)), atol=1e-3)


@pytest.mark.parametrize("name", ["Relu", "Linear"])
def test_an_activation_has_to_be_one(name: str) -> None:
    with pytest.raises(UsageError, match=f"--model.activation {name}: torch.nn has no such activation"):
        Net(activation=name)


@pytest.mark.slow
@pytest.mark.usefixtures("real")
def test_defaults_on_the_real_images(kindling: Kindling) -> None:
    """One seed; the README gives the mean of five."""
    kindling("fit", "--model", "Net", "--test_after_fit", "true")
    assert json.loads((RUN / "test.json").read_text())["test/acc"] >= 0.895
